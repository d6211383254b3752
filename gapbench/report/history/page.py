"""What the site's page of history shows: the trends of the newest runs, those that stepped first."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.history import COLUMNS, Trend, order, trends
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
    listed = store.listing()
    runs = [run for run, about in reversed(listed.runs.items()) if about.is_complete and not about.is_comparison]
    results, left = _newest(store, runs)
    left += len(listed.unreadable)
    if results.empty:
        return History([], "No complete run is small enough to show here; see: gapbench history CASE" if left else "")
    documents = {run: listed.runs[run] for run in results["run"].unique()}
    ordered = order(list(documents.values()))
    count = len(ordered.runs)
    said = f"{fmt.count(count)} {'run' if count == 1 else 'runs'}, {ordered.phrase}."
    found = sorted(trends(documents, ordered, results), key=_pressing)
    return History(found, said + (" The store has more: gapbench history" if left else ""))


def _newest(store: Store, runs: Sequence[str]) -> tuple[pd.DataFrame, int]:
    """Return what the first of ``runs`` have timed, `MOST_ROWS` at most, and how many runs are left out.

    They are read in blocks, since a call costs more than a run, and none much larger than is needed.
    """
    frames, damaged = [pd.DataFrame(columns=list(COLUMNS))], list[GapbenchError]()
    shown, room, largest = 0, MOST_ROWS, MOST_ROWS
    while shown < len(runs):
        block = list(runs[shown : shown + max(1, room // largest)])
        # one that cannot be read hides no other; `gapbench store verify` names it
        found = store.results(block, columns=COLUMNS, damaged=damaged.append, whole=True, status="ok")
        sizes = found["run"].value_counts().reindex(block, fill_value=0)
        fitting = sizes[sizes.cumsum() <= room]
        frames.append(found[found["run"].isin(fitting.index)])
        shown, room, largest = shown + len(fitting), room - fitting.sum(), max(1, sizes.max())
        if len(fitting) < len(block):
            break
    return pd.concat([frame for frame in frames if len(frame)] or frames), len(runs) - shown + len(damaged)


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
        "memory": trend.memory,
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
