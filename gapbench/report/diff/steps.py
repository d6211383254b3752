"""Format a matrix of versions: as a table for the terminal, a row a case and implementation, and as JSON."""

import json

from rich.console import Console
from rich.text import Text

from gapbench.analysis.compare import Matrix
from gapbench.analysis.compare.steps import Cell
from gapbench.report import format as fmt
from gapbench.report.diff import STYLES, lines
from gapbench.report.text import plain_table, print_table
from gapbench.statistics.stats import Interval

_ROW = ("suite", "case", "implementation", "clock", "memory", "contender", "status", "seconds", "reason")
_STEP = ("verdict", "ratio", "ratio_low", "ratio_high", "p_value", "rounds", "reason")
_WINNER = ("case", "clock", "memory", "contender", "implementation")


def document(matrix: Matrix) -> str:
    """Return the JSON document (a contract: other tools read its keys); values that were not measured are null."""
    runs = [matrix.steps[0].base, *(step.head for step in matrix.steps)]
    versions = [
        {"name": run.sides[0].name, "commit": run.commit, "dirty": run.git and run.git.dirty}
        | {name: run.versions.get(name) for name in ("python", "torch")}
        for run in runs
    ]
    winners = [{name: cell.result[name] for name in _WINNER} | {"before": before} for cell, before in matrix.winners]
    document = {
        "schema": 1, "run": runs[0].id, "margin": matrix.steps[0].margin, "summary": matrix.summary,
        "versions": versions, "rows": [*map(_row, matrix.cells)], "winners": winners,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _row(cell: Cell) -> dict[str, object]:
    ratio = cell.ratio or Interval(0)
    row = {name: cell.result[name] for name in _ROW} | {"ratio": ratio.estimate or None}
    step = cell.step and {name: getattr(cell.step, name) for name in _STEP}
    return {**row, "ratio_low": ratio.low, "ratio_high": ratio.high, "step": step}


def table(matrix: Matrix, console: Console | None = None) -> str:
    """Return the table for the terminal (or ``console``), ending with the count of every verdict."""
    console = console or Console()
    runs = [matrix.steps[0].base, *(step.head for step in matrix.steps)]
    names = [run.sides[0].name for run in runs]
    cases: dict[str, dict[str, dict[str, Text]]] = {}
    for cell in matrix.cells:
        result = cell.result
        case = f"{result['case']}, {result['clock']}" + (f", memory {result['memory']}" if result["memory"] else "")
        name = fmt.shortened(result["implementation"], 34)
        cases.setdefault(case, {}).setdefault(name, {})[cell.version] = _text(cell)
    with console.capture() as capture:
        for name, run in zip(names, runs, strict=True):
            prefix = "" if run.sides[0].ref == name else f"{name}, "
            console.print(Text(f"{prefix}{lines.side(run)}, torch {run.versions.get('torch')}"))
        for case, rows in cases.items():
            shown = plain_table("", *names, whole=names)
            for name, texts in rows.items():
                shown.add_row(name, *(texts.get(version, "") for version in names))
            console.print(Text(case))
            print_table(shown, console)
        for row, version in ((cell.step, cell.version) for cell in matrix.cells):
            if row and row.verdict not in lines.SUMMARIZED:
                change = "" if row.ratio is None else f" {lines.change(row)} of the version before"
                what = f"{version}: {row.verdict}{change}, {row.implementation} on {row.case}, {lines.condition(row)}"
                console.print(Text("; ".join(filter(None, (what, row.reason)))), soft_wrap=True)
        for cell, before in matrix.winners:
            winner = f"{cell.result['implementation']} is the fastest on {cell.result['case']}, {before} was before"
            console.print(Text(f"{cell.version}: {winner}"), soft_wrap=True)
        margin = f"margin {matrix.steps[0].margin * 100:g} %"
        console.print(
            Text(f"steps: {lines.counts(matrix)}; {margin}; 95 % intervals that hold together"), soft_wrap=True
        )
    return capture.get().rstrip("\n")


def _text(cell: Cell) -> Text:
    step, ratio = cell.step, cell.ratio
    text = fmt.seconds(cell.result["seconds"]) if cell.result["status"] == "ok" else str(cell.result["status"])
    if ratio is not None:
        interval = fmt.ratio_interval(ratio.estimate, ratio.low, ratio.high)
        text = "\n".join(filter(None, (fmt.ratio(ratio.estimate), interval)))
    return Text(text) if step is None else Text.assemble(text, (f"\n{step.verdict}", STYLES.get(step.verdict, "dim")))
