"""The README is run: its Python and its commands, in an empty folder."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (gapbench .*)$", README, flags=re.MULTILINE)


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_its_own_implementation_is_about_ten_lines_and_its_commands_work(tmp_path):
    (source,) = blocks("python")
    assert len(source.splitlines()) <= 10
    (tmp_path / "mine.py").write_text(source)
    assert COMMANDS
    for command in COMMANDS:
        hurried = re.sub(r"--budget \S+", "--budget 3s --rounds 2", command)
        arguments = [sys.executable, "-m", "gapbench", *shlex.split(hurried)[1:]]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "two_stage" in done.stdout


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_its_links_lead_somewhere(link):
    assert (ROOT / link).exists()


@pytest.mark.parametrize("target", re.findall(r"^\$ make (\w+)$", README, flags=re.MULTILINE))
def test_the_make_targets_it_names_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def test_the_exit_codes_it_names_are_the_ones_there_are():
    from gapbench.errors import ExitCode

    sentence = re.search(r"Exit codes: (.*?)\.", README, flags=re.DOTALL)[1]
    assert {int(code) for code in re.findall(r"\b\d+\b", sentence)} <= {code.value for code in ExitCode}
