"""Tables of runs, read one file at a time: columns that nobody asked for are left where they are."""

import os
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from gapbench.errors import GapbenchError
from gapbench.store import validity
from gapbench.store.files import Files
from gapbench.store.tables import check_schema, check_types, schema_of


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


def shards(files: Files, run: str) -> list[str]:
    """Return the names of the finished rounds of a run in progress, in order."""
    return [name for name in files.names(files.path(run, "shards")) if name.endswith(".parquet")]


def read_shard(files: Files, run: str, name: str, columns: Mapping[str, str], whole: bool = False) -> pa.Table:
    """Return a finished round."""
    found = read(files, (run, "shards", name), columns, whole=whole)
    if found is None:
        raise GapbenchError(f"run {run} was completed or removed while it was read; try again")
    return found
