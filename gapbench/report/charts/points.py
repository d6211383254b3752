"""Prepare results for charts: select measured rows, add facets, and aggregate too many points into cells."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gapbench.report import rows
from gapbench.report.charts.style import MOST
from gapbench.store.records import RESULTS

CONTEXT = ("operation", "device", "pass", "threads", "clock", "memory", "contender")
"""Columns besides dtype and layout whose different values must not share a panel."""

Frame = pd.DataFrame


def numeric(frame: Frame) -> Frame:
    """Convert numbers to float64, null to nan, and Arrow's texts to Python's, for operations that charts need."""
    kinds = {name: "float64" for name, kind in RESULTS.items() if kind != "string" and name in frame}
    texts = [name for name, kind in frame.dtypes.items() if name not in kinds and isinstance(kind, pd.ArrowDtype)]
    plain = {str(name): frame[name].astype(object).where(frame[name].notna(), None) for name in texts}
    return frame.astype(kinds).assign(**plain)


def measured(results: Frame) -> Frame:
    """Return the rows that are ok and have a time."""
    frame = numeric(results)
    kept: Frame = frame[(frame["status"] == "ok") & frame["seconds"].gt(0) & np.isfinite(frame["seconds"])]
    return kept


def by_wins(results: Frame) -> list[str]:
    """Return the implementations of measured rows, those that are fastest in most cases first, then by name."""
    if results.empty:
        return []
    key = [name for name in ("run", "case", "clock", "memory") if results[name].notna().any()]
    best = results["seconds"] == results.groupby(key, dropna=False)["seconds"].transform("min") if key else False
    wins = results.assign(best=best).groupby("implementation")["best"].sum()
    return [str(name) for name in wins.sort_index().sort_values(ascending=False, kind="stable").index]


def faceted(frame: Frame, most: int = 12) -> tuple[Frame, int]:
    """Add ``facet``, the title of a row's panel; return the rows of the ``most`` largest facets, and count the others.

    A facet is a dtype and layout, and the columns of `CONTEXT` that vary.
    """
    columns = ["dtype", "layout", *rows.varying(frame, CONTEXT)]
    sizes = frame.groupby(columns, dropna=False, sort=True).size().sort_values(ascending=False, kind="stable")
    keys = sizes.index.to_frame(index=False)
    keys["facet"] = [", ".join(rows.fact(name, key[name]) for name in columns) for key in rows.records(keys)]
    kept = keys.head(most).assign(facet_place=range(min(most, len(keys))))
    return frame.merge(kept, on=columns, how="inner"), max(0, len(keys) - most)


def cells(frame: Frame, by: Sequence[str], x: str, y: str, most: int = MOST) -> Frame:
    """Reduce a frame to at most ``most`` rows: one for each occupied cell of a log grid, unless they are few enough.

    ``x`` and ``y``, both positive, become the medians of a cell's points, and ``cases`` their number; other columns are
    those of the first point. The grid is as fine as ``most`` allows. Values of ``by`` never share a cell, even if that
    exceeds ``most``.
    """
    if len(frame) <= most:
        return frame.assign(cases=1)
    logs = np.log(frame[[x, y]].to_numpy(dtype=float))
    shares = (logs - logs.min(axis=0)) / np.maximum(np.ptp(logs, axis=0), 1e-12)
    groups_of = frame.groupby([*by], dropna=False, sort=False).ngroup().to_numpy()
    for side in (48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1):
        column, row = np.minimum((shares * side).astype(int), side - 1).T
        keys = pd.factorize((groups_of * side + column) * side + row)[0]
        if side == 1 or keys.max() < most:
            break
    groups = frame.groupby(keys)
    drawn = frame.assign(cell=keys).drop_duplicates("cell").set_index("cell")
    drawn[[x, y]], drawn["cases"] = groups[[x, y]].median(), groups.size()
    return drawn.reset_index(drop=True)
