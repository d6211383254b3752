"""Runs on disk or in an object store: append, read, find.

One folder per run::

    results/20261122T101112Z-abc1234-9f3c/
        run.json                first written with "ended": null, replaced when the run is complete
        shards/000123.parquet   one per finished round, while the run lasts
        samples.parquet         all shards, at the end
        results.parquet         one row per case x implementation x contender x clock, at the end
        profiles/               what gapbench profile found (see gapbench.store.profiles), at any time

No finished file is ever changed except run.json, which comes last. Any fsspec URL works as well as a path.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gapbench import records
from gapbench.errors import GapbenchError
from gapbench.store.tables import check_schema, check_types, frame, schema_of, table
from gapbench.store.writer import RunWriter, new_run_id, timestamp

__all__ = ["Growth", "RunWriter", "Store", "new_run_id", "timestamp"]


@dataclass(frozen=True, slots=True)
class Growth:
    """How far a run is: the shards of finished rounds, when it was last written to (UTC), and whether it was ``left``.

    A run that was left has its results so far and no round since. One that was killed does not tell.
    """

    shards: int
    written: datetime
    left: bool


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
        check_schema(run, document.get("schema"))
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
        tables = [table(pd.DataFrame(), columns)]
        for run in self.ids() if runs is None else runs:
            path = self.path(run, file)
            if self._fs.exists(path):
                tables.append(self._read_table(run, path, conditions, columns))
            elif file == "samples.parquet":
                tables += self.shards(run, conditions)
        return frame(tables)

    def shards(self, run: str, conditions: Any = None, start: int = 0) -> list[pa.Table]:
        """Return the finished rounds of a run in progress, in order and from the number ``start`` on."""
        paths = self._shard_paths(run)[start:]
        return [self._read_table(run, path, conditions, records.SAMPLES) for path in paths]

    def _shard_paths(self, run: str) -> list[str]:
        folder = self.path(run, "shards")
        self._fs.invalidate_cache(folder)  # object stores remember listings, and others write here
        try:
            found = self._fs.ls(folder, detail=False)
        except FileNotFoundError:  # before its first round in an object store, and once it is complete
            return []
        return [path for path in sorted(found) if path.endswith(".parquet")]

    def growth(self, run: str) -> Growth:
        """Return how far a run is. Raises `GapbenchError` if there is none, or it is just losing its shards."""
        shards = self._shard_paths(run)
        results = self.path(run, "results.parquet")
        try:
            last = self._fs.modified(shards[-1] if shards else self.path(run, "run.json"))
            left = self._fs.modified(results) if self._fs.exists(results) else None
        except OSError as error:
            raise GapbenchError(f"there is no run {run!r} in {self.url}") from error
        return Growth(len(shards), max(last, left or last), left is not None and left >= last)

    def _read_table(self, run: str, path: str, conditions: Any, columns: Mapping[str, str]) -> pa.Table:
        try:
            found = pq.read_table(path, filesystem=self._fs, filters=conditions, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            first = str(error).splitlines()[0]
            raise GapbenchError(f"run {run}: {path.rsplit('/', 1)[-1]} cannot be read ({first})") from error
        check_schema(run, schema_of(found))
        check_types(run, path.rsplit("/", 1)[-1], found, columns)
        return found

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

    def read(self, path: str) -> bytes:
        """Return a whole object."""
        try:
            return bytes(self._fs.cat_file(path))
        except OSError as error:
            raise GapbenchError(f"cannot read {path} of the store {self.url}: {error}") from error

    def make_folder(self, path: str) -> None:
        """Create a folder, where the store has folders."""
        try:
            self._fs.makedirs(path, exist_ok=True)
        except OSError as error:
            raise GapbenchError(f"cannot write to the store {self.url}: {error}") from error

    def folders(self) -> list[str]:
        """Return the names of all folders of the store, runs or not."""
        if not self._fs.isdir(self._root):
            return []
        found = (entry for entry in self._fs.ls(self._root, detail=True) if entry["type"] == "directory")
        return sorted(str(entry["name"]).rstrip("/").rsplit("/", 1)[-1] for entry in found)

    def files(self, run: str) -> list[str]:
        """Return the files of a run's folder, relative to it."""
        folder = self.path(run)
        return sorted(str(path).removeprefix(folder).lstrip("/") for path in self._fs.find(folder))

    def prune(self, run: str) -> None:
        """Remove the run of exactly this id. Raises `GapbenchError` if there is none: no prefixes, no wildcards.

        Its run.json goes first: were it cut short, a folder would be left that is no run, rather than half a run.
        """
        if run not in self.ids():
            raise GapbenchError(
                f"there is no run {run!r} in {self.url}; write whole ids, as listed by: gapbench list runs"
            )
        if self._fs.info(self.path(run)).get("islink"):
            raise GapbenchError(f"run {run} in {self.url} is a link to another place; nothing there is removed")
        try:
            self._fs.rm_file(self.path(run, "run.json"))
            self.remove(self.path(run))
        except OSError as error:
            raise GapbenchError(f"cannot remove run {run} from {self.url}: {error}") from error

    def remove(self, path: str) -> None:
        """Remove a folder and what is in it, if it is there: object stores have no empty folders."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(path, recursive=True)
