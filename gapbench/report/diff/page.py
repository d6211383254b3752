"""What the page of a diff shows: the rows by columns, the most pressing first, and the commands that measure again."""

from typing import Any

import pandas as pd

from gapbench.cases import Case
from gapbench.compare import Diff, Row
from gapbench.report import facts, private
from gapbench.report.columns import columns
from gapbench.report.diff import lines
from gapbench.run import Run
from gapbench.verdicts import Verdict

OPEN = tuple(verdict for verdict in Verdict if verdict not in lines.FOLDED)
"""Verdicts whose rows are shown at once; those of the others are counted, and a filter away."""

_SAID = ("verdict", "suite", "case", "implementation", "clock", "ratio", "ratio_low", "ratio_high", "p_value", "rounds")


def name(diff: Diff) -> str:
    """Return what the diff is called: ``BASE..HEAD``, or the run that measured both."""
    return diff.head.id if diff.is_interleaved else f"{diff.base.id}..{diff.head.id}"


def data(diff: Diff, head_page: str | None = None) -> dict[str, Any]:
    """Return the rows by columns for the page's table, which verdicts it folds, and the page that rows link to."""
    rows = [_row(row) for row in lines.by_relevance(diff)]
    found = columns(pd.DataFrame(rows)) if rows else {}
    return {"rows": {"count": len(rows), "columns": found}, "folded": list(lines.FOLDED), "page": head_page}


def sides(diff: Diff, redact: bool) -> list[tuple[str, str, facts.Facts]]:
    """Return of each side whether it is base or head, its run (or its ref), and what a person needs to recognise it."""
    runs = {"base": diff.base, "head": diff.head}
    return [(name, _title(run, redact), _side(private.run(run, redact))) for name, run in runs.items()]


def _title(run: Run, redact: bool) -> str:
    ref = run.sides[0].ref
    return run.id if ref is None else "" if redact else ref


def _side(run: Run) -> facts.Facts:
    known = [("Commit", facts.commit(run)), ("Date", facts.when(run.started)), ("Tag", run.tag or "")]
    return [(term, value) for term, value in known if value]


def _row(row: Row) -> dict[str, Any]:
    case = Case.from_id(row.case)
    said = {name: getattr(row, name) for name in _SAID} | {"verdict": row.verdict.value}
    said |= {"dtype": case.dtype, "layout": case.layout, "device": case.device, "pass": case.pass_}
    command = private.text(lines.command(row)) if row.verdict in lines.RED else None
    return {**said, "reason": private.text(row.reason) or None, "command": command}
