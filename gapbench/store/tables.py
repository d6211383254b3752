"""Tables of runs as Parquet files: columns in order, types, the schema's version in the metadata, and validation.

Validation looks at the columns that are read, each as a whole. Most may be null or missing: older files have fewer
columns, and a value that was not measured is null.
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
"""Columns that every row has; the others may be null or missing."""

_LEAST, _MOST = 1e-15, 1e15
_POSITIVE = {f"{name}{end}" for name in ("seconds", "ratio", "best_ratio") for end in ("", "_low", "_high")}
_POSITIVE.add("seconds_per_call")
_UNBOUNDED = frozenset({"max_error", "max_error_ulp"})
_FROM_ONE = frozenset({"threads", "weight", "calls"})
_SIGNED = frozenset({"temperature_c"})
_FROM_ID = ("operation", "shape", "n", "c", "spatial", "dtype", "layout", "device", "pass", "threads", "elements")
_ROW = ("case", "implementation", "contender", "clock")
BATCH = (*_ROW, "round", "turn")  # columns that name a batch, beside the condition of memory, which older runs lack


def table(frame: pd.DataFrame, columns: Mapping[str, str]) -> pa.Table:
    """Return ``frame`` as it is stored: all of ``columns`` in order, null where the frame lacks one."""
    schema = pa.schema(
        [(name, pa.type_for_alias(kind)) for name, kind in columns.items()],
        metadata={_SCHEMA_KEY: str(records.TABLES).encode()},
    )
    return pa.Table.from_pandas(frame.reindex(columns=list(columns)), schema=schema, preserve_index=False)


def frame(tables: Iterable[pa.Table], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return tables as one frame of ``columns``, null where a table lacks one."""
    empty = table(pd.DataFrame(), columns)
    joined: pd.DataFrame = pa.concat_tables([empty, *tables], promote_options="default").to_pandas()
    return joined[list(columns)]


def parquet(stored: pa.Table) -> bytes:
    """Encode a table as a Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(stored, buffer, compression="zstd")
    return bytes(buffer.getvalue().to_pybytes())


def _check_types(run: str, file: str, schema: pa.Schema, columns: Mapping[str, str]) -> None:
    """Raise `GapbenchError` where one of ``columns`` is there twice or has another type."""
    for name, kind in columns.items():
        stored = [schema.field(index).type for index in schema.get_all_field_indices(name)]
        if len(stored) > 1 or (stored and stored[0] != pa.type_for_alias(kind)):
            what = f"the column {name} more than once" if stored[1:] else f"a column {name} of {stored[0]}, not {kind}"
            raise GapbenchError(f"run {run}: {file} has {what}; restore or remove it")


class DamagedFileError(GapbenchError):
    """A file that exists and is not a table, as a power cut or a bad disk leaves it."""


def read(
    files: Files,
    path: Sequence[str],
    columns: Mapping[str, str],
    filters: Mapping[str, object] | None = None,
    validate: bool = False,
) -> pa.Table | None:
    """Return the rows of a run's file that have the values of ``filters``; None where there is no such file.

    ``path`` is the run and the file in it; ``columns`` are those to read, with their types, those of ``filters``
    among them. Columns that an older file lacks are left out. Raises `DamagedFileError` for an unreadable file and,
    with ``validate``, for invalid rows; `GapbenchError` for a schema or types of another gapbench.
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
            _check_types(run, name, schema, columns)
            rows = file.read(columns=[column for column in columns if column in schema.names], use_threads=False)
        if filters and filters.keys() <= set(schema.names):
            rows = rows.filter(pq.filters_to_expression([(column, "==", value) for column, value in filters.items()]))
        elif filters:  # the file is older than a column: its rows are null there, and equal no value
            rows = rows.slice(0, 0)
        rows.validate(full=True)
        fault = next(faults(run, name, rows, columns), None) if validate else None
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedFileError(f"run {run}: {name} cannot be read ({first})") from error
    if fault is not None:
        raise DamagedFileError(f"run {run}: {fault}; restore it, or remove the run")
    return rows


def _opened(files: Files, path: Sequence[str]) -> pa.NativeFile | None:
    if not files.local:  # one request for the whole file rather than several for its parts
        content = files.read(*path)
        return None if content is None else pa.BufferReader(content)
    try:
        return pa.OSFile(os.fsencode(files.path(*path)))  # a path need not be UTF-8
    except (FileNotFoundError, NotADirectoryError):
        return None


def distinct(run: str, rounds: Sequence[pa.Table]) -> None:
    """Raise `DamagedFileError` where two files hold the same round of a run in progress."""
    joined = pa.concat_tables(rounds, promote_options="default")
    if {*BATCH} <= {*joined.column_names} and (fault := next(_duplicate_rows("shards", joined, BATCH), None)):
        raise DamagedFileError(f"run {run}: {fault}; remove the file that is there twice")


