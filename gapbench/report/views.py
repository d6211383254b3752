"""Define the views of the pages: a question, and the chart that draws, summarizes and tabulates the answer.

A new view is a module in `gapbench.report.charts` whose ``figure``, ``summary`` and ``table`` take the same arguments,
and one line in `VIEWS`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from gapbench.analysis.history import Trend
from gapbench.report import rows
from gapbench.report.charts import distribution, regret, roofline, trend
from gapbench.report.loaded_run import Stored
from gapbench.report.page_data import sized
from gapbench.store import ceilings

Scope = Literal["run", "case", "trend"]
Arguments = tuple[Any, ...]

BYTES = 2**19  # the most bytes of the figures of one view in a page; the tables hold the numbers of further cases


@dataclass(frozen=True, slots=True)
class View:
    """One question, and the chart that answers it. ``name`` is its anchor in the page's address.

    ``arguments`` makes those of the chart from a `Stored` for a section of a ``run``'s page, a `rows.CaseRows` for the
    window of a ``case``, and a trend for that of a ``trend``. A chart may lack ``table``, and a section ``figure``.
    """

    name: str
    title: str
    question: str
    of: Scope
    chart: Any
    arguments: Callable[[Any], Arguments]


VIEWS: tuple[View, ...] = (
    View("roofline", "Roofline", "How close to the limit?", "run", roofline,
         lambda run: (run.results, run.run.ceilings, ceilings.datasheet_peak(run.run.ceilings))),
    View("regret", "Regret", "What does always choosing one cost?", "run", regret, lambda run: (run.results,)),
    View("history", "History", "What changed when?", "trend", trend, lambda it: (it,)),
    View("distribution", "Distribution", "How sure is it?", "case", distribution, lambda case: (case.samples,)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """A view in a page: ``case`` is the case's index in the page's data, ``table`` the columns of its table."""

    view: View
    summary: str
    figure: go.Figure | None
    case: int | None = None
    name: str = ""
    table: dict[str, Any] | None = None

    @property
    def has_data(self) -> bool:
        """Whether there is anything to show beside the summary."""
        return bool(self.figure.data if self.figure is not None else self.table and self.table["count"])


def sections(stored: Stored) -> list[Drawn]:
    """Draw the views of a run."""
    drawn = []
    for view in VIEWS:
        if view.of == "run":
            given, chart = view.arguments(stored), view.chart
            table = sized(chart.table(*given)) if hasattr(chart, "table") else None
            figure = chart.figure(*given) if hasattr(chart, "figure") else None
            drawn.append(Drawn(view, chart.summary(*given), figure, table=table))
    return drawn


def of_cases(stored: Stored) -> Iterator[Drawn]:
    """Draw the views of timed cases, in order, until `BYTES` are used up."""

    def timed() -> Iterator[tuple[int, str, rows.CaseRows]]:
        for case in rows.cases(stored.results, stored.samples):
            if ((case.rows["status"] == "ok") & case.rows["seconds"].notna()).any():
                yield case.number, case.name, case

    return _windows("case", timed)


def of_trends(trends: Sequence[Trend]) -> Iterator[Drawn]:
    """Draw the views of trends, in order, until `BYTES` are used up."""
    return _windows("trend", lambda: ((number, trend.implementation, trend) for number, trend in enumerate(trends)))


def _windows(of: Scope, sources: Callable[[], Iterable[tuple[int, str, Any]]]) -> Iterator[Drawn]:
    for view in VIEWS:
        left = BYTES
        for number, name, source in sources() if view.of == of else ():
            given = view.arguments(source)
            figure = view.chart.figure(*given)
            left -= len(str(figure.to_json()))
            if left < 0:
                break
            yield Drawn(view, view.chart.summary(*given), figure, number, name)
