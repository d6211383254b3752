"""Write what the documentation takes from the code: the drawing of the architecture, the commands, the public names.

Run ``python docs/generate.py``; a test fails where a page is not what this would write. ``python docs/generate.py
static`` prints the table of `triton.md`, which takes Triton and a minute.
"""

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import grimp

from gapbench.cli import gapbench
from gapbench.errors import ExitCode
from gapbench.profiling.static import ARCHITECTURES, Inspection, inspect_all

DOCS = Path(__file__).parent

PUBLIC = (
    "gapbench.cli.python.run",
    "gapbench.cli.python.load",
    "gapbench.cli.python.compare",
    "gapbench.cli.python.Run",
    "gapbench.workloads.suites.suite",
    "gapbench.workloads.suites.grid",
    "gapbench.workloads.cases.Case",
    "gapbench.implementations.base.implementation",
    "gapbench.implementations.base.Implementation",
    "gapbench.operations.base.Operation",
    "gapbench.workloads.truth.Expected",
    "gapbench.measuring.clocks.base.Clock",
    "gapbench.machine.devices.Accelerator",
    "gapbench.store.metrics.Metric",
    "gapbench.report.views.View",
    "gapbench.store.store.Store",
)


def drawing() -> str:
    """Return the rooms and their imports as a Mermaid graph, without those that a longer way implies."""
    graph = grimp.build_graph("gapbench", cache_dir=None)
    rooms = sorted(graph.find_children("gapbench") - {"gapbench.__main__", "gapbench._suites"})
    for room in rooms:
        graph.squash_module(room)
    below = {room: (graph.find_modules_directly_imported_by(room) & set(rooms)) - {room} for room in rooms}

    def reached(room: str) -> set[str]:
        return below[room].union(*(reached(each) for each in below[room]))

    lines = ["graph TD"]
    for room in rooms:
        direct = below[room] - set().union(*(reached(each) for each in below[room]))
        lines += [f"  {room.partition('.')[2]} --> {each.partition('.')[2]}" for each in sorted(direct)]
    return "\n".join(lines)


def architecture() -> str:
    """Return ``architecture.md`` with the drawing of today."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return re.sub(r"(?<=```mermaid\n).*?(?=\n```)", lambda _: drawing(), text, flags=re.DOTALL)


def commands() -> str:
    """Return the reference of all commands, as ``--help`` has them."""
    codes = ", ".join(f"{code.value} {code.name.lower().replace('_', ' ')}" for code in ExitCode)
    head = f"# Commands\n\nWritten by `docs/generate.py` from `gapbench --help`. Exit codes: {codes}.\n"
    return "\n".join([head, *_command(gapbench, click.Context(gapbench, info_name="gapbench"))])


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    if context.parent is not None:
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield f"## {context.command_path}\n\n`{usage}`\n\n{_prose(command.help)}\n"
        records = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
        options = [(names, said) for names, said in records if said and "--help" not in names]
        if options:
            cells = [f"| `{names.replace('|', chr(92) + '|')}` | {_cell(said)} |" for names, said in options]
            yield "\n".join(["| option | |", "|---|---|", *cells, ""])
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, click.Context(child, info_name=name, parent=context))


def _prose(text: str | None) -> str:
    paragraphs = inspect.cleandoc((text or "").partition("\f")[0]).replace("\b\n", "").split("\n\n")
    return "\n\n".join(paragraphs).replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def names() -> str:
    """Return the reference of `PUBLIC`, from their docstrings."""
    parts = ["# Public names\n\nWritten by `docs/generate.py` from the docstrings.\n"]
    for path in PUBLIC:
        module, _, name = path.rpartition(".")
        thing = getattr(importlib.import_module(module), name)
        parts.append(f"## {name}\n\n`{path}`\n\n```python\n{_signature(name, thing)}\n```\n\n{inspect.getdoc(thing)}\n")
        if inspect.isclass(thing):
            parts += [*_members(thing)]
    return "\n".join(parts)


def _signature(name: str, thing: type) -> str:
    if dataclasses.is_dataclass(thing):
        lines = [f"    {each.name}: {_type(each.type)}" for each in dataclasses.fields(thing) if each.init]
        return "\n".join([f"class {name}:", *lines])
    if inspect.isclass(thing):
        return f"class {name}"
    return f"def {name}{inspect.signature(thing)}"


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _members(thing: type) -> Iterator[str]:
    for name, member in vars(thing).items():
        if isinstance(member, (property, staticmethod, classmethod)) or inspect.isfunction(member):
            said = inspect.getdoc(member)
            if not name.startswith("_") and said:
                yield f"- **{name}**: {' '.join(said.split())}"
    yield ""


PAGES = {"architecture.md": architecture, "commands.md": commands, "api.md": names}


def static_table(inspections: list[Inspection]) -> str:
    """Format inspections for `ARCHITECTURES` as a Markdown table: a row per kernel and dtype."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in inspections:
        cell = f"{row.registers} / {row.spills} / {row.shared_bytes} / {row.load_bytes} / {row.store_bytes}"
        rows.setdefault((row.kernel, row.dtype), {})[row.arch] = f"{cell} / {row.occupancy:.0%}"
    names = [gpu.name for gpu in ARCHITECTURES]
    lines = [f"| kernel | dtype | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for (kernel, dtype), cells in rows.items():
        lines.append(f"| {kernel} | {dtype} | {' | '.join(cells[name] for name in names)} |")
    return "\n".join(lines)


if __name__ == "__main__" and sys.argv[1:] == ["static"]:
    print(static_table(inspect_all()))
elif __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
