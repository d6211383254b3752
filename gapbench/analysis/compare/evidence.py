"""From the samples of two runs, and of earlier ones, to the evidence on each row.

A row is looked at in three ways, each a shift of a log from base to head (docs/diff.md says why, and what decides):

- *ratio*: its time divided by the reference's in the same turns; the reference itself is held against the median of the
  other implementations of its case;
- *adjusted*: its own time, less what the references of all other cases shifted by;
- *own*: its time as it is, which confirms, and stands in for the others where a run has a single case and no reference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd

from gapbench.analysis.compare import noise
from gapbench.analysis.compare.noise import Scale, Shift
from gapbench.analysis.compare.rows import Key, Side, row_key
from gapbench.statistics.stats import UNDISTURBED
from gapbench.statistics.verdicts import EQUIVALENCE_LEVEL, Evidence, paired, student
from gapbench.store.records import with_memory

BETWEEN_RUNS = noise.scale(0.007, least=0.002, most=0.017)
"""What ratios and adjusted times shift by between runs of the same code (standard deviation): default and bounds."""

IN_COMMON = noise.scale(0.014, least=0.007, most=0.05)
"""The same for what all times of a run have in common."""

_FEWEST_ALIKE = 4
"""Rows that it takes to say what is common to them."""

_MOST_CASES = 50
"""With more cases, leaving a row's own out of what all have in common changes nothing."""

_ROW = ["case", "implementation", "clock", "memory"]
_BATCH = ["case", "clock", "memory", "round", "turn"]

Shifts = Mapping[Key, Shift]


@dataclass(frozen=True, slots=True)
class Weighed:
    """The evidence on a row, which look it is from, and what else a reader must know."""

    evidence: Evidence
    by: str
    caveat: str = ""


def weigh(
    base: Side, head: Side, earlier: Sequence[Side], references: Mapping[Key, str], margin: float
) -> Iterator[tuple[Key, Weighed]]:
    """Weigh the rows of two runs; ``references`` has the rows, each with its reference's name.

    ``earlier`` are other runs in the same environment, which say how far runs lie apart where little changed.
    """
    if not references:
        return
    past = sorted([*earlier, base], key=lambda side: side.run.id)
    levels = {side.run.id: _levels(side, references) for side in (*past, head)}
    history = [_Pair.of(levels[older.run.id], levels[newer.run.id], references) for older, newer in pairwise(past)]
    pair = _Pair.of(levels[base.run.id], levels[head.run.id], references)
    by_ratio = _Scales.of(pair.ratio, [one.ratio for one in history])
    by_time = _Scales.of(pair.adjusted, [one.adjusted for one in history])
    in_common = IN_COMMON.learn([(one.value, one.by_rounds) for past in history for one in past.common.values()])
    ratio = {key: by_ratio.of_row(key, shift) for key, shift in pair.ratio.items()}
    ratio |= _against_rest(ratio, references)
    adjusted = {key: by_time.of_row(key, shift) for key, shift in pair.adjusted.items()}
    own = {key: in_common.of(by_time.of_row(key, shift)) for key, shift in pair.own.items()}

    def evidence(shift: Shift | None) -> Evidence | None:
        if shift is None:
            return None
        return student(shift.value, shift.variance, shift.between_runs, shift.degrees, shift.rounds, margin)

    looks = {
        key: _Looks(evidence(ratio.get(key)), evidence(adjusted.get(key)), found)
        for key in references
        if (found := evidence(own.get(key)))
    }
    for key, reference in references.items():
        if key in looks:
            of_reference = looks.get(_reference(key, reference)) if key[1] != reference else None
            yield key, looks[key].decide(reference, of_reference)
        else:
            yield key, Weighed(paired(np.empty(0), margin), "", "one of the runs has no samples of it")


def _reference(key: Key, reference: str) -> Key:
    return key[0], reference, key[2], key[3]


