"""A run being written.

Rounds are numbered files, each of which must be new when it is written: of two processes that go on with one run, the
slower finds its number taken, and stops. On a local disk it is refused before that, by a lock of the run's folder.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
from msgspec.structs import replace

from gapbench.errors import GapbenchError
from gapbench.store import durable_io, records
from gapbench.store.run import Run, Warning
from gapbench.store.run_json import dump, parse
from gapbench.store.tables import DamagedFileError, distinct, frame, parquet, read_shard, table

if TYPE_CHECKING:
    from gapbench.store.store import Store


def new_run_id(commit: str | None, when: datetime | None = None) -> str:
    """Return a fresh id: UTC time (now, unless the run was measured at another), commit, four random characters."""
    time = (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{time}-{(commit or 'nogit')[:7]}-{secrets.token_hex(2)}"


def timestamp(when: datetime | None = None) -> str:
    """Return a time (now, by default) in UTC, as in 2026-11-22T10:11:12Z."""
    return (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class RunWriter:
    """A run being measured: append a frame per finished round, then finish.

    What its run.json had ``before`` is kept where this gapbench does not know it.
    """

    def __init__(self, store: "Store", run: Run, before: bytes = b"{}") -> None:
        self.run = replace(run, ended=None)
        self.id = run.id
        self._before = before
        self._store = store
        self._shards: list[pa.Table] = []
        self._next = 0  # number of the next shard
        self._lock: durable_io.FolderLock | None = None

    @classmethod
    def create(cls, store: "Store", run: Run) -> "RunWriter":
        """Begin a new run. Raises `GapbenchError` if there is one of that id."""
        writer = cls(store, run)
        store.make_folder(store.path(writer.id, "shards"))
        writer._own()
        try:
            store.create_file(store.path(writer.id, "run.json"), dump(writer.run))
        except FileExistsError as error:
            raise GapbenchError(
                f"run {writer.id} is already in {store.url}, and runs are not overwritten; try again"
            ) from error
        return writer

    @classmethod
    def reopen(cls, store: "Store", run: str, whole: bool = False) -> "RunWriter":
        """Go on with a run that was interrupted; a round whose file is damaged is noted, and counts as not measured.

        Raises `GapbenchError` for a run that is complete, or that another process is writing.
        """
        text = store.text(run)
        described = parse(run, text)
        if described.is_complete:
            raise GapbenchError(
                f"run {run} is complete, there is nothing to resume; see it with: gapbench report {run}"
            )
        writer = cls(store, replace(described, id=run), text)
        writer._own()
        for name in store.shard_names(run):
            try:
                writer._shards.append(read_shard(store, run, name, records.SAMPLES, whole))
            except DamagedFileError as error:
                evidence = f"{error}: that round does not count, and was measured again"
                note = Warning("rounds", evidence, "check the disk if it happens twice")
                writer.run = replace(writer.run, notes=(*writer.run.notes, note))
            writer._next = max(writer._next, _number(name) + 1)
        if whole and writer._shards:
            distinct(run, writer._shards)
        return writer

    def _own(self) -> None:
        if self._store.local:
            try:
                self._lock = durable_io.lock_folder(self._store.path(self.id))
            except OSError as error:
                raise GapbenchError(
                    f"run {self.id} is being written by another process; let it end, or stop it, and resume then"
                ) from error

    def _refuse_gone(self) -> None:
        """Refuse to add to a run that somebody else has completed or removed meanwhile."""
        text = self._store.read(self.id, "run.json")
        if text is None:
            raise GapbenchError(f"cannot write to the store {self._store.url}: run {self.id} was removed")
        if parse(self.id, text).is_complete:
            raise self._overtaken()

    def _parquet(self, content: pa.Table, *parts: str) -> None:
        self._store.write(self._store.path(self.id, *parts), parquet(content))

    def append(self, columns: Mapping[str, Sequence[object] | object] | pd.DataFrame) -> None:
        """Store the samples of a finished round: columns of `records.SAMPLES`, scalars repeated.

        The round is kept when this returns, whatever happens next. Raises `GapbenchError` if another process went on
        with the run.
        """
        self._refuse_gone()
        shard = table(pd.DataFrame(columns).assign(run=self.id), records.SAMPLES)
        try:
            self._store.create_file(self._store.path(self.id, "shards", f"{self._next:06}.parquet"), parquet(shard))
        except FileExistsError as error:
            raise self._overtaken() from error
        self._shards.append(shard)
        self._next += 1

    def _overtaken(self) -> GapbenchError:
        return GapbenchError(
            f"another process went on with run {self.id}, and this one stops; its last round is not stored, all others "
            "are"
        )

    def describe(self, **fields: Any) -> None:
        """Change fields of a run that goes on: if it is interrupted, these are kept."""
        self.run = replace(self.run, **fields)
        self._store.write(self._store.path(self.id, "run.json"), dump(self.run, self._before))

    def samples(self) -> pd.DataFrame:
        """Return everything appended so far."""
        return frame(self._shards, records.SAMPLES)

    def interrupt(self, results: pd.DataFrame) -> None:
        """Leave the run open, with the results so far."""
        self._parquet(table(results.assign(run=self.id), records.RESULTS), "results.parquet")
        self.release()

    def finish(self, results: pd.DataFrame, **fields: Any) -> None:
        """Complete the run: merge the shards, write ``results`` and, last, ``run.json`` with ``fields``.

        Raises `GapbenchError` if another process went on with the run.
        """
        self._refuse_gone()
        if any(_number(name) >= self._next for name in self._store.shard_names(self.id)):
            raise self._overtaken()
        self._parquet(table(self.samples(), records.SAMPLES), "samples.parquet")
        self._parquet(table(results.assign(run=self.id), records.RESULTS), "results.parquet")
        self.describe(**fields, ended=timestamp())
        self._store.remove(self._store.path(self.id, "shards"))
        self.release()

    def release(self) -> None:
        """Let others write to the run."""
        self._lock = None


def _number(name: str) -> int:
    number = name.partition(".")[0]
    return int(number) if number.isdigit() else -1