def read_shard(files: Files, run: str, name: str, columns: Mapping[str, str], validate: bool = False) -> pa.Table:
    """Return a finished round of a run in progress. Raises `GapbenchError` where it has gone."""
    rows = read(files, (run, "shards", name), columns, validate=validate)
    if rows is None:
        raise GapbenchError(f"run {run} was completed or removed while it was read; try again")
    return rows


def faults(run: str, file: str, rows: pa.Table, columns: Mapping[str, str]) -> Iterator[str]:
    """Yield sentences about invalid rows of a run's ``file``; ``columns`` are those that were asked for."""
    if not rows.num_rows:
        return
    present = [name for name in columns if name in rows.column_names]
    lacking = {name: count for name in present if (count := rows[name].null_count)}
    if names := [rows[name].is_null() for name in ("run", *_ROW) if name in lacking]:
        nameless = pc.sum(reduce(pc.or_, names)).as_py()
        yield f"{file} has {nameless} rows without a run, case, implementation, contender or clock"
    yield from (f"{file} has no column {name}" for name in columns if name in _ALWAYS and name not in present)
    for name in present:
        if name in _ALWAYS and name in lacking:
            yield f"{file} has {lacking[name]} rows without {name}"
        if columns[name] != "string" and (value := _out_of_range(name, columns[name], rows[name])) is not None:
            yield f"{file} has {value} as {name}"
    yield from _foreign_rows(run, file, rows, present)


def _out_of_range(name: str, kind: str, column: pa.ChunkedArray) -> object | None:
    if name in _UNBOUNDED:
        return None
    low: float = _LEAST if name in _POSITIVE else 1 if name in _FROM_ONE else -_MOST if name in _SIGNED else 0
    high = _MOST if kind == "float64" else math.inf
    least, most = pc.min_max(column).as_py().values()  # NaN aside
    if least is None or (low <= least <= most <= high and not (kind == "float64" and name in _ALWAYS)):
        return None  # the usual result, from one call, since there are many small files
    good = pc.greater_equal(column, pa.scalar(low, column.type))
    if kind == "float64":
        good = pc.and_(good, pc.less_equal(column, _MOST))
        if name not in _ALWAYS:
            good = pc.or_(good, pc.is_nan(column))  # as good as null
    return next(iter(column.filter(pc.invert(good)).to_pylist()), None)


def _foreign_rows(run: str, file: str, rows: pa.Table, present: Sequence[str]) -> Iterator[str]:
    """Yield sentences about rows of other runs, unknown statuses, columns that contradict a case's id, duplicates."""
    if "run" in present and (others := sorted(set(pc.unique(rows["run"]).to_pylist()) - {run})):
        yield f"{file} has rows of other runs: {', '.join(others)}"
    if "status" in present and (unknown := sorted(set(pc.unique(rows["status"]).to_pylist()) - {*records.STATUSES})):
        yield f"{file} has unknown statuses: {', '.join(unknown)}"
    if "case" in present:
        names = ["case", *(name for name in _FROM_ID if name in present)]
        for row in rows.group_by(names, use_threads=False).aggregate([]).to_pylist():
            columns = _columns(row["case"])
            if isinstance(columns, str):
                yield f"{file}: {columns}"
            elif differing := [name for name in names[1:] if row[name] != columns[name]]:
                yield f"{file}: {row['case']} has another {', '.join(differing)} than its id says"
    key = BATCH if "round" in present else _ROW
    if {*key} <= {*present}:
        yield from _duplicate_rows(file, rows, key)


@lru_cache(4096)
def _columns(case: str) -> Mapping[str, object] | str:
    try:
        return records.case_columns(Case.from_id(case))
    except (GapbenchError, ValueError) as error:
        return str(error)


def _duplicate_rows(file: str, rows: pa.Table, key: Sequence[str]) -> Iterator[str]:
    """Yield the first row that is there more than once, as a sentence; ``key`` and memory name a row."""
    names = [*key, *({"memory"} & {*rows.column_names})]
    counts = rows.group_by(names, use_threads=False).aggregate([([], "count_all")])
    if counts.num_rows < rows.num_rows:
        first = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()[0]
        yield f"{file} has {row_name(first.get(name) for name in (*_ROW, 'memory'))} more than once"


def row_name(key: Any) -> str:
    """Name a row by its case, implementation and those of contender, clock and memory that are known."""
    case, implementation, *rest = key
    return f"{implementation} on {case} ({', '.join(filter(None, rest))})"
