"""``gapbench config``: the settings of the project, from ``[tool.gapbench]`` of the nearest pyproject.toml."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from gapbench.cli import common
from gapbench.cli.diff import FAIL_ON, MARGIN
from gapbench.cli.run import BUDGET
from gapbench.errors import GapbenchError, unknown

SETTINGS = {"store": "url", "implementation": "specs", "budget": "budget", "margin": "margin", "fail-on": "policy"}
"""The parameter of commands that each setting is the default of."""

_MEASURING = ("run", "ab", "bisect")  # the commands whose contenders and budget are settings


def read(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the nearest pyproject.toml with settings, from ``folder`` upwards, and these. Raises `GapbenchError`."""
    for file in (each / "pyproject.toml" for each in (folder, *folder.parents)):
        try:
            settings = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("gapbench")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise GapbenchError(f"cannot read {file}: {error}; correct it") from error
        if settings is None:
            continue
        for name, value in settings.items() if isinstance(settings, dict) else [("[tool.gapbench]", settings)]:
            if name not in SETTINGS:
                raise unknown(f"setting of {file}", name, SETTINGS)
            texts = value if isinstance(value, list) and name in ("implementation", "fail-on") else [value]
            if not all(isinstance(text, str) for text in texts):
                raise GapbenchError(f'{name} of {file} is {value!r}; write a text, as in {name} = "…"')
        return file, settings
    return None, {}


def defaults(commands: Iterable[click.Command], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return click's ``default_map`` of some commands for the settings: ``implementation`` and ``budget`` of some."""
    values = {parameter: settings[name] for name, parameter in SETTINGS.items() if name in settings}
    if isinstance(policy := values.get("policy"), list):
        values["policy"] = ",".join(policy)
    if isinstance(specs := values.get("specs"), str):
        values["specs"] = [specs]
    others = {name: value for name, value in values.items() if name not in ("specs", "budget")}
    return {
        str(each.name): defaults(each.commands.values(), settings)
        if isinstance(each, click.Group)
        else values
        if each.name in _MEASURING
        else others
        for each in commands
    }


@click.command("config")
@common.as_json()
def command(as_json: bool) -> None:
    """Show the settings that hold in this folder, and where each comes from.

    [tool.gapbench] of the nearest pyproject.toml gives defaults for store, implementation (a list), budget, margin and
    fail-on; options on the command line replace them.
    """
    from gapbench.report import text

    file, settings = read(Path.cwd())
    usual = {"store": common.STORE, "implementation": [], "budget": BUDGET, "margin": MARGIN, "fail-on": FAIL_ON}
    rows = [
        {"name": name, "value": settings.get(name, usual[name]), "from": str(file) if name in settings else "default"}
        for name in SETTINGS
    ]
    if as_json:
        click.echo(json.dumps(rows))
    else:
        text.print_rows(rows)
