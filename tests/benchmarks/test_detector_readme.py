"""benchmarks/README.md: the detector's commands are ones that its scripts take, and its files are there."""

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8").split("## detector")[1]
COMMANDS = re.findall(r"^ *python (\w+)\.py (.*?)(?: *#.*)?$", TEXT, flags=re.MULTILINE)


def test_all_steps_are_there():
    assert [script for script, _ in COMMANDS] == [
        "subject",
        "subject",
        "truth",
        "collect",
        "replay",
        "stored_runs",
        "stored_runs",
    ]


@pytest.mark.parametrize(("script", "arguments"), COMMANDS)
def test_its_commands_are_ones_that_the_scripts_take(script, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(arguments.replace("$n", "busy"))
    for word in words:  # what a command reads must be there
        if "." in word or word == "subject":
            (tmp_path / word).touch()
    command = importlib.import_module(script).main
    if isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    context = command.make_context(script, words)
    assert context.params


def test_every_file_is_described():
    described = set(re.findall(r"`(\w+\.py)`", TEXT))
    assert described == {path.name for path in (FOLDER / "detector").glob("*.py")}
