"""Turn the samples of two runs, and of earlier ones, into the evidence on each row.

A row has up to three estimates of the log of head / base (docs/diff.md says why, and which one decides):

- *ratio*: of its time divided by the reference's in the same turns; the reference's against the rest of its case;
- *adjusted*: of its own time, minus the shift of the references of all other cases;
- *own*: of its time as it is, which confirms the others, or replaces them in a single case without a reference.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from gapbench.analysis.compare import noise
from gapbench.analysis.compare.noise import Scale, Shift
from gapbench.analysis.compare.rows import ROW, Key, Side, row_key
from gapbench.statistics.stats import UNDISTURBED
from gapbench.statistics.verdicts import EQUIVALENCE_LEVEL, Evidence, paired, student
from gapbench.store.records import with_memory

BETWEEN_RUNS = noise.scale(0.007, least=0.002, most=0.017)
"""Shift of ratios and adjusted times between runs of the same code, as a standard deviation: default and bounds."""

IN_COMMON = noise.scale(0.014, least=0.007, most=0.05)  # the same for the shift that all times of a run share
_FEWEST_ALIKE = 4  # the fewest rows that a common shift is estimated from
_MOST_CASES = 50  # with more cases, leaving a row's own case out of the common shift changes nothing
_BATCH = ["case", "clock", "memory", "round", "turn"]

Shifts = Mapping[Key, Shift]


@dataclass(frozen=True, slots=True)
class RowEvidence:
    """The evidence on a row, a phrase that names the estimate it is from, and a caveat for the reader."""

    evidence: Evidence
    by: str
    caveat: str = ""


def collect(
    base: Side, head: Side, earlier: Sequence[Side], references: Mapping[Key, str], margin: float
) -> Iterator[tuple[Key, RowEvidence]]:
    """Yield the evidence on each row of two runs; ``earlier`` runs show how far runs of unchanged code differ."""
    if not references:
        return
    past = sorted([*earlier, base], key=lambda side: side.run.id)
    levels = {side.run.id: _levels(side, references) for side in (*past, head)}
    history = [_Pair.of(levels[older.run.id], levels[newer.run.id], references) for older, newer in pairwise(past)]
    pair = _Pair.of(levels[base.run.id], levels[head.run.id], references)
    by_ratio = _Scales.of(pair.ratio, [before.ratio for before in history])
    by_time = _Scales.of(pair.adjusted, [before.adjusted for before in history])
    in_common = IN_COMMON.learn(shift.unchanged for before in history for shift in before.common.values())
    ratio = {key: by_ratio.of_row(key, shift) for key, shift in pair.ratio.items()}
    ratio |= _against_rest(ratio, references)
    adjusted = {key: by_time.of_row(key, shift) for key, shift in pair.adjusted.items()}
    own = {key: in_common.of(by_time.of_row(key, shift)) for key, shift in pair.own.items()}

    def evidence(shift: Shift | None) -> Evidence | None:
        if shift is None:
            return None
        return student(shift.value, shift.variance, shift.between_runs, shift.degrees, shift.rounds, margin)

    estimates = {
        key: _Estimates(evidence(ratio.get(key)), evidence(adjusted.get(key)), by_own)
        for key, shift in own.items()
        if (by_own := evidence(shift))
    }
    for key, reference in references.items():
        if key in estimates:
            of_reference = estimates.get(_reference(key, reference)) if key[1] != reference else None
            yield key, estimates[key].decide(reference, of_reference)
        else:
            yield key, RowEvidence(paired(np.empty(0), margin), "", "one of the runs has no samples of it")


def _reference(key: Key, reference: str) -> Key:
    return key[0], reference, key[2], key[3]


def _against_rest(ratio: Shifts, references: Mapping[Key, str]) -> dict[Key, Shift]:
    """Return each reference's shift against the median of its case's others, hardly more certain than one of them."""
    others: dict[Key, list[Shift]] = defaultdict(list)
    for key, shift in ratio.items():
        others[_reference(key, references[key])].append(shift)
    return {
        key: replace(
            sorted(rest, key=lambda shift: shift.variance)[len(rest) // 2],
            value=-float(np.median([shift.value for shift in rest])),
        )
        for key, rest in others.items()
    }


def _levels(side: Side, references: Mapping[Key, str]) -> Mapping[str, Shifts]:
    """Return the levels of a run's rows: of ``own`` times, and of the ``ratio`` to the reference in the same turns."""
    samples = with_memory(side.samples)
    samples = samples.assign(own=np.log(samples["seconds_per_call"].to_numpy(dtype=float)))
    names = {(case, clock, memory or ""): name for (case, _, clock, memory), name in references.items()}
    wanted = pd.Series(names, dtype=object).rename_axis(["case", "clock", "memory"]).rename("reference")
    samples = samples[[*_BATCH, "implementation", "own"]].join(wanted, on=["case", "clock", "memory"], how="inner")
    of_reference = samples[samples["implementation"] == samples["reference"]].set_index(_BATCH)["own"]
    samples = samples.join(of_reference.rename("of_reference"), on=_BATCH)
    by_round = [*ROW, "round"]
    rounds = samples.groupby(by_round)[["own"]].quantile(UNDISTURBED)
    shared = samples[samples["of_reference"].notna()].groupby(by_round)[["own", "of_reference"]].quantile(UNDISTURBED)
    rounds["ratio"] = shared["own"] - shared["of_reference"]
    levels: dict[str, Shifts] = {}
    for way in ("own", "ratio"):
        values = rounds[way].dropna()
        # splitting by hand: a group of pandas costs more than the work on it
        starts = np.flatnonzero(np.diff(values.groupby(level=ROW).ngroup().to_numpy(), prepend=-1))
        keys = [row_key(key[:4]) for key in values.index[starts]]
        by_row = np.split(values.to_numpy(dtype=np.float64), starts)[1:]
        levels[way] = dict(zip(keys, noise.levels(by_row), strict=True))
    return levels


