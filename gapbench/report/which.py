"""What the scripts of a run page know of the results: enough to answer "which implementation?" and to fill its tables.

The answer itself is found in the page, from these columns; see ``templates/js/which.js``.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from gapbench.records import UNRANKED
from gapbench.report.columns import Columns, columns
from gapbench.report.rows import names
from gapbench.report.stored import Stored

_CASE = (
    "suite", "operation", "label", "case", "shape", "dtype", "layout", "device", "pass", "threads", "bytes_moved",
    "clock", "winner", "ties", "reference",
)  # fmt: skip
_ROW = (
    "of", "implementation", "contender", "status", "reason", "seconds", "seconds_low", "seconds_high", "ratio",
    "ratio_low", "ratio_high", "rounds", "samples", "stopped_by", "gbps", "ceiling_fraction", "max_error_ulp",
    "peak_extra_bytes", "saved_bytes", "compile_seconds", "recompilations", "parameters", "code_path",
)  # fmt: skip


def data(stored: Stored) -> dict[str, Any]:
    """Return a run's cases and rows by columns, and the snippets of its implementations.

    ``cases`` has one entry for each case and clock, in the order of the results, with ``winner`` and ``ties``; a row's
    ``of`` is the index of its case. ``ties`` lists names, null where there is no winner.
    """
    results = stored.results.assign(of=stored.results.groupby(["case", "clock"], sort=False, dropna=False).ngroup())
    cases = results.drop_duplicates("of").drop(columns="reference", errors="ignore")
    won = stored.winners.reindex(columns=["case", "clock", "implementation", "reference", "ties"])
    won = won.rename(columns={"implementation": "winner"}).drop_duplicates(["case", "clock"])
    cases = cases.merge(won.assign(ties=won["ties"].map(names)), on=["case", "clock"], how="left")
    return {
        "run": stored.id,
        "cases": _sized(cases, _CASE),
        "rows": _sized(results.sort_values("of", kind="stable"), _ROW),
        "unranked": list(UNRANKED),
        "snippets": snippets(stored.run),
    }


def _sized(frame: pd.DataFrame, wanted: tuple[str, ...]) -> dict[str, int | Columns]:
    return {"count": len(frame), "columns": columns(frame, wanted)}


def snippets(run: Mapping[str, Any]) -> dict[str, str]:
    """Return what to write for each implementation, as the run recorded it; runs of old did not."""
    recorded = run.get("snippets")
    return {str(name): str(text) for name, text in recorded.items()} if isinstance(recorded, Mapping) else {}
