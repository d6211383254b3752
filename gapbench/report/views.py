"""The views of the pages: what each asks, and what draws, sums up and tabulates the answer.

A new view is a module in `gapbench.report.charts` with ``figure(frame)`` and ``summary(frame)``, and one line in
`VIEWS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import plotly.graph_objects as go

from gapbench.compare import Diff
from gapbench.report import rows
from gapbench.report.charts import times
from gapbench.report.columns import columns
from gapbench.report.stored import Stored

Frame = pd.DataFrame
Scope = Literal["run", "case", "diff"]

BYTES = 2**20
"""What the figures of one view of cases may take in a page; the tables hold the numbers of the cases beyond."""


@dataclass(frozen=True, slots=True)
class View:
    """One question and its answer. ``name`` is its place in the page's address.

    ``of`` says where it stands and what ``frame`` is given: of a ``run`` a section of its page, from its `Stored`; of a
    ``case`` a part of the case's window, from its `rows.CaseRows`; of a ``diff`` a section of its page, from it.
    ``table`` are the columns of the frame that it shows as a table; without any, the page's own tables show the same.
    """

    name: str
    title: str
    question: str
    of: Scope
    frame: Callable[[Any], Frame]
    figure: Callable[[Frame], go.Figure]
    summary: Callable[[Frame], str]
    table: tuple[str, ...] = ()


def _rows(case: rows.CaseRows) -> Frame:
    return case.rows


VIEWS: tuple[View, ...] = (
    View("times", "Time per call", "How long does each take?", "case", _rows, times.figure, times.summary),
)
"""All views, in the pages' order."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A view in a page: ``case`` is the case's index in the page's data, ``table`` the columns of its table."""

    view: View
    summary: str
    figure: go.Figure
    case: int | None = None
    name: str = ""
    table: dict[str, Any] | None = None


def of_run(stored: Stored) -> list[Drawn]:
    """Draw the views of a whole run."""
    return [_drawn(view, stored) for view in VIEWS if view.of == "run"]


def of_diff(diff: Diff) -> list[Drawn]:
    """Draw the views of a diff."""
    return [_drawn(view, diff) for view in VIEWS if view.of == "diff"]


def _drawn(view: View, source: Stored | Diff) -> Drawn:
    frame = view.frame(source)
    table = {"count": len(frame), "columns": columns(frame, view.table)} if view.table else None
    return Drawn(view, view.summary(frame), view.figure(frame), table=table)


def of_cases(stored: Stored) -> Iterator[Drawn]:
    """Draw the views of single cases, those of the first cases as far as `BYTES` reach."""
    for view in VIEWS:
        left = BYTES
        for case in rows.cases(stored.results, stored.winners, stored.samples) if view.of == "case" else ():
            if not ((case.rows["status"] == "ok") & case.rows["seconds"].notna()).any():
                continue
            frame = view.frame(case)
            figure = view.figure(frame)
            left -= len(str(figure.to_json()))
            if left < 0:
                break
            yield Drawn(view, view.summary(frame), figure, case.number, case.name)
