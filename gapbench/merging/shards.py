"""Which runs are the shards of one sweep, and why some cannot be merged."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import msgspec

from gapbench import store
from gapbench.errors import GapbenchError
from gapbench.quantities import parse_shard
from gapbench.run import Machine, Run, Settings, differences
from gapbench.store.verify import damage


@dataclass(frozen=True)
class Part:
    """A run that is one shard, and the store where it lies."""

    store: store.Store
    run: str

    @cached_property
    def document(self) -> Run:
        """What is known of it."""
        return self.store.describe(self.run)

    @property
    def shard(self) -> tuple[int, int]:
        """Which shard it is, from 1, of how many."""
        try:
            return parse_shard(str(self.document.shard))
        except GapbenchError as error:
            raise GapbenchError(f"run {self.run} is damaged: {error}") from error

    def refuse(self) -> None:
        """Raise `GapbenchError` unless it is a shard, complete and undamaged."""
        document = self.document
        if document.shard is None:
            raise GapbenchError(f"run {self.run} is no shard: only runs of gapbench run --shard are merged")
        which = "run {} (shard {}/{})".format(self.run, *self.shard)
        if not document.is_complete:
            raise GapbenchError(
                f"{which} is not complete; go on with: gapbench run --resume {self.run} --store {self.store.url}"
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
        if strange := [one.case for one in document.plan or () if one.case not in document.places]:
            raise GapbenchError(f"{which} is damaged: its places do not say where {strange[0]} stands")


def find(sources: Sequence[str]) -> list[Part]:
    """Return the shards that ``sources`` hold: each a run's folder, or a store with all of its shards.

    Raises `GapbenchError` for a source that has none.
    """
    parts: list[Part] = []
    for source in sources:
        here = store.Store(source)
        above, _, run = source.rstrip("/").rpartition("/")
        if (holder := store.Store(above or ("/" if source.startswith("/") else "."))).has(run):
            parts.append(Part(holder, run))
            continue
        found = [part for run in here.ids() if (part := Part(here, run)).document.shard]
        if not found:
            raise GapbenchError(f"{source} is neither a run nor a store with shards; see: gapbench run --shard")
        parts += found
    return parts


def check(parts: Sequence[Part]) -> list[Part]:
    """Return the parts by their number. Raises `GapbenchError` unless they are all shards of one sweep, each once.

    And unless each is complete, undamaged, and was measured on a machine that is equal to the others'.
    """
    for part in parts:
        part.refuse()
    _refuse_strangers(parts)
    _refuse_gaps(parts)
    return sorted(parts, key=lambda part: part.shard)


def _refuse_strangers(parts: Sequence[Part]) -> None:
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
    """Say in what two sweeps differ, as far as two of their shards tell."""
    old, new = (
        {
            "shards": parse_shard(str(one.shard))[1],
            "commit": one.commit,
            **msgspec.to_builtins(one.settings),
        }
        for one in (ours, theirs)
    )
    said = [f"{name} {value} and {new.get(name)}" for name, value in old.items() if value != new.get(name)]
    return ", ".join(said) or "other cases or implementations were selected, or others can be measured there"


def _refuse_gaps(parts: Sequence[Part]) -> None:
    by_number: dict[int, list[str]] = defaultdict(list)
    for part in parts:
        by_number[part.shard[0]].append(part.run)
    count = parts[0].shard[1]
    for number, runs in by_number.items():
        if len(runs) > 1:
            raise GapbenchError(
                f"shard {number}/{count} is there {len(runs)} times, as runs {', '.join(runs)}; name the folders of "
                "the runs to merge, one for each shard"
            )
    if missing := [f"{number}/{count}" for number in range(1, count + 1) if number not in by_number]:
        what = "shard is" if len(missing) == 1 else "shards are"
        raise GapbenchError(
            f"{len(missing)} {what} missing: {', '.join(missing)}; measure with: gapbench run --shard {missing[0]} "
            "and the other options as before"
        )
    places = sorted(place for part in parts for place in part.document.places.values())
    if places != list(range(len(places))):
        raise GapbenchError(f"the shards of sweep {parts[0].document.sweep} do not make up its plan: one is damaged")
