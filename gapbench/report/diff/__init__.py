"""Format a diff as a table for the terminal and as JSON; `github` has the other formats of ``--format``."""

import json
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.analysis.compare import Diff, Row
from gapbench.report import format as fmt
from gapbench.report.diff import lines
from gapbench.report.text import plain_table, print_table
from gapbench.repository.git import Git
from gapbench.statistics.verdicts import Verdict
from gapbench.store.run import Run

_CASE = (
    "case", "implementation", "clock", "verdict", "ratio", "ratio_low", "ratio_high", "p_value", "rounds", "reason",
    "explanation", "memory", "counts",
)  # fmt: skip


def document(diff: Diff) -> str:
    """Return the JSON document (a contract: other tools read its keys); values that were not measured are null."""
    document = {
        "schema": 1, "base": _side(diff.base), "head": _side(diff.head), "margin": diff.margin,
        "summary": diff.summary,
        "cases": [
            {name: getattr(row, name) for name in _CASE}
            | {"reason": row.reason or None, "counts": [asdict(count) for count in row.counts]}
            for row in diff.rows
        ],
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _side(run: Run) -> dict[str, Any]:
    git = run.git or Git()
    side = {"run": run.id, "commit": git.commit, "branch": git.branch, "dirty": git.dirty}
    return {**side, "tag": run.tag, "started": run.started}


_LONGEST = 34  # the most characters of a name
STYLES = {Verdict.IMPROVED: "bold green"} | dict.fromkeys(lines.RED, "bold red")


def table(diff: Diff, console: Console | None = None) -> str:
    """Return the table for the terminal (or ``console``), ending with the count of every verdict."""
    console = console or Console()
    shown, more = lines.listed([row for row in lines.by_relevance(diff) if row.verdict not in lines.FOLDED])
    red = lines.red(diff)
    with console.capture() as capture:
        for name, run in (("base", diff.base), ("head", diff.head)):
            console.print(Text(f"{name} {lines.side(run)}"))
        for sentence in (*diff.environment, *diff.notes):
            console.print(Text(sentence, style="yellow"))
        if shown:
            print_table(_table(shown), console)
        for sentence in filter(None, (*more, lines.remedy(diff))):
            console.print(Text(sentence), soft_wrap=True)
        for sentence in lines.work(diff):
            console.print(Text(sentence), soft_wrap=True)
        for row in red:
            for index, sentence in enumerate(lines.sentences(row)):
                console.print(Text(f"  {sentence}" if index else f"{row.case}: {sentence}"), soft_wrap=True)
        if red:
            console.print(Text(f"measure again:\n  {lines.command(*red)}"), soft_wrap=True)  # for copying
        console.print(Text(f"{lines.counts(diff)}; margin {diff.margin * 100:g} %"), soft_wrap=True)
    return capture.get().rstrip("\n")


def _table(rows: list[Row]) -> Table:
    table = plain_table("verdict", "case", "head ÷ base", "95 % interval", whole=["verdict"])
    for row in rows:
        name = fmt.shortened(row.implementation, _LONGEST)
        what = Text(f"{name}, {lines.condition(row)}\n{row.case}")
        if row.reason:
            what.append(f"\n{row.reason}", style="dim")
        verdict = Text(row.verdict, style=STYLES.get(row.verdict, ""))
        ratio = "" if row.ratio is None else fmt.ratio(row.ratio)
        table.add_row(verdict, what, ratio, fmt.ratio_interval(row.ratio, row.ratio_low, row.ratio_high))
    return table
