"""What the rows of a run's tables must hold to mean anything, looked at by whole columns, those that are read.

Null and missing are honest nearly everywhere: older files have fewer columns, and what was not measured is null.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, reduce

import pyarrow as pa
import pyarrow.compute as pc

from gapbench import records
from gapbench.cases import Case
from gapbench.errors import GapbenchError

_ALWAYS = frozenset(
    {"run", "case", "implementation", "contender", "clock", "status", "operation", "shape", "n", "c", "spatial",
     "dtype", "layout", "device", "pass", "threads", "elements", "round", "turn", "seconds_per_call"}
)  # fmt: skip
"""Columns that are null in no honest file: the others may be, or be missing."""

_LEAST, _MOST = 1e-15, 1e15
_POSITIVE = frozenset(
    {
        "seconds_per_call",
        *(f"{name}{end}" for name in ("seconds", "ratio", "best_ratio") for end in ("", "_low", "_high")),
    }
)
_UNBOUNDED = frozenset({"max_error", "max_error_ulp"})
_FROM_ONE = frozenset({"threads", "weight", "calls"})
_SIGNED = frozenset({"temperature_c"})
_FROM_ID = ("operation", "shape", "n", "c", "spatial", "dtype", "layout", "device", "pass", "threads", "elements")
_ROW = ("case", "implementation", "contender", "clock")
BATCH = (*_ROW, "round", "turn")
"""Columns that name a batch, beside the condition of memory, which runs of old do not know."""


def faults(run: str, file: str, found: pa.Table, columns: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with rows that were read of a run's ``file``, as sentences; ``columns`` were asked for."""
    if not found.num_rows:
        return
    there = [name for name in columns if name in found.column_names]
    lacking = {name: count for name in there if (count := found[name].null_count)}
    if names := [found[name].is_null() for name in ("run", *_ROW) if name in lacking]:
        nameless = pc.sum(reduce(pc.or_, names)).as_py()
        yield f"{file} has {nameless} rows that do not say of which run, case, implementation or clock"
    for name in columns:
        if name in _ALWAYS and name not in there:
            yield f"{file} has no column {name}"
    for name in there:
        if name in _ALWAYS and name in lacking:
            yield f"{file} has {lacking[name]} rows without {name}"
        if columns[name] != "string" and (strange := _out_of_range(name, columns[name], found[name])) is not None:
            yield f"{file} has {strange} as {name}"
    yield from _strangers(run, file, found, there)


def _out_of_range(name: str, kind: str, column: pa.ChunkedArray) -> object | None:
    """Return a number that cannot be, None if there is none."""
    if name in _UNBOUNDED:
        return None
    low: float = _LEAST if name in _POSITIVE else 1 if name in _FROM_ONE else -_MOST if name in _SIGNED else 0
    high = _MOST if kind == "float64" else math.inf
    least, most = pc.min_max(column).as_py().values()  # NaN aside
    if least is None or (low <= least <= most <= high and not (kind == "float64" and name in _ALWAYS)):
        return None  # as nearly always, in one call: many small files are looked at
    good = pc.greater_equal(column, pa.scalar(low, column.type))
    if kind == "float64":
        good = pc.and_(good, pc.less_equal(column, _MOST))
        if name not in _ALWAYS:
            good = pc.or_(good, pc.is_nan(column))  # as good as null
    if pc.all(good).as_py() in (True, None):
        return None
    found: object = column.filter(pc.invert(good))[0].as_py()
    return found


def _strangers(run: str, file: str, found: pa.Table, there: Sequence[str]) -> Iterator[str]:
    """Yield what is said of runs, statuses and cases that cannot be, and of rows that are there twice."""
    if "run" in there and (others := sorted(set(pc.unique(found["run"]).to_pylist()) - {run})):
        yield f"{file} has rows of other runs: {', '.join(others)}"
    if "status" in there and (unknown := sorted(set(pc.unique(found["status"]).to_pylist()) - {*records.STATUSES})):
        yield f"{file} has unknown statuses: {', '.join(unknown)}"
    if "case" in there:
        told = [name for name in _FROM_ID if name in there]
        for row in found.select(["case", *told]).group_by(["case", *told], use_threads=False).aggregate([]).to_pylist():
            columns = _columns(row["case"])
            if isinstance(columns, str):
                yield f"{file}: {columns}"
            elif wrong := [name for name in told if row[name] != columns[name]]:
                yield f"{file}: {row['case']} has another {', '.join(wrong)} than its id says"
    key = BATCH if "round" in there else _ROW
    if set(key) <= {*there}:
        yield from twice(file, found, key)


@lru_cache(4096)
def _columns(case: str) -> Mapping[str, object] | str:
    """Return the columns that a case's id spells out, or why it spells none out."""
    try:
        return records.case_columns(Case.from_id(case))
    except (GapbenchError, ValueError) as error:
        return str(error)


def twice(file: str, found: pa.Table, rows: Sequence[str] = BATCH) -> Iterator[str]:
    """Yield which of the ``rows``, named by their columns and memory, are there more than once."""
    rows = [*rows, *({"memory"} & {*found.column_names})]
    counts = found.select(rows).group_by(rows, use_threads=False).aggregate([([], "count_all")])
    if counts.num_rows < found.num_rows:
        first = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()[0]
        case, implementation, *rest = (first.get(name) for name in (*_ROW, "memory"))
        yield f"{file} has {implementation} on {case} ({', '.join(filter(None, rest))}) more than once"
