"""Tables of runs as Parquet files: columns in order, types, and the schema's version in the file's metadata.

They are read one file at a time, and columns that nobody asked for are left where they are.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gapbench import records
from gapbench.errors import GapbenchError
from gapbench.store import validity
from gapbench.store.files import Files

_SCHEMA_KEY = b"gapbench_schema"


def table(frame: pd.DataFrame, columns: Mapping[str, str]) -> pa.Table:
    """Lay ``frame`` out as stored: all of ``columns`` in order, null where the frame has none."""
    schema = pa.schema(
        [(name, pa.type_for_alias(kind)) for name, kind in columns.items()],
        metadata={_SCHEMA_KEY: str(records.TABLES).encode()},
    )
    return pa.Table.from_pandas(frame.reindex(columns=list(columns)), schema=schema, preserve_index=False)


def frame(tables: Iterable[pa.Table], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return tables as one frame of ``columns``; those that a table lacks, being older than they are, are null there.

    That is why a column that may be null can join without a new version of the schema.
    """
    empty = table(pd.DataFrame(), columns)
    joined: pd.DataFrame = pa.concat_tables([empty, *tables], promote_options="default").to_pandas()
    return joined[list(columns)]


def parquet(stored: pa.Table) -> bytes:
    """Return a table as a Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(stored, buffer, compression="zstd")
    return bytes(buffer.getvalue().to_pybytes())


def schema_of(schema: pa.Schema) -> int:
    """Return the schema's version that a file was written with, 0 if it names none."""
    found = (schema.metadata or {}).get(_SCHEMA_KEY, b"0")
    return int(found) if re.fullmatch(rb"[0-9]{1,9}", found) else 0


def check_types(run: str, file: str, schema: pa.Schema, columns: Mapping[str, str]) -> None:
    """Refuse a file in which a column that we know is of another type than it is here."""
    for name, kind in columns.items():
        if schema.names.count(name) > 1:
            raise GapbenchError(f"run {run}: {file} has the column {name} more than once; restore or remove it")
        found = schema.field(name).type if name in schema.names else None
        if found is not None and found != pa.type_for_alias(kind):
            raise GapbenchError(f"run {run}: {file} has a column {name} of {found}, not {kind}; restore or remove it")


def check_schema(run: str, found: object, known: Sequence[int] = (records.TABLES,)) -> None:
    """Refuse a run with a file of a schema that this gapbench does not know."""
    if type(found) is not int or found not in known:
        listed = " and ".join(map(str, known))
        raise GapbenchError(
            f"run {run} has schema {found}, this gapbench reads {listed}; use the gapbench that wrote it"
        )


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
            check_schema(run, schema_of(schema))
            check_types(run, name, schema, columns)
            found = file.read(columns=[one for one in columns if one in schema.names], use_threads=False)  # small
        if not filters:
            pass
        elif not filters.keys() <= set(schema.names):  # from before that column: null, which equals nothing
            found = found.slice(0, 0)
        else:
            found = found.filter(pq.filters_to_expression([(one, "==", value) for one, value in filters.items()]))
        found.validate(full=True)
        wrong = next(validity.faults(run, name, found, columns), None) if whole else None
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
    if {*validity.BATCH} <= {*joined.column_names} and (wrong := next(validity.twice("shards", joined), None)):
        raise DamagedFileError(f"run {run}: {wrong}; remove the file that is there twice")


def read_shard(files: Files, run: str, name: str, columns: Mapping[str, str], whole: bool = False) -> pa.Table:
    """Return a finished round."""
    found = read(files, (run, "shards", name), columns, whole=whole)
    if found is None:
        raise GapbenchError(f"run {run} was completed or removed while it was read; try again")
    return found
