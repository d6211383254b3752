"""The index of a store: a cache that lists its runs without reading each, and that can be removed at any time.

Complete runs never change, so the part of each that `about` returns is kept in ``index.parquet``, as JSON. If two
listings write it at once, rows of one are lost and read again the next time.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from gapbench.errors import GapbenchError
from gapbench.store.files import Files
from gapbench.store.run import Gpu, Machine, Run, is_id, parse
from gapbench.store.tables import parquet

FILE = "index.parquet"
VERSION = 2
"""The version of the index, raised where `about` changes. An older index is rebuilt, a newer one left untouched."""

COLUMNS = (
    "run", "started", "ended", "suites", "tag", "commit", "branch", "subject", "device", "complete", "unreadable",
)  # fmt: skip

_KEY = b"gapbench_index"
_WHOLE = ("schema", "id", "started", "ended", "suites", "tag", "git", "versions", "imported", "sides")
_MACHINE = ("cpu", "device", "device_description", "usable_cores")


@dataclass(frozen=True, slots=True)
class Listing:
    """The runs of a store, oldest first, as `about` returns them, and why others cannot be read."""

    runs: dict[str, Run]
    unreadable: dict[str, str]

    @property
    def ids(self) -> list[str]:
        """The ids of all runs, oldest first."""
        return sorted([*self.runs, *self.unreadable])

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per run by `COLUMNS`; an unreadable run has only its id and the reason."""
        rows = []
        for run in self.ids:
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            row |= {"run": run, "complete": False, "unreadable": self.unreadable.get(run)}
            if described := self.runs.get(run):
                row |= {name: getattr(described, name) for name in ("started", "ended", "tag")}
                row |= {name: getattr(described.git, name, None) for name in ("commit", "branch", "subject")}
                row |= {"suites": ",".join(described.suites), "device": described.machine.device_description}
                row["complete"] = described.is_complete
            rows.append(row)
        return rows

    def resolve(self, name: str, url: str) -> str:
        """Return the id of the run that ``name`` means.

        That is, in this order: ``latest`` for the newest, an id, a tag (its newest run), a unique prefix or last part
        of an id, a branch, a commit or at least four characters of it. An unreadable run is found by its id only.
        Raises `GapbenchError` if no run matches, or several ids do.
        """
        if not self.ids:
            raise GapbenchError(f"the store {url} holds no runs; measure one with: gapbench run")
        if name == "latest":
            if not self.runs:
                raise GapbenchError(next(iter(self.unreadable.values())))
            return list(self.runs)[-1]
        if name in self.ids:
            return name
        newest_first = list(reversed(self.runs.items()))
        if tagged := [run for run, described in newest_first if described.tag == name]:
            return tagged[0]
        partly = [run for run in self.ids if name and (run.startswith(name) or run.endswith(f"-{name}"))]
        if len(partly) == 1:
            return partly[0]
        if partly:
            raise GapbenchError(f"run {name!r} is ambiguous in {url}: {', '.join(partly)}")
        for run, described in newest_first:
            # older runs have "HEAD" as the branch of a detached HEAD
            on_branch = name != "HEAD" and described.git is not None and described.git.branch == name
            if on_branch or (len(name) >= 4 and (described.commit or "").startswith(name)):
                return run
        newest = ", ".join(self.ids[:-6:-1])
        raise GapbenchError(f"there is no run {name!r} in {url}; the newest are: {newest}")


def about(run: Run) -> Run:
    """Return the part of a run that identifies it and its environment."""
    machine = Machine(
        **{name: getattr(run.machine, name) for name in _MACHINE},
        gpus=tuple(Gpu(name=gpu.name, driver=gpu.driver) for gpu in run.machine.gpus),
    )
    comparison = run.comparison and replace(run.comparison, flagged=())
    return Run(**{name: getattr(run, name) for name in _WHOLE}, machine=machine, comparison=comparison)


def listing(files: Files) -> Listing:
    """List the runs of a store, and update its index where that can be written."""
    folders = [name for name in files.folders() if is_id(name)]
    indexed = load(files)
    rows = {run: indexed[run] for run in folders if indexed and run in indexed}
    unreadable = {}
    new = [run for run in folders if run not in rows]
    for run, row in zip(new, files.map(lambda run: _about(files, run), new), strict=True):
        if isinstance(row, str):
            unreadable[run] = row
        elif row is not None:
            rows[run] = row
    complete = {run: row for run, row in rows.items() if row.is_complete}
    if indexed is not None and complete.keys() - indexed.keys():
        with contextlib.suppress(GapbenchError):  # a read-only store can still be listed
            files.write(files.path(FILE), _dump(complete))
    return Listing(dict(sorted(rows.items())), unreadable)


def _about(files: Files, run: str) -> Run | str | None:
    try:
        text = files.read(run, "run.json")
        return None if text is None else about(replace(parse(run, text), id=run))
    except GapbenchError as error:
        return str(error)


def load(files: Files) -> dict[str, Run] | None:
    """Return the rows of the index by run, empty if it is missing, damaged or old; None for a newer gapbench's."""
    try:
        content = files.read(FILE)
        if content is None:
            return {}
        # no Python file: a thread of Arrow's that holds one when the interpreter ends aborts the process
        table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
        version = int((table.schema.metadata or {}).get(_KEY, b"0"))
        if version > VERSION:
            return None
        texts = table.column("about").to_pylist() if version == VERSION else []
        rows = [msgspec.json.decode(text, type=Run) for text in texts]
        if [msgspec.json.encode(row).decode() for row in rows] != texts:
            return {}
        return {row.id: row for row in rows if row.is_complete}
    except (GapbenchError, OSError, pa.ArrowException, msgspec.MsgspecError, ValueError, KeyError, RecursionError):
        return {}


def forget(files: Files, run: str) -> None:
    """Remove a run from the index, before its folder is removed."""
    rows = load(files)
    if rows and rows.pop(run, None):
        files.write(files.path(FILE), _dump(rows))


def _dump(rows: Mapping[str, Run]) -> bytes:
    schema = pa.schema([("run", pa.string()), ("about", pa.string())], metadata={_KEY: str(VERSION).encode()})
    columns = [list(rows), [msgspec.json.encode(row).decode() for row in rows.values()]]
    return parquet(pa.table(columns, schema=schema))