@dataclass(frozen=True, slots=True)
class _Pair:
    """The rows' shifts from one run to another, by rounds alone; ``common`` is that of all references, by clock."""

    own: Shifts
    ratio: Shifts
    adjusted: Shifts
    common: Mapping[tuple[str, str | None], Shift]

    @classmethod
    def of(cls, before: Mapping[str, Shifts], after: Mapping[str, Shifts], references: Mapping[Key, str]) -> "_Pair":
        own, ratio = (
            {
                key: noise.shift(before[way][key], after[way][key])
                for key in references
                if key in before[way] and key in after[way]
            }
            for way in ("own", "ratio")
        )
        by_clock: dict[tuple[str, str | None], dict[str, list[Shift]]] = defaultdict(lambda: defaultdict(list))
        for key, shift in own.items():
            if key[1] == references[key] or _reference(key, references[key]) not in own:
                by_clock[key[2:]][key[0]].append(shift)
        common = {
            clock: noise.median([s for case in cases.values() for s in case]) for clock, cases in by_clock.items()
        }
        adjusted = {}
        for key, shift in own.items():
            cases = by_clock[key[2:]]
            if len(cases) > _MOST_CASES:
                adjusted[key] = shift.less(common[key[2:]])
            elif elsewhere := [s for case, shifts in cases.items() if case != key[0] for s in shifts]:
                adjusted[key] = shift.less(noise.median(elsewhere))
        return cls(own, {key: shift for key, shift in ratio.items() if key[1] != references[key]}, adjusted, common)


@dataclass(frozen=True, slots=True)
class _Scales:
    """The scales of shifts between runs by one estimate: of all rows, and of rows with a history of their own."""

    typical: Scale
    rows: Mapping[Key, Scale]

    @classmethod
    def of(cls, now: Shifts, history: Sequence[Shifts]) -> "_Scales":
        """Learn from shifts in the past, and from the scatter of rows that may all have shifted alike now."""
        past: dict[Key, list[tuple[float, float]]] = defaultdict(list)
        for shifts in history:
            for key, shift in shifts.items():
                past[key].append(shift.unchanged)
        typical = BETWEEN_RUNS.learn([*_scatter(now), *(shift for row in past.values() for shift in row)])
        return cls(typical, {key: typical.learn_row(row) for key, row in past.items()})

    def of_row(self, key: Key, shift: Shift) -> Shift:
        return self.rows.get(key, self.typical).of(shift)


