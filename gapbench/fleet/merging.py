"""Merge the shards of a sweep into one run, without torch."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from operator import itemgetter
from typing import TypeVar

import msgspec
import pandas as pd
from msgspec.structs import replace

from gapbench import __version__
from gapbench.analysis.summary import clock_medians
from gapbench.errors import GapbenchError
from gapbench.store import ceilings
from gapbench.store.ceilings import Ceiling
from gapbench.store.records import plain_rows
from gapbench.store.run import Imported, Machine, Run, Settings, Warning, differences, load
from gapbench.store.store import Store, new_run_id
from gapbench.store.verify import damage
from gapbench.workloads.cases import parse_shard

Item = TypeVar("Item")
Group = TypeVar("Group", bound=Hashable)

_ALIKE = ("sweep", "argv", "seed", "settings", "machine", "versions")


@dataclass(frozen=True)
class Part:
    """A run that is one shard, and its store."""

    store: Store
    run: str

    @cached_property
    def document(self) -> Run:
        """The run's ``run.json``."""
        return self.store.describe(self.run)

    @property
    def shard(self) -> tuple[int, int]:
        """The shard's number, from 1, and the count of shards."""
        try:
            return parse_shard(str(self.document.shard))
        except GapbenchError as error:
            raise GapbenchError(f"run {self.run} is damaged: {error}") from error

    def refuse(self) -> None:
        """Raise `GapbenchError` unless it is a shard, complete and undamaged."""
        document = self.document
        if document.shard is None:
            raise GapbenchError(f"run {self.run} is not a shard: only runs of gapbench run --shard are merged")
        which = "run {} (shard {}/{})".format(self.run, *self.shard)
        if not document.is_complete:
            raise GapbenchError(
                f"{which} is not complete; resume it with: gapbench run --resume {self.run} --store {self.store.url}"
            )
        for sentence in damage(self.store, self.run):
            raise GapbenchError(f"{which} is damaged: {sentence}")
        for name, empty in (("plan", None), ("settings", Settings()), ("machine", Machine()), ("versions", {})):
            if getattr(document, name) == empty:
                raise GapbenchError(f"{which} is damaged: {name} is missing from its run.json")
        try:
            datetime.fromisoformat(document.started or "")
        except ValueError as error:
            raise GapbenchError(f"{which} is damaged: its start is not a time ({error})") from error
        if missing := [planned.case for planned in document.plan or () if planned.case not in document.places]:
            raise GapbenchError(f"{which} is damaged: its places lack {missing[0]}")


def find(sources: Sequence[str]) -> list[Part]:
    """Return the shards of ``sources``, runs' folders or stores. Raises `GapbenchError` for a source without shards."""
    parts: list[Part] = []
    for source in sources:
        parent, _, run = source.rstrip("/").rpartition("/")
        if (holder := Store(parent or ("/" if source.startswith("/") else "."))).has(run):
            parts.append(Part(holder, run))
            continue
        store = Store(source)
        shards = [part for run in store.ids() if (part := Part(store, run)).document.shard]
        if not shards:
            raise GapbenchError(f"{source} is neither a run nor a store with shards; see: gapbench run --shard")
        parts += shards
    return parts


def check(parts: Sequence[Part]) -> list[Part]:
    """Return the parts in order. Raises `GapbenchError` unless they are all shards of one sweep, on equal machines."""
    for part in parts:
        part.refuse()
    _refuse_unequal(parts)
    _refuse_gaps(parts)
    return sorted(parts, key=lambda part: part.shard)


def _refuse_unequal(parts: Sequence[Part]) -> None:
    first = parts[0]
    for other in parts[1:]:
        ours, theirs = first.document, other.document
        if ours.sweep != theirs.sweep:
            raise GapbenchError(
                f"runs {first.run} and {other.run} are of two sweeps ({_sweep_difference(ours, theirs)}); name the "
                "folders of the runs that belong together"
            )
        if differing := differences(ours.environment, theirs.environment, packages=True):
            raise GapbenchError(
                f"shards {ours.shard} and {theirs.shard} were not measured on equal machines: "
                f"{'; '.join(map(str, differing))} (runs {first.run} and {other.run}); measure one of them again"
            )


def _sweep_difference(ours: Run, theirs: Run) -> str:
    old, new = (
        {"shards": parse_shard(str(run.shard))[1], "commit": run.commit, **msgspec.to_builtins(run.settings)}
        for run in (ours, theirs)
    )
    differing = [f"{name} {value} and {new.get(name)}" for name, value in old.items() if value != new.get(name)]
    return ", ".join(differing) or "other cases or implementations were selected, or supported there"


def _refuse_gaps(parts: Sequence[Part]) -> None:
    by_number = _grouped(parts, lambda part: part.shard[0])
    count = parts[0].shard[1]
    for number, same in by_number.items():
        if len(same) > 1:
            raise GapbenchError(
                f"shard {number}/{count} is there {len(same)} times, as runs {', '.join(part.run for part in same)}; "
                "name one run's folder for each shard"
            )
    if missing := [f"{number}/{count}" for number in range(1, count + 1) if number not in by_number]:
        what = "shard is" if len(missing) == 1 else "shards are"
        raise GapbenchError(
            f"{len(missing)} {what} missing: {', '.join(missing)}; measure with: gapbench run --shard {missing[0]} "
            "and the other options as before"
        )
    positions = sorted(position for part in parts for position in part.document.places.values())
    if positions != list(range(len(positions))):
        raise GapbenchError(f"the shards of sweep {parts[0].document.sweep} do not make up its plan: one is damaged")


