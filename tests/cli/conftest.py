"""The command line from the inside, for the tests of every command."""

import sys

import pytest

from gapbench import cli


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
