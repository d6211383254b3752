"""Collect the trends of the newest runs for the site's page of history, largest newest step first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gapbench.analysis.history import COLUMNS, Trend, order, trends
from gapbench.errors import GapbenchError
from gapbench.report import format as fmt
from gapbench.report import redaction
from gapbench.report.charts import trend as chart
from gapbench.report.page_data import sized
from gapbench.report.text import sparkline
from gapbench.store.records import case_columns
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

MOST_ROWS, MOST_RUNS = 20_000, 400
"""The most results that the page has, of the most runs, the newest; `gapbench history` reads all."""


@dataclass(frozen=True, slots=True)
class History:
    """The trends, largest newest step first, and a sentence that says which runs they cover."""

    trends: list[Trend]
    scope: str


def read(store: Store) -> History:
    """Read the trends over the store's newest complete runs, up to `MOST_ROWS` results."""
    listed = store.listing()
    runs = [run for run, about in reversed(listed.runs.items()) if about.is_complete and not about.is_comparison]
    results, left = _newest(store, runs)
    left += len(listed.unreadable)
    if results.empty:
        return History([], "No complete run is small enough to show here; see: gapbench history CASE" if left else "")
    documents = {run: listed.runs[run] for run in results["run"].unique()}
    ordered = order(list(documents.values()))
    scope = f"{fmt.counted(len(ordered.runs), 'run')}, {ordered.phrase}."

    def newest_step(trend: Trend) -> float:
        return abs(float(np.log(trend.changes[-1].ratio))) if trend.changes else -1.0

    shown = sorted(trends(documents, ordered, results), key=newest_step, reverse=True)
    return History(shown, scope + (" The store has more: gapbench history" if left else ""))


def _newest(store: Store, runs: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Read the newest of ``runs``, at most `MOST_ROWS` results and `MOST_RUNS`; count the runs left out."""
    newest, damaged = list(runs[:MOST_RUNS]), list[GapbenchError]()
    # a damaged run does not hide the others; `gapbench store verify` names it
    results = store.results(newest, columns=COLUMNS, damaged=damaged.append, validate=True, status="ok")
    sizes = results["run"].value_counts().reindex(newest, fill_value=0)
    fitting = sizes[sizes.cumsum() <= MOST_ROWS]
    return results[results["run"].isin(fitting.index)], len(runs) - len(fitting) + len(damaged)


def data(shown: Sequence[Trend]) -> dict[str, Any]:
    """Return the trends by columns for the page's table, and all their points for the windows."""
    points = [chart.table(trend).assign(trend=number) for number, trend in enumerate(shown)]
    return {
        "trends": sized(pd.DataFrame(list(map(_row, shown)))),
        "points": sized(pd.concat(points) if points else pd.DataFrame()),
    }


def _row(trend: Trend) -> dict[str, Any]:
    case, newest = case_columns(Case.from_id(trend.case)), trend.points[-1]
    of_case = ("case", "shape", "operation", "dtype", "layout", "device", "threads", "pass")
    row = {name: case[name] for name in of_case}
    row |= {name: getattr(trend, name) for name in ("clock", "memory", "implementation")}
    row |= {name: getattr(newest, name) for name in ("seconds", "seconds_low", "seconds_high")}
    row |= {"runs": len(trend.points), "drawn": sparkline(trend.points)}
    if not trend.changes:
        return row
    step = trend.changes[-1]
    ratios = {name: getattr(step, name) for name in ("ratio", "ratio_low", "ratio_high", "cause")}
    news = redaction.text("; ".join(step.environment)) or None
    return row | ratios | {"at": (step.commit or "")[:7] or step.run, "environment": news}