def _against_rest(ratio: Shifts, references: Mapping[Key, str]) -> dict[Key, Shift]:
    """Return how far each reference shifted against the median of the other implementations of its case.

    Theirs are all shifts against the reference, so that their median is hardly more certain than one of them.
    """
    others: dict[Key, list[Shift]] = {}
    for key, shift in ratio.items():
        others.setdefault(_reference(key, references[key]), []).append(shift)
    found = {}
    for key, rest in others.items():
        typical = sorted(rest, key=lambda one: one.variance)[len(rest) // 2]
        found[key] = replace(typical, value=-float(np.median([one.value for one in rest])))
    return found


def _levels(side: Side, references: Mapping[Key, str]) -> Mapping[str, Shifts]:
    """Return of a run the rows' levels of ``own`` times and of the ``ratio`` to the reference in the same turns.

    A round's value is as in `stats.round_log_ratio`.
    """
    known = with_memory(side.samples)
    samples = known[[*_BATCH, "implementation"]].assign(own=np.log(known["seconds_per_call"].to_numpy(dtype=float)))
    names = {(case, clock, memory or ""): name for (case, _, clock, memory), name in references.items()}
    wanted = pd.Series(names, dtype=object).rename_axis(["case", "clock", "memory"]).rename("reference")
    samples = samples.join(wanted, on=["case", "clock", "memory"], how="inner")
    of_reference = samples[samples["implementation"] == samples["reference"]].set_index(_BATCH)["own"]
    samples = samples.join(of_reference.rename("of_reference"), on=_BATCH)
    by_round = [*_ROW, "round"]
    rounds = samples.groupby(by_round)[["own"]].quantile(UNDISTURBED)
    shared = samples[samples["of_reference"].notna()].groupby(by_round)[["own", "of_reference"]].quantile(UNDISTURBED)
    rounds["ratio"] = shared["own"] - shared["of_reference"]
    found: dict[str, Shifts] = {}
    for way in ("own", "ratio"):
        values = rounds[way].dropna()
        of_row = values.groupby(level=_ROW).ngroup().to_numpy()
        starts = np.flatnonzero(np.diff(of_row, prepend=-1))  # a group of pandas' costs more than what is done with it
        keys = [row_key(key[:4]) for key in values.index[starts]]
        array = values.to_numpy(dtype=np.float64)
        by_row = [array[start:end] for start, end in pairwise([*starts, len(array)])]
        found[way] = dict(zip(keys, noise.levels(by_row), strict=True))
    return found


@dataclass(frozen=True, slots=True)
class _Pair:
    """The rows' shifts from one run to another, by rounds alone; ``common`` is that of all references, by clock."""

    own: Shifts
    ratio: Shifts
    adjusted: Shifts
    common: Mapping[tuple[str, str | None], Shift]

    @classmethod
    def of(cls, before: Mapping[str, Shifts], after: Mapping[str, Shifts], references: Mapping[Key, str]) -> "_Pair":
        def shifts(way: str) -> dict[Key, Shift]:
            rows = (key for key in references if key in before[way] and key in after[way])
            return {key: noise.shift(before[way][key], after[way][key]) for key in rows}

        own, ratio = shifts("own"), {k: v for k, v in shifts("ratio").items() if k[1] != references[k]}
        by_clock: dict[tuple[str, str | None], dict[str, list[Shift]]] = {}
        for key, shift in own.items():
            if key[1] == references[key] or _reference(key, references[key]) not in own:
                by_clock.setdefault(key[2:], {}).setdefault(key[0], []).append(shift)
        common = {
            clock: noise.median([one for found in cases.values() for one in found]) for clock, cases in by_clock.items()
        }
        adjusted = {}
        for key, shift in own.items():
            cases = by_clock[key[2:]]
            if len(cases) > _MOST_CASES:
                adjusted[key] = shift.less(common[key[2:]])
            elif elsewhere := [s for case, found in cases.items() if case != key[0] for s in found]:
                adjusted[key] = shift.less(noise.median(elsewhere))
        return cls(own, ratio, adjusted, common)


@dataclass(frozen=True, slots=True)
class _Scales:
    """How far runs of the same code lie apart in a way of looking: in all rows, and in rows of which more is known."""

    typical: Scale
    rows: Mapping[Key, Scale]

    @classmethod
    def of(cls, now: Shifts, history: Sequence[Shifts]) -> "_Scales":
        """Learn from what shifted in the past, and from how rows that may all have changed alike scatter now."""
        past: dict[Key, list[tuple[float, float]]] = {}
        for pair in history:
            for key, shift in pair.items():
                past.setdefault(key, []).append((shift.value, shift.by_rounds))
        typical = BETWEEN_RUNS.learn([*_scatter(now), *(one for row in past.values() for one in row)])
        return cls(typical, {key: typical.learn_row(row) for key, row in past.items()})

    def of_row(self, key: Key, shift: Shift) -> Shift:
        """Return a row's shift with its variance between runs."""
        return self.rows.get(key, self.typical).of(shift)


def _scatter(shifts: Shifts) -> Iterator[tuple[float, float]]:
    """Yield rows' shifts from what is common to their implementation (to all, if it has few), with their variances."""
    groups: dict[str, list[Shift]] = {}
    for key, shift in shifts.items():
        groups.setdefault(key[1], []).append(shift)
    if max(map(len, groups.values()), default=0) < _FEWEST_ALIKE:
        groups = {"": [*shifts.values()]}
    for found in groups.values():
        if len(found) >= _FEWEST_ALIKE:
            middle, spared = np.median([one.value for one in found]), len(found) / (len(found) - 1)
            yield from (((one.value - middle) * spared**0.5, one.by_rounds) for one in found)


@dataclass(frozen=True, slots=True)
class _Looks:
    """What each way of looking at a row says; None where there is no such way."""

    ratio: Evidence | None
    adjusted: Evidence | None
    own: Evidence

    def decide(self, reference: str, of_reference: "_Looks | None") -> Weighed:
        """Choose the evidence; ``of_reference`` is None for the reference itself, and where it is missing."""
        looks = [one for one in (self.ratio, self.adjusted) if one is not None]
        if not looks:
            return Weighed(self.own, "", f"{_NO_RATIO}, which another state of the machine changes too")
        slower, faster = (self._p_values(direction, of_reference) for direction in (_SLOWER, _FASTER))
        by_time = self.ratio is None or min(slower[1], faster[1]) < min(slower[0], faster[0], EQUIVALENCE_LEVEL)
        suspected = of_reference is not None and any(of_reference.suspected(way) for way in (_SLOWER, _FASTER))
        apart = self.adjusted is not None and min(self.adjusted.slower, self.adjusted.faster) <= EQUIVALENCE_LEVEL
        shown = self.adjusted if by_time and self.adjusted else looks[0]
        evidence = replace(
            shown,
            slower=min(1.0, len(looks) * min(slower)),
            faster=min(1.0, len(looks) * min(faster)),
            within=max(one.within for one in looks) if suspected or apart else looks[0].within,
            floor=np.inf if suspected else shown.floor,  # rounds do not tell which of the two moved
        )
        if self.ratio is None:
            return Weighed(evidence, "", _NO_RATIO)
        rest = "the other implementations"
        by = "by its own time" if by_time else f"by its ratio to {reference if of_reference else rest}"
        moved = f"{reference} moved against {rest}, and so did its own time: a ratio to it does not count alone"
        return Weighed(evidence, by, moved if suspected else "")

    def suspected(self, direction: str) -> bool:
        """Tell whether a reference moved against the rest of its case, and a time of its own says that it did."""
        return _moved(self.ratio, direction) and (_moved(self.adjusted, direction) or _moved(self.own, direction))

    def _p_values(self, direction: str, of_reference: "_Looks | None") -> tuple[float, float]:
        """Return the p-values of the ratio and the adjusted time in a direction, 1 where they do not count."""
        opposite = _FASTER if direction == _SLOWER else _SLOWER
        by_ratio = by_time = 1.0
        if self.ratio is not None:
            times = [_confirmed(one, self.ratio, direction) for one in (self.adjusted, self.own)]
            if of_reference is None:
                needed = min(times)
            elif of_reference.suspected(opposite):
                moved = [_moved(one, opposite) for one in (of_reference.adjusted, of_reference.own)]
                needed = max(p for p, has_moved in zip(times, moved, strict=True) if has_moved)
            else:
                needed = 0.0
            by_ratio = max(getattr(self.ratio, direction), needed)
        if self.adjusted is not None and _confirmed(self.own, self.adjusted, direction) <= EQUIVALENCE_LEVEL:
            by_time = getattr(self.adjusted, direction)
        return by_ratio, by_time


_SLOWER, _FASTER = "slower", "faster"
_NO_RATIO = "without a ratio to compare, by its own time alone"


def _confirmed(evidence: Evidence | None, other: Evidence, direction: str) -> float:
    """Return a look's p-value for a change, 1 unless it shows at least half of what ``other`` shows."""
    if evidence is None or abs(evidence.change.estimate) < abs(other.change.estimate) / 2:
        return 1.0
    return float(getattr(evidence, direction))


def _moved(evidence: Evidence | None, direction: str) -> bool:
    """Tell whether the 95 % interval of a change leaves zero out in a direction."""
    if evidence is None or evidence.change.low is None or evidence.change.high is None:
        return False
    return evidence.change.low > 0 if direction == _SLOWER else evidence.change.high < 0
