"""A folder of runs, at a path or an fsspec URL: the value of ``--store``; and the writer of a run.

Rounds are numbered files, each of which must be new: of two processes that resume one run, the slower one stops.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
from msgspec.structs import replace

from gapbench.errors import GapbenchError, unknown
from gapbench.store import durable_io, records
from gapbench.store.files import Files
from gapbench.store.index import COLUMNS, Listing, forget, listing
from gapbench.store.run import WHOLE_ID, Run, Warning, dump, is_id, parse
from gapbench.store.tables import DamagedFileError, distinct, frame, parquet, read, read_shard, table

Damage = Callable[[GapbenchError], object]


class Store(Files):
    """A folder of runs at a path or fsspec URL. Raises `GapbenchError` for what cannot be read or written."""

    def create(self, run: Run) -> "RunWriter":
        """Create a run, before anything is measured. Raises `GapbenchError` if its id exists."""
        writer = RunWriter(self, run)
        self.make_folder(self.path(writer.id, "shards"))
        writer.lock()
        try:
            self.create_file(self.path(writer.id, "run.json"), dump(writer.run))
        except FileExistsError as error:
            raise GapbenchError(
                f"run {writer.id} is already in {self.url}, and runs are not overwritten; try again"
            ) from error
        return writer

    def reopen(self, run: str, validate: bool = False) -> "RunWriter":
        """Resume an interrupted run; ``validate`` as of `results`. A damaged round is left out, with a warning.

        Raises `GapbenchError` for a run that is complete, or that another process is writing.
        """
        text = self.text(run)
        described = parse(run, text)
        if described.is_complete:
            raise GapbenchError(f"run {run} is complete; see it with: gapbench report {run}")
        writer = RunWriter(self, replace(described, id=run), text)
        writer.lock()
        for name in self.shard_names(run):
            writer.add_shard(name, validate)
        if validate and writer.shards:
            distinct(run, writer.shards)
        return writer

    def path(self, *parts: str) -> str:
        """Return the path of a run or of a file in it. Raises `GapbenchError` for a name that would lead elsewhere."""
        if not is_id(parts[0]):
            raise self._no_run(parts[0])
        return super().path(*parts)

    def _no_run(self, run: str) -> GapbenchError:
        return GapbenchError(f"there is no run {run!r} in {self.url}")

    def listing(self) -> Listing:
        """Return the runs, readable or not, from the index and those run.json that are not in it."""
        return listing(self)

    def ids(self) -> list[str]:
        """Return the ids of all runs, readable or not, oldest first."""
        return self.listing().ids

    def has(self, run: str) -> bool:
        """Tell whether there is a run of this id."""
        return is_id(run) and self.exists(self.path(run, "run.json"))

    def text(self, run: str) -> bytes:
        """Return a run's ``run.json`` unparsed. Raises `GapbenchError` where there is none."""
        text = self.read(run, "run.json")
        if text is None:
            raise self._no_run(run)
        return text

    def describe(self, run: str) -> Run:
        """Return a run's ``run.json``, with the folder's name as its id.

        Raises `GapbenchError` if it is missing, damaged, or of an unknown schema.
        """
        return replace(parse(run, self.text(run)), id=run)

    def runs(self) -> pd.DataFrame:
        """Return one row per run by `COLUMNS`; ``unreadable`` is why a run cannot be read, null for most."""
        return pd.DataFrame(self.listing().rows(), columns=list(COLUMNS))

    def resolve(self, name: str) -> str:
        """Return the id of the run that ``name`` means, as `Listing.resolve` does."""
        is_whole = WHOLE_ID.fullmatch(name) is not None and self.has(name)  # needs no listing
        return name if is_whole else self.listing().resolve(name, self.url)

    def results(self, runs: Iterable[str] | None = None, **options: Any) -> pd.DataFrame:
        """Return the results of ``runs`` (all by default), filtered by values of columns, as in ``dtype="bfloat16"``.

        The other ``options``: ``columns`` selects columns of `records.RESULTS`; ``damaged`` is called with the error
        of each run that cannot be read, which is then left out; ``validate`` validates all rows, and a run with invalid
        rows cannot be read. Raises `GapbenchError` for an unreadable run where ``damaged`` is not given.
        """
        columns = options.pop("columns", None) or list(records.RESULTS)
        if not set(records.TRAITS).intersection(columns):
            return self._frame("results", records.RESULTS, runs, columns=columns, **options)
        needed = [*dict.fromkeys([*columns, "operation", "clock", *records.TRAITS])]
        return records.with_traits(self._frame("results", records.RESULTS, runs, columns=needed, **options))[columns]

    def samples(self, runs: Iterable[str] | None = None, **options: Any) -> pd.DataFrame:
        """Return the timed batches of ``runs``, as `results` does; of a run in progress, its finished rounds."""
        return self._frame("samples", records.SAMPLES, runs, **options)

    def _frame(
        self,
        name: str,
        types: Mapping[str, str],
        runs: Iterable[str] | None,
        /,
        *,
        columns: Sequence[str] | None = None,
        damaged: Damage | None = None,
        validate: bool = False,
        **filters: object,
    ) -> pd.DataFrame:
        chosen = list(types) if columns is None else list(columns)
        for column in [*chosen, *filters]:
            if column not in types:
                raise unknown("column", column, types)
        wanted = {column: types[column] for column in dict.fromkeys([*chosen, *filters])}
        listed = self.listing() if runs is None else Listing({}, {})

        def tables_of(run: str) -> list[pa.Table] | GapbenchError:
            if run in listed.unreadable:
                return GapbenchError(listed.unreadable[run])
            try:
                return self._tables(name, run, wanted, validate, filters)
            except GapbenchError as error:
                return error

        tables = []
        for result in self.map(tables_of, listed.ids if runs is None else runs):
            if not isinstance(result, GapbenchError):
                tables += result
            elif damaged is None:
                raise result
            else:
                damaged(result)
        return frame(tables, wanted)[chosen]

    def _tables(
        self, name: str, run: str, wanted: Mapping[str, str], validate: bool, filters: Mapping[str, object]
    ) -> list[pa.Table]:
        is_open = name == "samples" and not self.describe(run).is_complete
        if is_open:
            paths = [(run, "shards", shard) for shard in self.shard_names(run)]
            rounds = [read(self, path, wanted, filters, validate) for path in paths]
            if rounds and None not in rounds:
                if validate:
                    distinct(run, rounds)
                return rounds
            # the run was completed while it was read, or has no round yet
        table = read(self, (run, f"{name}.parquet"), wanted, filters, validate)
        if table is None and not is_open and self.describe(run).is_complete:
            raise GapbenchError(f"run {run}: {name}.parquet is missing, though the run is complete")
        return [] if table is None else [table]

    def round(self, run: str, name: str) -> pd.DataFrame:
        """Return one finished round of a run in progress, by the name of its file; its rows are validated."""
        return frame([read_shard(self, run, name, records.SAMPLES, validate=True)], records.SAMPLES)

    def shard_names(self, run: str) -> list[str]:
        """Return the names of the files of a run's finished rounds, in order."""
        return [name for name in self.names(self.path(run, "shards")) if name.endswith(".parquet")]

    def keep(self, kind: str, document: Mapping[str, Any]) -> str:
        """Write a document about the machine beside the runs, as ``KIND-TIME-XXXX.json``; return its path."""
        path = self.path(f"{kind}-{new_run_id(None).replace('-nogit', '')}.json")
        self.make_folder(self.root)
        self.create_file(path, json.dumps(document).encode())
        return path

    def prune(self, run: str) -> None:
        """Remove the run of exactly this id, not of a prefix. Raises `GapbenchError` if there is none.

        Its run.json goes first: an interruption leaves a folder that is not a run, rather than half a run.
        """
        if not self.has(run):
            raise GapbenchError(
                f"there is no run {run!r} in {self.url}; write whole ids, as listed by: gapbench list runs"
            )
        if self.is_link(self.path(run)):
            raise GapbenchError(f"run {run} in {self.url} is a link to another folder, and was not removed")
        try:
            forget(self, run)
            self.fs.rm_file(self.path(run, "run.json"))
            self.remove(self.path(run))
        except (OSError, GapbenchError) as error:
            raise GapbenchError(f"cannot remove run {run} from {self.url}: {error}") from error


