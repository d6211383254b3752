"""Runs on disk or in an object store: append, read, find.

One folder per run, as DESIGN fixes it::

    results/20261122T101112Z-abc1234-9f3c/
        run.json            first written with "ended": null, replaced when the run is complete
        shards/000123.parquet   one per finished round, while the run lasts
        samples.parquet     all shards, at the end
        results.parquet     one row per case x implementation x contender x clock, at the end

No finished file is ever changed except run.json, which comes last. Any fsspec URL works as well as a path.
"""

import contextlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gapbench import records
from gapbench.errors import GapbenchError

_SCHEMA_KEY = b"gapbench_schema"


def new_run_id(commit: str | None) -> str:
    """Return a fresh id: UTC time, commit and four random characters."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{now}-{(commit or 'nogit')[:7]}-{secrets.token_hex(2)}"


def timestamp() -> str:
    """Return the time now, in UTC, as in 2026-11-22T10:11:12Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _table(frame: pd.DataFrame, columns: Mapping[str, str]) -> pa.Table:
    """Lay ``frame`` out as stored: all of ``columns`` in order, null where the frame has none."""
    schema = pa.schema(
        [(name, pa.type_for_alias(kind)) for name, kind in columns.items()],
        metadata={_SCHEMA_KEY: str(records.SCHEMA).encode()},
    )
    return pa.Table.from_pandas(frame.reindex(columns=list(columns)), schema=schema, preserve_index=False)


def _frame(tables: list[pa.Table]) -> pd.DataFrame:
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    return frame


