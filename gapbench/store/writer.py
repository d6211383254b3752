"""A run being written."""

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gapbench import records
from gapbench.errors import GapbenchError
from gapbench.store.tables import frame, table

if TYPE_CHECKING:
    from gapbench.store import Store


def new_run_id(commit: str | None, when: datetime | None = None) -> str:
    """Return a fresh id: UTC time (now, unless the run was measured at another), commit, four random characters."""
    time = (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{time}-{(commit or 'nogit')[:7]}-{secrets.token_hex(2)}"


def timestamp(when: datetime | None = None) -> str:
    """Return a time (now, by default) in UTC, as in 2026-11-22T10:11:12Z."""
    return (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunWriter:
    """A run being measured: append a frame per finished round, then finish."""

    def __init__(self, store: "Store", run: dict[str, Any]) -> None:
        self.run: dict[str, Any] = {
            "schema": records.SCHEMA,
            "run": None,
            "started": None,
            **run,
            "ended": None,
        }
        self.id = str(run["run"])
        self._store = store
        self._shards: list[pa.Table] = []

    @classmethod
    def create(cls, store: "Store", run: dict[str, Any]) -> "RunWriter":
        """Begin a new run. Raises `GapbenchError` if there is one of that id."""
        writer = cls(store, run)
        if store.has(writer.id):
            raise GapbenchError(f"run {writer.id} is already in {store.url}, and runs are not overwritten; try again")
        store.make_folder(store.path(writer.id, "shards"))
        writer._describe()
        return writer

    @classmethod
    def reopen(cls, store: "Store", run: str) -> "RunWriter":
        """Go on with a run that was interrupted. Raises `GapbenchError` for one that is complete."""
        document = store.describe(run)
        if document["ended"] is not None:
            raise GapbenchError(
                f"run {run} is complete, there is nothing to resume; see it with: gapbench report {run}"
            )
        writer = cls(store, document)
        writer._shards = store.shards(run)
        return writer

    def _describe(self) -> None:
        text = json.dumps(self.run, indent=1, ensure_ascii=False)
        self._store.write(self._store.path(self.id, "run.json"), text.encode())

    def _parquet(self, content: pa.Table, *parts: str) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(content, buffer, compression="zstd")
        self._store.write(self._store.path(self.id, *parts), buffer.getvalue().to_pybytes())

    def append(self, columns: Mapping[str, Sequence[object] | object] | pd.DataFrame) -> None:
        """Store the samples of a finished round: columns of `records.SAMPLES`, scalars repeated."""
        shard = table(pd.DataFrame(columns).assign(run=self.id), records.SAMPLES)
        self._parquet(shard, "shards", f"{len(self._shards):06}.parquet")
        self._shards.append(shard)

    def describe(self, **fields: object) -> None:
        """Add to the description of a run that goes on: if it is interrupted, these are kept."""
        self.run.update(fields)
        self._describe()

    def samples(self) -> pd.DataFrame:
        """Return everything appended so far."""
        empty = table(pd.DataFrame(), records.SAMPLES)
        return frame([empty, *self._shards])

    def interrupt(self, results: pd.DataFrame) -> None:
        """Leave the run open, with the results so far."""
        self._parquet(table(results.assign(run=self.id), records.RESULTS), "results.parquet")

    def finish(self, results: pd.DataFrame, **fields: object) -> None:
        """Complete the run: merge the shards, write ``results`` and, last, ``run.json`` with ``fields``."""
        self._parquet(table(self.samples(), records.SAMPLES), "samples.parquet")
        self._parquet(table(results.assign(run=self.id), records.RESULTS), "results.parquet")
        self.run.update(fields, ended=timestamp())
        self._describe()
        self._store.remove(self._store.path(self.id, "shards"))
