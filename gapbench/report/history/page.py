"""What the site's page of history shows: the trends of the newest runs, those that stepped first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.history.order import order
from gapbench.history.trends import Trend, trends
from gapbench.report import format as fmt
from gapbench.report import private
from gapbench.report.charts import trend as chart
from gapbench.report.columns import columns
from gapbench.report.history.text import sparkline
from gapbench.store import Store

MOST_ROWS = 20_000
"""Results that the page reads, of whole runs, the newest; `gapbench history` reads them all."""


@dataclass(frozen=True, slots=True)
class History:
    """The trends shown, the most pressing first, and a sentence on which runs they are of."""

    trends: list[Trend]
    said: str


def read(store: Store) -> History:
    """Return the trends over the store's newest complete runs, as many as `MOST_ROWS` allow."""
    documents, frames, rows, left = {}, [], 0, 0
    for run in reversed(store.ids()):
        try:
            described = store.describe(run)
            if described.get("ended") is None or "ab" in described:
                continue
            results = store.results([run], status="ok", whole=True)
        except GapbenchError:  # one that cannot be read hides no other; `gapbench store verify` names it
            left += 1
            continue
        if rows + len(results) > MOST_ROWS:
            left += 1
            break
        documents[run] = described
        frames.append(results)
        rows += len(results)
    if not documents:
        return History([], "No complete run is small enough to show here; see: gapbench history CASE" if left else "")
    ordered = order(list(documents.values()))
    found = trends(documents, ordered, pd.concat(frames))
    count = len(ordered.runs)
    said = f"{fmt.count(count)} {'run' if count == 1 else 'runs'}, {ordered.phrase}."
    return History(sorted(found, key=_pressing), said + (" The store has more: gapbench history" if left else ""))


def _pressing(trend: Trend) -> tuple[bool, float]:
    """Order by the size of the newest step, either way; what never stepped keeps its order, at the end."""
    if not trend.changes:
        return True, 0.0
    return False, -abs(float(np.log(trend.changes[-1].ratio)))


def data(found: Sequence[Trend]) -> dict[str, Any]:
    """Return the trends by columns for the page's table, and every point of each for its window."""
    points = [chart.table(trend).assign(trend=number) for number, trend in enumerate(found)]
    frames = {"trends": pd.DataFrame([_row(one) for one in found]), "points": pd.concat(points) if points else None}
    return {
        name: {"count": 0 if frame is None else len(frame), "columns": {} if frame is None else columns(frame)}
        for name, frame in frames.items()
    }


def _row(trend: Trend) -> dict[str, Any]:
    case, newest = Case.from_id(trend.case), trend.points[-1]
    row: dict[str, Any] = {
        "case": trend.case,
        "shape": "x".join(map(str, case.shape)),
        **{name: getattr(case, name) for name in ("operation", "dtype", "layout", "device", "threads")},
        "pass": case.pass_,
        "clock": trend.clock,
        "implementation": trend.implementation,
        "runs": len(trend.points),
        "drawn": sparkline(trend.points),
        "seconds": newest.seconds,
        "seconds_low": newest.seconds_low,
        "seconds_high": newest.seconds_high,
    }
    if not trend.changes:
        return row
    step = trend.changes[-1]
    ratios = {name: getattr(step, name) for name in ("ratio", "ratio_low", "ratio_high", "cause")}
    news = private.text("; ".join(step.environment)) or None
    return row | ratios | {"at": (step.commit or "")[:7] or step.run, "environment": news}