def _grouped(items: Iterable[Item], key: Callable[[Item], Group]) -> dict[Group, list[Item]]:
    groups: dict[Group, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def merge(target: Store, parts: Sequence[Part], tag: str | None = None) -> Run:
    """Store the shards of one sweep as a new run of ``target``, and return it.

    Of a ceiling that several measured it has the highest. Raises `GapbenchError` unless `check` accepts the parts, and
    if they were merged before.
    """
    parts = check(parts)
    ours = tuple(part.run for part in parts)
    for run, stored in target.listing().runs.items():
        if stored.imported and stored.imported.runs == ours:
            raise GapbenchError(f"these {len(ours)} shards were merged before, as run {run}")
    runs = [part.document for part in parts]
    places = {case: position for run in runs for case, position in run.places.items()}
    limits = _ceilings(runs)
    begun = min(str(run.started) for run in runs)
    git = runs[0].git and replace(runs[0].git, dirty=any(run.git and run.git.dirty for run in runs))
    tags = {run.tag for run in runs}
    by_clock = _grouped((item for run in runs for item in run.clocks.items()), itemgetter(0))
    merged = Run(
        **{name: getattr(runs[0], name) for name in _ALIKE}, git=git, started=begun, ceilings=limits,
        id=new_run_id(git.commit if git else None, datetime.fromisoformat(begun).astimezone(UTC)),
        tag=tag or (tags.pop() if len(tags) == 1 else None),
        suites=tuple(sorted({suite for run in runs for suite in run.suites})),
        plan=tuple(sorted((case for run in runs for case in run.plan or ()), key=lambda case: places[case.case])),
        snippets={name: text for run in runs for name, text in run.snippets.items()},
        load_before=_worst(run.load_before for run in runs), load_after=_worst(run.load_after for run in runs),
        clocks=clock_medians({name: [numbers for _, numbers in items] for name, items in by_clock.items()}),
        wall_seconds=sum(run.wall_seconds or 0.0 for run in runs),
        timed_seconds=sum(run.timed_seconds or 0.0 for run in runs),
        imported=Imported(runs=ours, by=__version__), warnings=tuple(_warnings(runs)),
        parts=tuple(load(part.store.text(part.run)) for part in parts),
    )  # fmt: skip
    writer = target.create(merged)
    for samples in _samples(parts):
        writer.append(samples)
    # without empty columns, of which pandas warns when it joins frames
    frames = [part.store.results([part.run], validate=True).dropna(axis="columns", how="all") for part in parts]
    results = pd.concat(frames, ignore_index=True)
    results = results.sort_values("case", key=lambda cases: cases.map(places), kind="stable", ignore_index=True)
    writer.finish(results.assign(ceiling_fraction=_fractions(results, limits)))
    return writer.run


def _samples(parts: Sequence[Part]) -> Iterator[pd.DataFrame]:
    used = 0
    for part in parts:
        samples = part.store.samples([part.run], validate=True)
        if not samples.empty:
            yield samples.assign(process=samples["process"] + used)
            used += 1 + int(samples["process"].fillna(0).max())


def _fractions(results: pd.DataFrame, limits: ceilings.Known) -> "pd.Series[float]":
    columns = ["device", "threads", "pass", "cold", "times_launch", "bytes_moved", "gbps"]
    rows = plain_rows(results.reindex(columns=columns))
    return pd.Series([ceilings.fraction(limits, row) for row in rows], dtype=float)


def _ceilings(parts: Sequence[Run]) -> tuple[Ceiling, ...]:
    of_all = (ceiling for part in parts for ceiling in part.ceilings or ())
    alike = _grouped(of_all, lambda limit: (limit.device, limit.kind, limit.level, limit.threads, limit.bytes))
    # by bandwidth, or the reciprocal of a time; 0 where it is unknown
    return tuple(max(same, key=lambda limit: limit.gbps or 1 / (limit.seconds or math.inf)) for same in alike.values())


def _worst(loads: Iterable[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    return tuple(max(column) for column in zip(*filter(None, loads), strict=False)) or None


def _warnings(parts: Sequence[Run]) -> Iterator[Warning]:
    of_all = [(warning, str(part.shard)) for part in parts for warning in part.warnings]
    for warning, same in _grouped(of_all, itemgetter(0)).items():
        shards = ", ".join(shard for _, shard in same)
        yield warning if len(same) == len(parts) else replace(warning, evidence=f"shard {shards}: {warning.evidence}")
    if len({part.git and part.git.diff_hash for part in parts}) > 1:
        evidence = "uncommitted files differ between the shards' folders, so they may have measured different code"
        yield Warning("code", evidence, "commit all, and put results/ into .gitignore")
