"""How frames lie in Parquet files: columns in order, types, and the schema's version in the file's metadata."""

from collections.abc import Mapping

import pandas as pd
import pyarrow as pa

from gapbench import records
from gapbench.errors import GapbenchError

_SCHEMA_KEY = b"gapbench_schema"


def table(frame: pd.DataFrame, columns: Mapping[str, str]) -> pa.Table:
    """Lay ``frame`` out as stored: all of ``columns`` in order, null where the frame has none."""
    schema = pa.schema(
        [(name, pa.type_for_alias(kind)) for name, kind in columns.items()],
        metadata={_SCHEMA_KEY: str(records.SCHEMA).encode()},
    )
    return pa.Table.from_pandas(frame.reindex(columns=list(columns)), schema=schema, preserve_index=False)


def frame(tables: list[pa.Table]) -> pd.DataFrame:
    """Return tables as one frame; columns that some lack, as runs from before a column was added, are null there."""
    joined: pd.DataFrame = pa.concat_tables(tables, promote_options="default").to_pandas()
    return joined


def schema_of(stored: pa.Table) -> int:
    """Return the schema's version that a file was written with, 0 if it names none."""
    return int((stored.schema.metadata or {}).get(_SCHEMA_KEY, b"0"))


def check_types(run: str, file: str, stored: pa.Table, columns: Mapping[str, str]) -> None:
    """Refuse a file in which a column that we know is of another type than it is here."""
    for name, kind in columns.items():
        found = stored.schema.field(name).type if name in stored.schema.names else None
        if found is not None and found != pa.type_for_alias(kind):
            raise GapbenchError(f"run {run}: {file} has a column {name} of {found}, not {kind}; restore or remove it")


def check_schema(run: str, found: object) -> None:
    """Refuse a run of a schema that this gapbench does not know."""
    if found != records.SCHEMA:
        raise GapbenchError(
            f"run {run} has schema {found}, this gapbench reads {records.SCHEMA}; use the gapbench that wrote it"
        )