class Store:
    """A folder of runs at a path or fsspec URL. Raises `GapbenchError` for what cannot be read or written."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._fs, self._root = fsspec.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise GapbenchError(f"cannot open the store {url!r}: {error}") from error

    def create(self, run: Mapping[str, Any]) -> "RunWriter":
        """Begin a run described by ``run`` (its id under ``run``). Nothing is measured before this succeeds."""
        return RunWriter.create(self, dict(run))

    def reopen(self, run: str) -> "RunWriter":
        """Go on with an interrupted run."""
        return RunWriter.reopen(self, run)

    def path(self, run: str, *parts: str) -> str:
        """Return where a run, or a file of it, lies."""
        return "/".join([self._root.rstrip("/"), run, *parts])

    def ids(self) -> list[str]:
        """Return the ids of all runs, oldest first."""
        if not self._fs.isdir(self._root):
            return []
        folders = (path.rstrip("/").rsplit("/", 1)[-1] for path in self._fs.ls(self._root, detail=False))
        return sorted(name for name in folders if self.has(name))

    def has(self, run: str) -> bool:
        """Tell whether there is a run of this id."""
        return bool(self._fs.exists(self.path(run, "run.json")))

    def describe(self, run: str) -> dict[str, Any]:
        """Return a run's ``run.json``."""
        try:
            text = self._fs.cat_file(self.path(run, "run.json"))
        except OSError as error:
            raise GapbenchError(f"there is no run {run!r} in {self.url}") from error
        try:
            document = dict(json.loads(text))
        except (ValueError, TypeError) as error:
            raise GapbenchError(f"run {run}: run.json is damaged ({error}); remove or restore it") from error
        self._check_schema(run, document.get("schema"))
        return document

    def runs(self) -> pd.DataFrame:
        """Return one row per run: id, times, suites, tag, commit, branch, device, whether it is complete."""
        rows = []
        for run in self.ids():
            document = self.describe(run)
            git, machine = document.get("git") or {}, document.get("machine") or {}
            rows.append(
                {
                    "run": run,
                    "started": document.get("started"),
                    "ended": document.get("ended"),
                    "suites": ",".join(document.get("suites") or []),
                    "tag": document.get("tag"),
                    "commit": git.get("commit"),
                    "branch": git.get("branch"),
                    "subject": git.get("subject"),
                    "device": machine.get("device_description"),
                    "complete": document.get("ended") is not None,
                }
            )
        columns = [
            "run",
            "started",
            "ended",
            "suites",
            "tag",
            "commit",
            "branch",
            "subject",
            "device",
            "complete",
        ]
        return pd.DataFrame(rows, columns=columns)

    def resolve(self, name: str) -> str:
        """Return the run that ``name`` means: id, unique prefix, commit, branch or tag (its newest), or latest."""
        runs = self.runs()
        if runs.empty:
            raise GapbenchError(f"the store {self.url} holds no runs; measure one with: gapbench run")
        if name == "latest":
            return str(runs["run"].iloc[-1])
        by_prefix = runs[runs["run"].str.startswith(name)]
        if len(by_prefix) > 1:
            listed = ", ".join(by_prefix["run"])
            raise GapbenchError(f"run {name!r} is ambiguous in {self.url}: {listed}")
        by_git = runs[
            (runs["tag"] == name)
            | (runs["branch"] == name)
            | (runs["commit"].fillna("").str.startswith(name) & (len(name) >= 4))
        ]
        for found in (by_prefix, by_git):
            if not found.empty:
                return str(found["run"].iloc[-1])
        newest = ", ".join(runs["run"].iloc[:-6:-1])
        raise GapbenchError(f"there is no run {name!r} in {self.url}; the newest are: {newest}")

    def results(self, runs: Iterable[str] | None = None, **filters: object) -> pd.DataFrame:
        """Return the results of ``runs`` (all by default), rows with the given values only.

        ``filters`` are columns of `records.RESULTS`, as in ``dtype="bfloat16"``.
        """
        return self._read("results.parquet", records.RESULTS, runs, filters)

    def samples(self, runs: Iterable[str] | None = None, **filters: object) -> pd.DataFrame:
        """Return the timed batches of ``runs``; those of a run in progress as far as it is."""
        return self._read("samples.parquet", records.SAMPLES, runs, filters)

    def _read(
        self, file: str, columns: Mapping[str, str], runs: Iterable[str] | None, filters: Mapping[str, object]
    ) -> pd.DataFrame:
        conditions = [(name, "==", value) for name, value in filters.items()] or None
        tables = [_table(pd.DataFrame(), columns)]
        for run in self.ids() if runs is None else runs:
            path = self.path(run, file)
            if self._fs.exists(path):
                tables.append(self._read_table(run, path, conditions))
            elif file == "samples.parquet":
                tables += self.shards(run, conditions)
        return _frame(tables)

    def shards(self, run: str, conditions: Any = None) -> list[pa.Table]:
        """Return the finished rounds of a run in progress, in order."""
        folder = self.path(run, "shards")
        found = self._fs.ls(folder, detail=False) if self._fs.isdir(folder) else []
        return [self._read_table(run, path, conditions) for path in sorted(found) if path.endswith(".parquet")]

    def _read_table(self, run: str, path: str, conditions: Any) -> pa.Table:
        try:
            table = pq.read_table(path, filesystem=self._fs, filters=conditions, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            first = str(error).splitlines()[0]
            raise GapbenchError(f"run {run}: {path.rsplit('/', 1)[-1]} cannot be read ({first})") from error
        self._check_schema(run, int((table.schema.metadata or {}).get(_SCHEMA_KEY, b"0")))
        return table

    @staticmethod
    def _check_schema(run: str, found: object) -> None:
        if found != records.SCHEMA:
            raise GapbenchError(
                f"run {run} has schema {found}, this gapbench reads {records.SCHEMA}; use the gapbench that wrote it"
            )

    def write(self, path: str, content: bytes) -> None:
        """Write a whole object; on a local disk a reader sees the old one or the new one, never half."""
        try:
            if "file" in self._fs.protocol:
                self._fs.pipe_file(f"{path}.part", content)
                self._fs.mv(f"{path}.part", path)
            else:  # object stores have no rename, and write whole objects anyway
                self._fs.pipe_file(path, content)
        except OSError as error:
            raise GapbenchError(f"cannot write to the store {self.url}: {error}") from error

    def make_folder(self, path: str) -> None:
        """Create a folder, where the store has folders."""
        try:
            self._fs.makedirs(path, exist_ok=True)
        except OSError as error:
            raise GapbenchError(f"cannot write to the store {self.url}: {error}") from error

    def remove(self, path: str) -> None:
        """Remove a folder and what is in it, if it is there: object stores have no empty folders."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(path, recursive=True)


class RunWriter:
    """A run being measured: append a frame per finished round, then finish."""

    def __init__(self, store: Store, run: dict[str, Any]) -> None:
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
    def create(cls, store: Store, run: dict[str, Any]) -> "RunWriter":
        """Begin a new run. Raises `GapbenchError` if there is one of that id."""
        writer = cls(store, run)
        if store.has(writer.id):
            raise GapbenchError(f"run {writer.id} is already in {store.url}, and runs are not overwritten; try again")
        store.make_folder(store.path(writer.id, "shards"))
        writer._describe()
        return writer

    @classmethod
    def reopen(cls, store: Store, run: str) -> "RunWriter":
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

    def _parquet(self, table: pa.Table, *parts: str) -> None:
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")
        self._store.write(self._store.path(self.id, *parts), buffer.getvalue().to_pybytes())

    def append(self, columns: Mapping[str, Sequence[object] | object]) -> None:
        """Store the samples of a finished round: columns of `records.SAMPLES`, scalars repeated."""
        table = _table(pd.DataFrame({"run": self.id, **columns}), records.SAMPLES)
        self._parquet(table, "shards", f"{len(self._shards):06}.parquet")
        self._shards.append(table)

    def samples(self) -> pd.DataFrame:
        """Return everything appended so far."""
        empty = _table(pd.DataFrame(), records.SAMPLES)
        return _frame([empty, *self._shards])

    def interrupt(self, results: pd.DataFrame) -> None:
        """Leave the run open, with the results so far."""
        self._parquet(_table(results.assign(run=self.id), records.RESULTS), "results.parquet")

    def finish(self, results: pd.DataFrame, **fields: object) -> None:
        """Complete the run: merge the shards, write ``results`` and, last, ``run.json`` with ``fields``."""
        self._parquet(_table(self.samples(), records.SAMPLES), "samples.parquet")
        self._parquet(_table(results.assign(run=self.id), records.RESULTS), "results.parquet")
        self.run.update(fields, ended=timestamp())
        self._describe()
        self._store.remove(self._store.path(self.id, "shards"))
