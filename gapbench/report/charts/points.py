"""From results to what charts draw: the measured rows, facets, and cells where points are too many to draw each."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gapbench.report import rows
from gapbench.report.charts.style import MOST
from gapbench.store.records import RESULTS

CONTEXT = ("operation", "device", "pass", "threads", "clock", "memory", "contender")
"""What else two rows may differ by, beside dtype and layout, so that they are not to be drawn in one panel."""

Frame = pd.DataFrame


def numeric(frame: Frame) -> Frame:
    """Return ``frame`` with its numbers as float64, whatever held them: nulls are nan in every column alike.

    Texts that Arrow holds become Python's: its kernels lack what charts do with them.
    """
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
    """Return the implementations of measured rows: those first that are fastest in the most cases, then by name."""
    if results.empty:
        return []
    key = [name for name in ("run", "case", "clock", "memory") if results[name].notna().any()]
    best = results["seconds"] == results.groupby(key, dropna=False)["seconds"].transform("min") if key else False
    wins = results.assign(best=best).groupby("implementation")["best"].sum()
    return [str(name) for name in wins.sort_index().sort_values(ascending=False, kind="stable").index]


def faceted(frame: Frame, most: int = 12) -> tuple[Frame, int]:
    """Add ``facet``, what a panel's title says, and return the rows of the ``most`` largest facets.

    A facet is a dtype and layout, and whatever of `CONTEXT` differs. Also returns how many facets were left out.
    """
    columns = ["dtype", "layout", *rows.varying(frame, CONTEXT)]
    sizes = frame.groupby(columns, dropna=False, sort=True).size().sort_values(ascending=False, kind="stable")
    keys = sizes.index.to_frame(index=False)
    keys["facet"] = [", ".join(rows.fact(name, key[name]) for name in columns) for key in rows.records(keys)]
    kept = keys.head(most).assign(facet_place=range(min(most, len(keys))))
    return frame.merge(kept, on=columns, how="inner"), max(0, len(keys) - most)


def cells(frame: Frame, by: Sequence[str], x: str, y: str, most: int = MOST) -> Frame:
    """Return at most ``most`` rows: the frame itself, or one for each cell of a log grid that is not empty.

    ``x`` and ``y`` become the medians of a cell's points and ``cases`` their number; of other columns a cell has the
    first point's. The grid is as fine as it can be; values of ``by`` never share a cell, however many there are. Both
    columns must be positive.
    """
    if len(frame) <= most:
        return frame.assign(cases=1)
    places = np.log(frame[[x, y]].to_numpy(dtype=float))
    places -= places.min(axis=0)
    places /= np.maximum(places.max(axis=0), 1e-12)
    groups_of = frame.groupby([*by], dropna=False, sort=False).ngroup().to_numpy()
    for side in (48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1):
        column, row = np.minimum((places * side).astype(int), side - 1).T
        keys = pd.factorize((groups_of * side + column) * side + row)[0]
        if side == 1 or keys.max() < most:
            break
    groups = frame.groupby(keys)
    drawn = frame.assign(cell=keys).drop_duplicates("cell").set_index("cell")
    drawn[[x, y]], drawn["cases"] = groups[[x, y]].median(), groups.size()
    return drawn.reset_index(drop=True)
