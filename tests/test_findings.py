"""docs/findings.md: its commands select what it says, and its tables are what the script prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gapbench import cli

ROOT = Path(__file__).parent.parent
TEXT = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("findings.md", "triton.md"))
COMMANDS = sorted(set(re.findall(r"`(gapbench run [^`]+)`", TEXT)))


def test_there_are_commands():
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_ones_that_gapbench_takes(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), "--dry-run"])
    assert cli._exit_code() == 0, capsys.readouterr().err


def test_the_script_prints_tables_of_stored_runs(tmp_path):
    small = ["run", "quick", "pooling", "--shape", "2x8x6x6", "--dtype", "float32", "--layout", "contiguous"]
    small += ["--pass", "forward", "--impl", "mean", "--impl", "adaptive", "--impl", "global_max", "--budget", "8s"]
    script = [ROOT / "benchmarks" / "findings.py", "latest"]
    for arguments in (["-m", "gapbench", *small], script):
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert re.search(r"^\| 2x8x6x6 float32 contiguous \(\) \| `\w+` \| .* µs \|", done.stdout, flags=re.MULTILINE)
    assert re.search(r"^\| 2x8x6x6 float32 contiguous forward \| `global_max` \| .*× ", done.stdout, flags=re.MULTILINE)  # noqa: RUF001
