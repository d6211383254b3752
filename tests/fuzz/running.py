"""The command line on one input: a folder of its own, the real way to the exit code, output that must be encodable."""

import contextlib
import io
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import Phase, settings

from gapbench import cli
from gapbench.errors import ExitCode

COUNTS = Counter()
"""Inputs by command and exit code."""

DOCUMENTED = frozenset(ExitCode) - {ExitCode.INTERNAL}


def drawn(few, many):
    """Return how often a test draws: ``few`` inputs, always the same, or ``many`` in the profile fuzz."""
    deep = settings.get_current_profile_name() == "fuzz"
    phases = (Phase.explicit, Phase.generate)  # an input takes up to seconds: none is left for shrinking
    return settings(max_examples=many if deep else few, derandomize=not deep, database=None, phases=phases)


@contextlib.contextmanager
def copy(folder):
    """Work in a copy of ``folder``."""
    with tempfile.TemporaryDirectory(prefix="gapbench-fuzz-") as place:
        here = Path(place) / "here"
        shutil.copytree(folder, here, symlinks=True)
        with contextlib.chdir(here):
            yield here


def run(command, arguments):
    """Run ``gapbench`` with words of a command and its arguments; return the exit code and what was said on stderr.

    Fails for a traceback, an exit code that no document names, and an error without a sentence.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in ("strict", "backslashreplace")]
    before = sys.argv, sys.stdout, sys.stderr
    sys.argv = ["gapbench", *command, *arguments]
    sys.stdout, sys.stderr = streams
    try:
        code = cli._exit_code()
        for stream in streams:
            stream.flush()
    except SystemExit as error:
        code = error.code
    finally:
        sys.argv, sys.stdout, sys.stderr = before
    said = streams[1].buffer.getvalue().decode()
    COUNTS[" ".join(command), int(code)] += 1
    assert "Traceback" not in said, said
    assert code in DOCUMENTED, f"exit code {code}: {said}"
    spoke = said or streams[0].buffer.getvalue()  # `doctor --strict` says on stdout why it exits with 4
    assert code in (ExitCode.DONE, ExitCode.POLICY, ExitCode.FAILED) or spoke or command == ("store", "verify"), (
        "silence"
    )
    return code, said
