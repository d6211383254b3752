"""Which runs are the shards of one sweep, and why some cannot be merged."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from gapbench import store
from gapbench.compare import surroundings
from gapbench.errors import GapbenchError
from gapbench.quantities import parse_shard
from gapbench.store.verify import damage

_FIELDS: Mapping[str, type] = {
    "started": str, "suites": list, "plan": list, "places": dict, "settings": dict, "machine": dict, "versions": dict
}  # fmt: skip
"""What run.json of a shard has, of what merging builds on."""


@dataclass(frozen=True)
class Part:
    """A run that is one shard, and the store where it lies."""

    store: store.Store
    run: str

    @cached_property
    def document(self) -> dict[str, Any]:
        """Its run.json."""
        return self.store.describe(self.run)

    @property
    def shard(self) -> tuple[int, int]:
        """Which shard it is, from 1, of how many."""
        try:
            return parse_shard(str(self.document["shard"]))
        except GapbenchError as error:
            raise GapbenchError(f"run {self.run} is damaged: {error}") from error

    @property
    def places(self) -> dict[str, int]:
        """Where in the sweep's plan each of its cases stands."""
        return dict(self.document["places"])

    def refuse(self) -> None:
        """Raise `GapbenchError` unless it is a shard, complete and undamaged."""
        if self.document.get("shard") is None:
            raise GapbenchError(f"run {self.run} is no shard: only runs of gapbench run --shard are merged")
        which = "run {} (shard {}/{})".format(self.run, *self.shard)
        if self.document["ended"] is None:
            raise GapbenchError(
                f"{which} is not complete; go on with: gapbench run --resume {self.run} --store {self.store.url}"
            )
        for sentence in damage(self.store, self.run):
            raise GapbenchError(f"{which} is damaged: {sentence}")
        for name, kind in _FIELDS.items():
            if not isinstance(self.document.get(name), kind):
                raise GapbenchError(f"{which} is damaged: {name} is missing from its run.json, or no {kind.__name__}")
        try:
            datetime.fromisoformat(self.document["started"])
        except ValueError as error:
            raise GapbenchError(f"{which} is damaged: it was started at no time ({error})") from error
        if strange := [one["case"] for one in self.document["plan"] if type(self.places.get(one["case"])) is not int]:
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
        found = [part for run in here.ids() if "shard" in (part := Part(here, run)).document]
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
        if ours.get("sweep") != theirs.get("sweep"):
            raise GapbenchError(
                f"runs {first.run} and {other.run} are of two sweeps ({_sweep_difference(ours, theirs)}); name the "
                "folders of the runs that belong together"
            )
        differences = list(surroundings.differences(ours, theirs).values())
        old, new = ours["versions"], theirs["versions"]
        differences += [
            f"{name} is {new.get(name)}, was {old.get(name)}"
            for name in dict.fromkeys([*old, *new])
            if old.get(name) != new.get(name) and name not in surroundings.ENVIRONMENT
        ]
        if differences:
            raise GapbenchError(
                f"shards {ours['shard']} and {theirs['shard']} were not measured on equal machines: "
                f"{'; '.join(differences)} (runs {first.run} and {other.run}); measure one of them again"
            )


def _sweep_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """Say in what two sweeps differ, as far as two of their shards tell."""
    old, new = (
        {
            "shards": parse_shard(str(one["shard"]))[1],
            "commit": (one.get("git") or {}).get("commit"),
            **one["settings"],
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
    places = sorted(place for part in parts for place in part.places.values())
    if places != list(range(len(places))):
        raise GapbenchError(f"the shards of sweep {parts[0].document['sweep']} do not make up its plan: one is damaged")