def _scatter(shifts: Shifts) -> Iterator[tuple[float, float]]:
    """Yield each row's distance from the median of its implementation (of all rows if it has few) and its variance."""
    groups: dict[str, list[Shift]] = defaultdict(list)
    for key, shift in shifts.items():
        groups[key[1]].append(shift)
    if max(map(len, groups.values()), default=0) < _FEWEST_ALIKE:
        groups = {"": [*shifts.values()]}
    for group in groups.values():
        if len(group) >= _FEWEST_ALIKE:
            middle, freed = np.median([shift.value for shift in group]), len(group) / (len(group) - 1)
            yield from (((shift.value - middle) * freed**0.5, shift.by_rounds) for shift in group)


_SLOWER, _FASTER = "p_slower", "p_faster"  # directions, as fields of `Evidence`
_NO_RATIO = "without a ratio to compare, by its own time alone"


@dataclass(frozen=True, slots=True)
class _Estimates:
    ratio: Evidence | None
    adjusted: Evidence | None
    own: Evidence

    def decide(self, reference: str, of_reference: "_Estimates | None") -> RowEvidence:
        """Choose the evidence; ``of_reference`` is None for the reference itself, and if the reference is missing."""
        ways = [way for way in (self.ratio, self.adjusted) if way is not None]
        if not ways:
            return RowEvidence(self.own, "", f"{_NO_RATIO}, which another state of the machine changes too")
        slower, faster = (self._p_values(direction, of_reference) for direction in (_SLOWER, _FASTER))
        by_time = self.ratio is None or min(slower[1], faster[1]) < min(slower[0], faster[0], EQUIVALENCE_LEVEL)
        suspected = of_reference is not None and any(of_reference.suspected(way) for way in (_SLOWER, _FASTER))
        apart = self.adjusted is not None and min(self.adjusted.p_slower, self.adjusted.p_faster) <= EQUIVALENCE_LEVEL
        shown = self.adjusted if by_time and self.adjusted else ways[0]
        evidence = replace(
            shown,
            p_slower=min(1.0, len(ways) * min(slower)),
            p_faster=min(1.0, len(ways) * min(faster)),
            p_equivalent=max(way.p_equivalent for way in ways) if suspected or apart else ways[0].p_equivalent,
            floor=np.inf if suspected else shown.floor,  # more rounds cannot tell which of the two moved
        )
        if self.ratio is None:
            return RowEvidence(evidence, "", _NO_RATIO)
        rest = "the other implementations"
        by = "by its own time" if by_time else f"by its ratio to {reference if of_reference else rest}"
        moved = f"{reference} moved against {rest}, and so did its own time: a ratio to it does not count alone"
        return RowEvidence(evidence, by, moved if suspected else "")

    def suspected(self, direction: str) -> bool:
        """Tell whether a reference moved against the rest of its case, and a time of its own confirms that."""
        return _moved(self.ratio, direction) and (_moved(self.adjusted, direction) or _moved(self.own, direction))

    def _p_values(self, direction: str, of_reference: "_Estimates | None") -> tuple[float, float]:
        """Return the p-values of the ratio and the adjusted time in a direction, 1 if they do not count."""
        opposite = _FASTER if direction == _SLOWER else _SLOWER
        by_ratio = by_time = 1.0
        if self.ratio is not None:
            times = [_confirmed(way, self.ratio, direction) for way in (self.adjusted, self.own)]
            if of_reference is None:
                needed = min(times)
            elif of_reference.suspected(opposite):
                moved = [_moved(way, opposite) for way in (of_reference.adjusted, of_reference.own)]
                needed = max(p for p, has_moved in zip(times, moved, strict=True) if has_moved)
            else:
                needed = 0.0
            by_ratio = max(getattr(self.ratio, direction), needed)
        if self.adjusted is not None and _confirmed(self.own, self.adjusted, direction) <= EQUIVALENCE_LEVEL:
            by_time = getattr(self.adjusted, direction)
        return by_ratio, by_time


def _confirmed(evidence: Evidence | None, other: Evidence, direction: str) -> float:
    """Return the p-value of a change, 1 unless the change is at least half that of ``other``."""
    if evidence is None or abs(evidence.change.estimate) < abs(other.change.estimate) / 2:
        return 1.0
    return float(getattr(evidence, direction))


def _moved(evidence: Evidence | None, direction: str) -> bool:
    """Tell whether the 95 % interval of a change excludes zero in a direction."""
    if evidence is None or evidence.change.low is None or evidence.change.high is None:
        return False
    return evidence.change.low > 0 if direction == _SLOWER else evidence.change.high < 0
