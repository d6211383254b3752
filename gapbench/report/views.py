"""The views of a run's page: what each asks, and what draws, sums up and tabulates the answer.

A new view is a module in `gapbench.report.charts` with ``figure(frame)`` and ``summary(frame)``, and one
line in `VIEWS`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gapbench.report import rows
from gapbench.report.charts import times
from gapbench.report.columns import columns
from gapbench.report.stored import Stored

Frame = pd.DataFrame

BYTES = 2**20
"""What the figures of one view of cases may take in a page; the tables hold the numbers of the cases beyond."""


@dataclass(frozen=True, slots=True)
class View:
    """One question and its answer. ``name`` is its place in the page's address.

    A view of the whole run takes ``frame(stored)``, and stands in the page; one of a single case (``of_case``) takes
    that case's rows of the results with their ``marks``, and stands in the window of the case. ``table`` are the
    columns of the frame that it shows as a table; without any, the case's own table shows the same.
    """

    name: str
    title: str
    question: str
    figure: Callable[[Frame], go.Figure]
    summary: Callable[[Frame], str]
    table: tuple[str, ...] = ()
    frame: Callable[[Stored], Frame] = lambda stored: stored.results
    of_case: bool = False


VIEWS: tuple[View, ...] = (
    View("times", "Time per call", "How long does each take?", times.figure, times.summary, of_case=True),
)
"""All views, in the page's order."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A view in a page: ``case`` is the case's index in the page's data, ``table`` the columns of its table."""

    view: View
    summary: str
    figure: go.Figure
    case: int | None = None
    name: str = ""
    table: dict[str, Any] | None = None


def of_run(stored: Stored) -> Iterator[Drawn]:
    """Draw the views of the whole run."""
    for view in VIEWS:
        if not view.of_case:
            frame = view.frame(stored)
            table = {"count": len(frame), "columns": columns(frame, view.table)} if view.table else None
            yield Drawn(view, view.summary(frame), view.figure(frame), table=table)


def of_cases(stored: Stored) -> Iterator[Drawn]:
    """Draw the views of single cases, those of the first cases as far as `BYTES` reach."""
    for view in VIEWS:
        left = BYTES
        for case in rows.cases(stored.results, stored.winners) if view.of_case else ():
            if not ((case.rows["status"] == "ok") & case.rows["seconds"].notna()).any():
                continue
            figure = view.figure(case.rows)
            left -= len(str(figure.to_json()))
            if left < 0:
                break
            yield Drawn(view, view.summary(case.rows), figure, case.number, case.name)
