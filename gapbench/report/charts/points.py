"""Prepare results for charts: select measured rows, and add facets."""

import numpy as np
import pandas as pd

from gapbench.report import rows
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
