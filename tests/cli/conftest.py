"""The command line from the inside, for the tests of every command, and as a process that can be interrupted."""

import signal
import subprocess
import sys
import time

import pytest

from gapbench import cli
from gapbench.store.store import Store


@pytest.fixture
def gapbench(monkeypatch, tmp_path, capsys):
    """Run the command line in an empty folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gapbench", *map(str, arguments)])
        code = cli._exit_code()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


def _as_from_a_terminal():
    """Undo what a shell does to its background jobs, of which these tests may be one: it makes them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def measuring(tmp_path):
    """Start a command that measures; once a round is stored, return its process (a group of its own) and the store."""

    def start(*arguments):
        store = Store(str(tmp_path / "results"))
        process = subprocess.Popen(
            [sys.executable, "-m", "gapbench", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_as_from_a_terminal,
        )
        while process.poll() is None and not (store.ids() and store.shard_names(store.ids()[0])):
            time.sleep(0.05)
        return process, store

    return start