def new_run_id(commit: str | None, when: datetime | None = None) -> str:
    """Return a new id: ``when`` the run began (now by default) in UTC, commit, four random characters."""
    time = timestamp(when).replace("-", "").replace(":", "")
    return f"{time}-{(commit or 'nogit')[:7]}-{secrets.token_hex(2)}"


def timestamp(when: datetime | None = None) -> str:
    """Return a time (now by default) in UTC, as in 2026-11-22T10:11:12Z."""
    return (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunWriter:
    """The writer of a run: append each finished round, then finish. Unknown fields of run.json ``before`` are kept."""

    def __init__(self, store: Store, run: Run, before: bytes = b"{}") -> None:
        self.run = replace(run, ended=None)
        self.id = run.id
        self._before = before
        self._store = store
        self.shards: list[pa.Table] = []
        self._next = 0  # number of the next shard
        self._lock: durable_io.FolderLock | None = None

    def add_shard(self, name: str, validate: bool) -> None:
        """Count the file of an earlier round, or warn where it is damaged."""
        try:
            self.shards.append(read_shard(self._store, self.id, name, records.SAMPLES, validate))
        except DamagedFileError as error:
            evidence = f"{error}; that round was measured again"
            note = Warning("rounds", evidence, "check the disk if it happens twice")
            self.run = replace(self.run, notes=(*self.run.notes, note))
        self._next = max(self._next, _number(name) + 1)

    def lock(self) -> None:
        """Keep other processes from writing to the run. Raises `GapbenchError` where one does."""
        if self._store.local:
            try:
                self._lock = durable_io.lock_folder(self._store.path(self.id))
            except OSError as error:
                raise GapbenchError(
                    f"run {self.id} is being written by another process; resume when that has ended"
                ) from error

    def _refuse_gone(self) -> None:
        text = self._store.read(self.id, "run.json")
        if text is None:
            raise GapbenchError(f"cannot write to the store {self._store.url}: run {self.id} was removed")
        if parse(self.id, text).is_complete:
            raise self._overtaken()

    def _parquet(self, content: pa.Table, *parts: str) -> None:
        self._store.write(self._store.path(self.id, *parts), parquet(content))

    def append(self, columns: Mapping[str, Sequence[object] | object] | pd.DataFrame) -> None:
        """Store the samples of a finished round: columns of `records.SAMPLES`, scalars repeated.

        The round is on the disk when this returns. Raises `GapbenchError` if another process resumed the run.
        """
        self._refuse_gone()
        shard = table(pd.DataFrame(columns).assign(run=self.id), records.SAMPLES)
        try:
            self._store.create_file(self._store.path(self.id, "shards", f"{self._next:06}.parquet"), parquet(shard))
        except FileExistsError as error:
            raise self._overtaken() from error
        self.shards.append(shard)
        self._next += 1

    def _overtaken(self) -> GapbenchError:
        return GapbenchError(
            f"another process resumed run {self.id}, so this one stops; its last round is not stored, all others are"
        )

    def describe(self, **fields: Any) -> None:
        """Change fields of the run, in its run.json at once."""
        self.run = replace(self.run, **fields)
        self._store.write(self._store.path(self.id, "run.json"), dump(self.run, self._before))

    def samples(self) -> pd.DataFrame:
        """Return all samples appended so far."""
        return frame(self.shards, records.SAMPLES)

    def interrupt(self, results: pd.DataFrame) -> None:
        """Leave the run open, with the results so far."""
        self._parquet(table(results.assign(run=self.id), records.RESULTS), "results.parquet")
        self.release()

    def finish(self, results: pd.DataFrame, **fields: Any) -> None:
        """Complete the run: samples, results and, last, run.json. Raises `GapbenchError` if another resumed it."""
        self._refuse_gone()
        if any(_number(name) >= self._next for name in self._store.shard_names(self.id)):
            raise self._overtaken()
        self._parquet(table(self.samples(), records.SAMPLES), "samples.parquet")
        self._parquet(table(results.assign(run=self.id), records.RESULTS), "results.parquet")
        self.describe(**fields, ended=timestamp())
        self._store.remove(self._store.path(self.id, "shards"))
        self.release()

    def release(self) -> None:
        """Let other processes write to the run."""
        self._lock = None


def _number(name: str) -> int:
    number = name.partition(".")[0]
    return int(number) if number.isdigit() else -1
