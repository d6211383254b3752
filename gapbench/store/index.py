"""What there is in a store, without reading every run: a cache that anyone may remove and that anyone rebuilds.

Runs that are complete never change, so what identifies one is read once and kept in ``index.parquet``: a row of its id
and, as JSON, what `about` returns. A listing takes the names of the folders, that file, and the run.json of each run
that it does not have. Whoever lists writes the index, whole; what one of two who do so at once loses is read again.
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
"""Of the index alone: it is written anew where `about` changes. One of a newer gapbench is left as it is."""

COLUMNS = (
    "run", "started", "ended", "suites", "tag", "commit", "branch", "subject", "device", "complete", "unreadable",
)  # fmt: skip
"""What a list says of each run."""

_KEY = b"gapbench_index"
_WHOLE = ("schema", "id", "started", "ended", "suites", "tag", "git", "versions", "imported", "sides")
_MACHINE = ("cpu", "device", "device_description", "usable_cores")


@dataclass(frozen=True, slots=True)
class Listing:
    """The runs of a store, oldest first: what `about` says of each, and why others cannot be read."""

    runs: dict[str, Run]
    unreadable: dict[str, str]

    @property
    def ids(self) -> list[str]:
        """The ids of all, oldest first."""
        return sorted([*self.runs, *self.unreadable])

    def rows(self) -> list[dict[str, Any]]:
        """Return what a list says of each run, by `COLUMNS`; of one that cannot be read, why."""
        nothing = dict.fromkeys(COLUMNS)
        found = []
        for run in self.ids:
            if run in self.unreadable:
                found.append(nothing | {"run": run, "complete": False, "unreadable": self.unreadable[run]})
                continue
            one = self.runs[run]
            row = nothing | {name: getattr(one, name) for name in ("started", "ended", "tag")}
            row |= {name: getattr(one.git, name, None) for name in ("commit", "branch", "subject")}
            row |= {"device": one.machine.device_description, "complete": one.is_complete}
            found.append(row | {"run": run, "suites": ",".join(one.suites)})
        return found

    def resolve(self, name: str, url: str) -> str:
        """Return the run that ``name`` means: a tag (its newest), a unique prefix or last part, a branch or a commit.

        ``latest`` is the newest of all.

        A run that cannot be read is meant by its id only. Raises `GapbenchError` where there is none.
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
            # runs of old name the branch of a detached HEAD "HEAD"
            on_branch = name != "HEAD" and described.git is not None and described.git.branch == name
            if on_branch or (len(name) >= 4 and (described.commit or "").startswith(name)):
                return run
        newest = ", ".join(self.ids[:-6:-1])
        raise GapbenchError(f"there is no run {name!r} in {url}; the newest are: {newest}")


def about(run: Run) -> Run:
    """Return the part of a run that identifies it and says on what it was measured."""
    machine = Machine(
        **{name: getattr(run.machine, name) for name in _MACHINE},
        gpus=tuple(Gpu(name=one.name, driver=one.driver) for one in run.machine.gpus),
    )
    comparison = run.comparison and replace(run.comparison, flagged=())
    return Run(**{name: getattr(run, name) for name in _WHOLE}, machine=machine, comparison=comparison)


def listing(files: Files) -> Listing:
    """Return what there is, and bring the index up to date where it can be written."""
    folders = [name for name in files.folders() if is_id(name)]
    known = load(files)
    rows = {run: known[run] for run in folders if known and run in known}
    unreadable = {}
    new = [run for run in folders if run not in rows]
    for run, found in zip(new, files.map(lambda run: _about(files, run), new), strict=True):
        if isinstance(found, str):
            unreadable[run] = found
        elif found is not None:
            rows[run] = found
    complete = {run: row for run, row in rows.items() if row.is_complete}
    if known is not None and complete.keys() - known.keys():
        with contextlib.suppress(GapbenchError):  # a store that cannot be written is listed all the same
            files.write(files.path(FILE), _dump(complete))
    return Listing(dict(sorted(rows.items())), unreadable)


def _about(files: Files, run: str) -> Run | str | None:
    """Return what a run.json says, the reason why it cannot be read, or None where there is none."""
    try:
        text = files.read(run, "run.json")
        return None if text is None else about(replace(parse(run, text), id=run))
    except GapbenchError as error:
        return str(error)


def load(files: Files) -> dict[str, Run] | None:
    """Return the rows of the index by run: none where it is missing or damaged, None where it must not be touched."""
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
    """Take a run out of the index, before it is removed."""
    known = load(files)
    if known and known.pop(run, None):
        files.write(files.path(FILE), _dump(known))


def _dump(rows: Mapping[str, Run]) -> bytes:
    schema = pa.schema([("run", pa.string()), ("about", pa.string())], metadata={_KEY: str(VERSION).encode()})
    columns = [list(rows), [msgspec.json.encode(row).decode() for row in rows.values()]]
    return parquet(pa.table(columns, schema=schema))
