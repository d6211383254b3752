"""Tables of runs as Parquet files: columns in order, types, a version of the schema in the metadata, and validation.

What rows must hold to mean anything is looked at by whole columns, those that are read. Null and missing are honest
nearly everywhere: older files have fewer columns, and what was not measured is null.
"""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gapbench.errors import GapbenchError
from gapbench.store import records
from gapbench.store.files import Files
from gapbench.store.run import check_schema
from gapbench.workloads.cases import Case

_SCHEMA_KEY = b"gapbench_schema"

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


def table(frame: pd.DataFrame, columns: Mapping[str, str]) -> pa.Table:
    """Lay ``frame`` out as stored: all of ``columns`` in order, null where the frame has none."""
    schema = pa.schema(
        [(name, pa.type_for_alias(kind)) for name, kind in columns.items()],
        metadata={_SCHEMA_KEY: str(records.TABLES).encode()},
    )
    return pa.Table.from_pandas(frame.reindex(columns=list(columns)), schema=schema, preserve_index=False)


def frame(tables: Iterable[pa.Table], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return tables as one frame of ``columns``; those that a table lacks, being older, are null there."""
    empty = table(pd.DataFrame(), columns)
    joined: pd.DataFrame = pa.concat_tables([empty, *tables], promote_options="default").to_pandas()
    return joined[list(columns)]


def parquet(stored: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(stored, buffer, compression="zstd")
    return bytes(buffer.getvalue().to_pybytes())


def check_types(run: str, file: str, schema: pa.Schema, columns: Mapping[str, str]) -> None:
    """Refuse a file in which a column that we know is of another type than it is here."""
    for name, kind in columns.items():
        if schema.names.count(name) > 1:
            raise GapbenchError(f"run {run}: {file} has the column {name} more than once; restore or remove it")
        found = schema.field(name).type if name in schema.names else None
        if found is not None and found != pa.type_for_alias(kind):
            raise GapbenchError(f"run {run}: {file} has a column {name} of {found}, not {kind}; restore or remove it")


class DamagedFileError(GapbenchError):
    """A file that is there and is no table, as a power cut or a bad disk leaves it."""


def read(
    files: Files,
    path: Sequence[str],
    columns: Mapping[str, str],
    filters: Mapping[str, object] | None = None,
    whole: bool = False,
) -> pa.Table | None:
    """Return the rows of a run's file that have the values of ``filters``, None where there is no such file.

    ``path`` is the run and the file in it; ``columns`` are those to read and their types, which have those of
    ``filters`` among them; columns that the file is too old to have are left out. Where rows must be ``whole``, such as
    can mean nothing are refused. Raises `DamagedFileError`, and `GapbenchError` for a file of a schema or of types that
    are not known.
    """
    run, name = path[0], path[-1]
    try:
        source = _opened(files, path)
        if source is None:
            return None
        with source, pq.ParquetFile(source) as file:
            schema = file.schema_arrow
            version = (schema.metadata or {}).get(_SCHEMA_KEY, b"0")
            check_schema(run, int(version) if re.fullmatch(rb"[0-9]{1,9}", version) else 0)
            check_types(run, name, schema, columns)
            found = file.read(columns=[one for one in columns if one in schema.names], use_threads=False)  # small
        if not filters:
            pass
        elif not filters.keys() <= set(schema.names):  # from before that column: null, which equals nothing
            found = found.slice(0, 0)
        else:
            found = found.filter(pq.filters_to_expression([(one, "==", value) for one, value in filters.items()]))
        found.validate(full=True)
        wrong = next(faults(run, name, found, columns), None) if whole else None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(f"run {run}: {name} cannot be read ({first})") from error
    if wrong is not None:
        raise DamagedFileError(f"run {run}: {wrong}; restore it, or remove the run")
    return found


def _opened(files: Files, path: Sequence[str]) -> pa.NativeFile | None:
    if not files.local:  # one request for the whole file rather than several for its parts
        content = files.read(*path)
        return None if content is None else pa.BufferReader(content)
    try:
        return pa.OSFile(os.fsencode(files.path(*path)))  # which may be no UTF-8
    except (FileNotFoundError, NotADirectoryError):
        return None


def distinct(run: str, rounds: Sequence[pa.Table]) -> None:
    """Raise `DamagedFileError` where two files hold the same round of a run in progress."""
    joined = pa.concat_tables(rounds, promote_options="default")
    if {*BATCH} <= {*joined.column_names} and (wrong := next(twice("shards", joined), None)):
        raise DamagedFileError(f"run {run}: {wrong}; remove the file that is there twice")


def read_shard(files: Files, run: str, name: str, columns: Mapping[str, str], whole: bool = False) -> pa.Table:
    """Return a finished round."""
    found = read(files, (run, "shards", name), columns, whole=whole)
    if found is None:
        raise GapbenchError(f"run {run} was completed or removed while it was read; try again")
    return found


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
        yield f"{file} has {said(first.get(name) for name in (*_ROW, 'memory'))} more than once"


def said(key: Any) -> str:
    """Name a row by case, implementation, contender, clock and memory, those of the last that are known."""
    case, implementation, *rest = key
    return f"{implementation} on {case} ({', '.join(filter(None, rest))})"
