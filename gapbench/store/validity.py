"""What a run's files must hold to mean anything: said in one line where they do not, before anybody reckons with it.

Only what gapbench reads is described. Null and missing are honest nearly everywhere: older files have fewer columns
and fields, and what was not measured is null. Of tables, whole columns are looked at, those that are read.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from gapbench import records
from gapbench.cases import Case
from gapbench.errors import GapbenchError

_DEEPEST = 40
"""Levels of a document: what nests deeper was not written by gapbench, and would end in Python's stack."""

_NUMBER, _WHOLE = "a number", "a whole number"
_NAMES: Mapping[object, str] = {str: "text", bool: "true or false", dict: "a mapping"}

_GIT = {"commit": str, "branch": str, "subject": str, "dirty": bool, "diff_hash": str}
_MACHINE = {"cpu": str, "device": str, "device_description": str, "usable_cores": _NUMBER, "gpus": [object]}
_CEILING = {"level": str, "kind": str, "device": str, "threads": _WHOLE, "bytes": _NUMBER, "gbps": _NUMBER,
            "seconds": _NUMBER, "reason": str}  # fmt: skip
_SIDE = {"ref!": str, "git": _GIT, "versions!": {None: str}}
_ROUND = {"case!": str, "implementation!": str, "clock!": str, "round!": _WHOLE}
_AB = {"base!": _SIDE, "head!": _SIDE, "margin!": _NUMBER, "command!": [str], "differences!": [str],
       "flagged!": [_ROUND]}  # fmt: skip
_PLANNED = {"case!": str, "suite": str, "label": str, "weight": _WHOLE, "specs": {None: str}, "clocks": [str],
            "reference": str}  # fmt: skip
_IMPORTED = {"file": str, "sha256": str, "run": str, "runs": [str]}

RUN: Mapping[str | None, Any] = {
    "run!": str, "started": str, "ended": str, "argv": [str], "tag": str, "suites": [str], "git": _GIT,
    "machine": _MACHINE, "versions": {None: str}, "plan": [_PLANNED], "snippets": {None: str},
    "load_before": [_NUMBER], "load_after": [_NUMBER], "ceilings": [_CEILING], "warnings": [str], "notes": [str],
    "energy": [{"device": str, "source": str, "reason": str}], "clocks": {None: {None: _NUMBER}},
    "wall_seconds": _NUMBER, "timed_seconds": _NUMBER, "ab": {}, "imported": _IMPORTED, "shard": str, "sweep": str,
    "places": {None: _WHOLE}, "settings": {"target": _NUMBER},
}  # fmt: skip
"""What run.json says, of what is read. A field with ! must be there and not null; None stands for all of a mapping."""

COMPARISON: Mapping[str | None, Any] = {"ab": _AB}
"""What run.json says besides of two sides that were compared."""

_OPERATOR = {"name!": str, "dtypes!": [str], "calls": _NUMBER, "self_seconds": _NUMBER, "total_seconds": _NUMBER,
             "bytes": _NUMBER, "gbps": _NUMBER}  # fmt: skip
_GENERATED = {"sentence!": str, "recompilations": _NUMBER, "graph_breaks": _NUMBER}

PROFILE: Mapping[str | None, Any] = {
    "case!": str, "implementation!": str, "status!": str, "reason": str, "side": str, "sentence": str,
    "seconds": _NUMBER, "bytes_moved": _NUMBER, "dtype": str, "versions": {None: str}, "family": str, "files": [str],
    "notes": [str], "explanation": {"sentence!": str, "findings!": [{"sentence!": str}]},
}  # fmt: skip
"""What a profile says, measured or not."""

MEASURED_PROFILE: Mapping[str | None, Any] = {
    "seconds!": _NUMBER, "sentence!": str, "shares!": {None: _NUMBER}, "memory!": [[_NUMBER]],
    "operators!": [_OPERATOR], "files!": [str], "notes!": [str],
    "counters!": [{"name!": str, "value": _NUMBER, "reason": str}],
    "proton!": {"kernels!": {None: _NUMBER}, "reason": str}, "generated": _GENERATED, "page_faults": _NUMBER,
    "page_fault_share": _NUMBER, "one_element_seconds": _NUMBER, "profiled_seconds": _NUMBER, "calls": _NUMBER,
    "peak_extra_bytes": _NUMBER, "gbps": _NUMBER, "trace_calls": _NUMBER, "attempts": _NUMBER,
}  # fmt: skip
"""What a profile says besides where it was measured."""


def load(text: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `ValueError` for one that is damaged, or nested without end."""
    try:
        document = json.loads(text.decode())
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [one for values in inner for one in values if isinstance(one, (dict, list))]
    if level:
        raise ValueError("it is nested without end")
    if re.search(rb"\\u[dD][89a-fA-F]", text):  # halves of a character: one alone can be printed nowhere
        json.dumps(document, ensure_ascii=False).encode()
    return document


def fault(value: object, shape: Any, where: str = "") -> str | None:
    """Return what is wrong with a value that should have a shape such as `RUN`, None if nothing is."""
    if value is None:
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is no list"
        return next(filter(None, (fault(one, shape[0], where) for one in value)), None) or (
            f"{where} has nulls" if None in value else None
        )
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is no mapping"
        return next(filter(None, _of_fields(value, shape, where)), None)
    return None if _is(value, shape) else f"{where} is not {_NAMES.get(shape, shape)}"


def _of_fields(value: Mapping[str, Any], shape: Mapping[str | None, Any], where: str) -> Iterator[str | None]:
    if None in shape:
        yield from (fault(one, shape[None], f"{where}.{name}"[:99]) for name, one in value.items())
        return
    for described, inner in shape.items():
        name = str(described).removesuffix("!")
        place = f"{where}.{name}".lstrip(".")
        yield (
            f"{place} is missing"
            if name != described and value.get(name) is None
            else fault(value.get(name), inner, place)
        )


def _is(value: object, shape: object) -> bool:
    if shape in (_NUMBER, _WHOLE):
        kinds = int if shape == _WHOLE else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and abs(value) < 2**63 and value == value
    return isinstance(value, shape) if isinstance(shape, type) else False


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
