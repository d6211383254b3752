"""From the shards of a sweep to one run. No torch: nothing is measured, and nothing is chosen between."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import pandas as pd
from msgspec.structs import replace

from gapbench import __version__, ceilings, store
from gapbench.ceilings import Ceiling
from gapbench.errors import GapbenchError
from gapbench.git import Git
from gapbench.merging.shards import Part, check, find
from gapbench.run import EnergySource, Imported, Run, Warning
from gapbench.store.documents import load

__all__ = ["Part", "find", "merge"]

_ALIKE = ("sweep", "argv", "seed", "settings", "machine", "versions")


def merge(target: store.Store, parts: Sequence[Part], tag: str | None = None) -> Run:
    """Store the shards of one sweep as a new run of ``target``, and return it.

    All rows and samples of the parts are its own, and its ``parts`` are what each said of itself. Of a ceiling that
    several measured, the highest holds for all of them. Raises `GapbenchError` unless every shard is there once,
    whole, and measured on an equal machine, or if they were merged before.
    """
    parts = check(parts)
    _refuse_twice(target, parts)
    said = [part.document for part in parts]
    places = {case: place for one in said for case, place in one.places.items()}
    known = _ceilings(said)
    begun = min(str(one.started) for one in said)
    git = _git(said)
    tags = {one.tag for one in said}
    writer = target.create(
        Run(
            **{name: getattr(said[0], name) for name in _ALIKE},
            id=store.new_run_id(git.commit if git else None, datetime.fromisoformat(begun).astimezone(UTC)),
            started=begun,
            tag=tag or (tags.pop() if len(tags) == 1 else None),
            suites=tuple(sorted({suite for one in said for suite in one.suites})),
            git=git,
            plan=tuple(sorted((case for one in said for case in one.plan or ()), key=lambda one: places[one.case])),
            snippets={name: text for one in said for name, text in one.snippets.items()},
            load_before=_worst(one.load_before for one in said),
            load_after=_worst(one.load_after for one in said),
            ceilings=known,
            energy=_energy(said),
            clocks=_clocks(said),
            wall_seconds=sum(one.wall_seconds or 0.0 for one in said),
            timed_seconds=sum(one.timed_seconds or 0.0 for one in said),
            imported=Imported(runs=tuple(part.run for part in parts), by=__version__),
            parts=tuple(load(part.store.text(part.run)) for part in parts),
            warnings=tuple(_warnings(said)),
        )
    )
    for samples in _samples(parts):
        writer.append(samples)
    # pandas warns of columns without values when it joins frames
    frames = [part.store.results([part.run], whole=True).dropna(axis="columns", how="all") for part in parts]
    results = pd.concat(frames, ignore_index=True)
    results = results.sort_values("case", key=lambda cases: cases.map(places), kind="stable", ignore_index=True)
    writer.finish(results.assign(ceiling_fraction=_fractions(results, known)))
    return writer.run


def _refuse_twice(target: store.Store, parts: Sequence[Part]) -> None:
    ours = tuple(part.run for part in parts)
    for run, one in target.listing().runs.items():
        if one.imported and one.imported.runs == ours:
            raise GapbenchError(f"these {len(ours)} shards were merged before, as run {run}")


def _samples(parts: Sequence[Part]) -> Iterator[pd.DataFrame]:
    """Yield each part's samples; the serial numbers of processes go on from one part to the next."""
    used = 0
    for part in parts:
        samples = part.store.samples([part.run], whole=True)
        if not samples.empty:
            yield samples.assign(process=samples["process"] + used)
            used += 1 + int(samples["process"].fillna(0).max())


def _fractions(results: pd.DataFrame, known: ceilings.Known) -> "pd.Series[float]":
    """Return which share of its ceiling each row reaches: the parts' own shares are of the ceilings they knew."""
    rows = results.reindex(columns=["device", "threads", "pass", "clock", "bytes_moved", "gbps"]).to_dict("records")
    found = (ceilings.fraction(known, {str(name): value for name, value in row.items()}) for row in rows)
    return pd.Series(list(found), dtype=float)


def _ceilings(parts: Sequence[Run]) -> tuple[Ceiling, ...]:
    """Return each ceiling once, as high as the best of equal machines reached."""
    best: dict[tuple[object, ...], Ceiling] = {}
    for one in (one for part in parts for one in part.ceilings or ()):
        key = one.device, one.kind, one.level, one.threads, one.bytes
        if key not in best or _height(one) > _height(best[key]):
            best[key] = one
    return tuple(best.values())


def _height(one: Ceiling) -> float:
    """Return how far a limit allows to go: bandwidth, or the reciprocal of a time; nothing where it is not known."""
    return one.gbps or (1 / one.seconds if one.seconds else 0.0)


def _energy(parts: Sequence[Run]) -> tuple[EnergySource, ...]:
    """Return for each device what counts its energy, as the first says that knows."""
    found: dict[str | None, EnergySource] = {}
    for one in (one for part in parts for one in part.energy or ()):
        if found.setdefault(one.device, one).source is None:
            found[one.device] = one
    return tuple(found.values())


def _clocks(parts: Sequence[Run]) -> dict[str, dict[str, float | None]]:
    """Return what each clock found out about itself: the median over the parts."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        for clock, values in part.clocks.items():
            for name, value in values.items():
                found[clock][name] += [] if value is None else [value]
    return {
        clock: {name: statistics.median(known) if known else None for name, known in values.items()}
        for clock, values in found.items()
    }


def _worst(loads: Iterable[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    """Return the highest of the load averages over 1, 5 and 15 minutes."""
    return tuple(max(column) for column in zip(*filter(None, loads), strict=False)) or None


def _warnings(parts: Sequence[Run]) -> Iterator[Warning]:
    """Yield each warning once, with the shards that have it, unless all do."""
    said: dict[Warning, list[str]] = defaultdict(list)
    for part in parts:
        for warning in part.warnings:
            said[warning].append(str(part.shard))
    for warning, shards in said.items():
        named = replace(warning, evidence=f"shard {', '.join(shards)}: {warning.evidence}")
        yield warning if len(shards) == len(parts) else named
    if len({part.git and part.git.diff_hash for part in parts}) > 1:
        evidence = "files that were not committed differ between the shards' folders: other code may have been measured"
        yield Warning("code", evidence, "commit all, and put results/ into .gitignore")


def _git(parts: Sequence[Run]) -> Git | None:
    """Return the commit of all parts, which is dirty if one of their folders was."""
    first = parts[0].git
    return first and replace(first, dirty=any(part.git and part.git.dirty for part in parts))
