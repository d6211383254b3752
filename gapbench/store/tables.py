"""How frames lie in Parquet files: columns in order, types, and the schema's version in the file's metadata."""

import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gapbench import records
from gapbench.errors import GapbenchError

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
