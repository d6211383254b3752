"""A folder of runs, at a path or an fsspec URL: what a user names by `--store`."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd
import pyarrow as pa
from msgspec.structs import replace

from gapbench.errors import GapbenchError, unknown
from gapbench.store import records
from gapbench.store.files import Files
from gapbench.store.index import COLUMNS, Listing, forget, listing
from gapbench.store.run import Run
from gapbench.store.run_json import WHOLE_ID, is_id, parse
from gapbench.store.tables import distinct, frame, read, read_shard
from gapbench.store.writer import RunWriter

Damage = Callable[[GapbenchError], object]


class Store(Files):
    """A folder of runs at a path or fsspec URL. Raises `GapbenchError` for what cannot be read or written."""

    def create(self, run: Run) -> "RunWriter":
        """Begin a run. Nothing is measured before this succeeds."""
        return RunWriter.create(self, run)

    def reopen(self, run: str, whole: bool = False) -> "RunWriter":
        """Go on with an interrupted run; ``whole`` as of `results`."""
        return RunWriter.reopen(self, run, whole)

    def path(self, *parts: str) -> str:
        """Return where a run, or a file of it, lies. Raises `GapbenchError` for a name that would lead elsewhere."""
        if not is_id(parts[0]):
            raise self._no_run(parts[0])
        return super().path(*parts)

    def _no_run(self, run: str) -> GapbenchError:
        return GapbenchError(f"there is no run {run!r} in {self.url}")

    def listing(self) -> Listing:
        """Return what there is, and what cannot be read, without reading every run."""
        return listing(self)

    def ids(self) -> list[str]:
        """Return the ids of all runs, readable or not, oldest first."""
        return self.listing().ids

    def has(self, run: str) -> bool:
        """Tell whether there is a run of this id."""
        return is_id(run) and self.exists(self.path(run, "run.json"))

    def text(self, run: str) -> bytes:
        """Return a run's ``run.json`` as it is. Raises `GapbenchError` where there is none."""
        text = self.read(run, "run.json")
        if text is None:
            raise self._no_run(run)
        return text

    def describe(self, run: str) -> Run:
        """Return what is known of a run. Its id is the folder's name, whatever the file says: ids lead to files.

        Raises `GapbenchError` for one that is damaged, missing, or of a schema that is not known.
        """
        return replace(parse(run, self.text(run)), id=run)

    def runs(self) -> pd.DataFrame:
        """Return one row per run: id, times, suites, tag, commit, branch, device, and whether it is complete.

        ``unreadable`` is the reason why nothing else is known of a run, null for most.
        """
        return pd.DataFrame(self.listing().rows(), columns=list(COLUMNS))

    def resolve(self, name: str) -> str:
        """Return the run that ``name`` means: id, unique prefix, commit, branch or tag (its newest), or latest."""
        whole = WHOLE_ID.fullmatch(name) is not None and self.has(name)  # found without a listing
        return name if whole else self.listing().resolve(name, self.url)

    def results(
        self,
        runs: Iterable[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        damaged: Damage | None = None,
        whole: bool = False,
        **filters: object,
    ) -> pd.DataFrame:
        """Return the results of ``runs`` (all by default), rows with the given values only.

        ``filters`` are columns of `records.RESULTS`, as in ``dtype="bfloat16"``, and ``columns`` those that are wanted.
        A run that cannot be read raises `GapbenchError`; where ``damaged`` is given, it is told that error, and the run
        is left out. Where rows must be ``whole``, a run with such as can mean nothing cannot be read either.
        """
        return self._frame("results", records.RESULTS, runs, columns, damaged, whole, filters)

    def samples(
        self,
        runs: Iterable[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        damaged: Damage | None = None,
        whole: bool = False,
        **filters: object,
    ) -> pd.DataFrame:
        """Return the timed batches of ``runs``; those of a run in progress as far as it is."""
        return self._frame("samples", records.SAMPLES, runs, columns, damaged, whole, filters)

    def _frame(
        self,
        name: str,
        types: Mapping[str, str],
        runs: Iterable[str] | None,
        columns: Sequence[str] | None,
        damaged: Damage | None,
        whole: bool,
        filters: Mapping[str, object],
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
                self.path(run)
                return self._tables(name, run, wanted, whole, filters)
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
        self, name: str, run: str, wanted: Mapping[str, str], whole: bool, filters: Mapping[str, object]
    ) -> list[pa.Table]:
        is_open = name == "samples" and not self.describe(run).is_complete
        if is_open:
            paths = [(run, "shards", shard) for shard in self.shard_names(run)]
            rounds = [read(self, path, wanted, filters, whole) for path in paths]
            if rounds and None not in rounds:
                if whole:
                    distinct(run, rounds)
                return rounds
            # it has been completed while it was read, or has no round yet
        table = read(self, (run, f"{name}.parquet"), wanted, filters, whole)
        if table is None and not is_open and self.describe(run).is_complete:
            raise GapbenchError(f"run {run}: {name}.parquet is missing, though the run is complete")
        return [] if table is None else [table]

    def round(self, run: str, name: str) -> pd.DataFrame:
        """Return one finished round of a run in progress, by the name of its file; its rows must be whole."""
        return frame([read_shard(self, run, name, records.SAMPLES, whole=True)], records.SAMPLES)

    def shard_names(self, run: str) -> list[str]:
        """Return the names of the files of a run's finished rounds, in order."""
        return [name for name in self.names(self.path(run, "shards")) if name.endswith(".parquet")]

    def prune(self, run: str) -> None:
        """Remove the run of exactly this id. Raises `GapbenchError` if there is none: no prefixes, no wildcards.

        Its run.json goes first: were it cut short, a folder would be left that is no run, rather than half a run.
        """
        if not self.has(run):
            raise GapbenchError(
                f"there is no run {run!r} in {self.url}; write whole ids, as listed by: gapbench list runs"
            )
        if self.is_link(self.path(run)):
            raise GapbenchError(f"run {run} in {self.url} is a link to another place; nothing there is removed")
        try:
            forget(self, run)
            self.fs.rm_file(self.path(run, "run.json"))
            self.remove(self.path(run))
        except (OSError, GapbenchError) as error:
            raise GapbenchError(f"cannot remove run {run} from {self.url}: {error}") from error
