"""What the scripts of a run page know of the results: enough to answer "which implementation?" and to fill its tables.

The answer itself is found in the page, from these columns; see ``templates/js/which.js``.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from gapbench import ceilings
from gapbench.records import UNRANKED
from gapbench.report.columns import Columns, columns
from gapbench.report.format import missing
from gapbench.report.rows import CASE, certainty, key, names, records
from gapbench.report.stored import Stored
from gapbench.run import Run

_CASE = (
    "suite", "operation", "label", "case", "shape", "dtype", "layout", "device", "pass", "threads", "bytes_moved",
    "clock", "memory", "winner", "ties", "certainty", "reference", "rows",
)  # fmt: skip
_ROW = (
    "implementation", "contender", "status", "reason", "seconds", "seconds_low", "seconds_high", "ratio",
    "ratio_low", "ratio_high", "best_ratio", "best_ratio_low", "best_ratio_high", "page_faults", "rounds", "samples",
    "stopped_by", "gbps", "ceiling_fraction", "ceiling", "max_error_ulp", "peak_extra_bytes", "saved_bytes",
    "compile_seconds", "recompilations", "parameters", "code_path", "energy_joules",
)  # fmt: skip


def data(stored: Stored) -> dict[str, Any]:
    """Return a run's cases and rows by columns, and the snippets of its implementations.

    ``cases`` has one entry for each case, clock and memory, in the order of the results, with ``winner`` (null where
    there is none), the names of ``ties``, their `rows.certainty`, and how many ``rows`` it has; the rows of the cases
    follow each other.
    """
    of = stored.results.groupby([*CASE], sort=False, dropna=False).ngroup()
    results = stored.results.assign(of=of).sort_values("of", kind="stable")
    cases = results.drop_duplicates("of").assign(rows=of.value_counts(sort=False).sort_index().to_numpy())
    best = {key(row): row for row in records(stored.winners)}
    found = [best.get(key(row), {}) for row in records(cases)]
    cases = cases.assign(
        winner=_column(cases, [one.get("implementation") for one in found]),
        reference=_column(cases, [one.get("reference") for one in found]),
        ties=_column(cases, [names(one.get("ties")) for one in found]),
        certainty=_column(cases, [certainty(one, stored.run) or None if one else None for one in found]),
    )
    results = results.assign(ceiling=_column(results, list(map(_ceiling(stored.run), records(results)))))
    return {
        "run": stored.run.id,
        "cases": _sized(cases, _CASE),
        "rows": _sized(results, _ROW),
        "unranked": list(UNRANKED),
        "snippets": stored.run.snippets,
    }


def _ceiling(run: Run) -> Callable[[Mapping[str, Any]], str | None]:
    """Return what names the ceiling that a row's share is of."""

    def name(row: Mapping[str, Any]) -> str | None:
        limit = ceilings.limit_of(run.ceilings, row) if not missing(row["ceiling_fraction"]) else None
        return None if limit is None else ceilings.said(limit)

    return name


def _column(frame: pd.DataFrame, values: list[Any]) -> pd.Series:
    return pd.Series(values, dtype=object, index=frame.index)


def _sized(frame: pd.DataFrame, wanted: tuple[str, ...]) -> dict[str, int | Columns]:
    return {"count": len(frame), "columns": columns(frame, wanted)}
