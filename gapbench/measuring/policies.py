"""What is measured next, and when enough has been measured: precision for `run`, two stages for `ab`.

A policy yields sweeps (rounds of several cases, in the order to measure them) and what there is to tell; when it is
asked for the next sweep, the rounds of the last one are in the cases' states (`CaseState`).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log
from random import Random
from typing import Protocol

import numpy as np

from gapbench import operations
from gapbench.measuring.case_processes import CaseProcesses
from gapbench.measuring.events import CaseDone, Confirmation, Event, Flagged, Raced, RoundMeasured
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.measuring.protocol import Calibration
from gapbench.measuring.schedule import MOST_TURNS
from gapbench.statistics import stats, verdicts
from gapbench.statistics.stats import Floats, Interval
from gapbench.statistics.verdicts import can_stop, needs_confirmation
from gapbench.store.records import BASE, HEAD
from gapbench.workloads.cases import Case

Row = tuple[str, str]
"""An implementation and a clock."""

_FIRST_OVERHEAD = 0.2
"""Seconds a round takes beyond its turns (fork, inputs, answers, checks), until the case has told its own."""


@dataclass(slots=True)
class CaseState:
    """A case plan on its way; ``sides`` are those on which an implementation must be right to take part."""

    case_plan: CasePlan
    plan: Plan
    processes: CaseProcesses
    rounds: int = 0
    next_round: int = 0
    """Its number: not `rounds` where a round was lost before a run was resumed."""
    overhead: float = _FIRST_OVERHEAD
    round_seconds: float = 0.5
    """What a round takes, wall time."""
    raced: set[Row] = field(default_factory=set)
    calibration: dict[str, Calibration] = field(default_factory=lambda: defaultdict(dict))
    _turns: list[Mapping[str, Mapping[tuple[str, str], Floats]]] = field(default_factory=list)
    _ratios: dict[tuple[str, tuple[str, str], tuple[str, str]], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _read: dict[tuple[str, tuple[str, str], tuple[str, str]], int] = field(default_factory=lambda: defaultdict(int))

    @property
    def case(self) -> Case:
        """The case."""
        return self.case_plan.case

    @property
    def _side(self) -> str:
        return self.plan.sides[0].name

    def rows(self) -> list[Row]:
        """Return the rows that are ok on base and head, or on the only side."""
        count, able = len(self.processes.names), set(self.processes.contenders)
        refused = self.processes.refused
        needed = range(min(2, len(self.plan.sides)))
        return [
            (name, clock)
            for place, name in enumerate(self.processes.names)
            for clock in self.case_plan.clocks
            if all(side * count + place in able and (clock, side * count + place) not in refused for side in needed)
        ]

    def entries(self, rows: Iterable[Row], sides: Iterable[int] = (0,)) -> dict[str, tuple[int, ...]]:
        """Return by clock the contenders that a round of ``rows`` times, on the sides given by number."""
        count, able = len(self.processes.names), set(self.processes.contenders)
        by_clock: dict[str, list[int]] = {}
        sides = tuple(sides)
        for name, clock in rows:
            indices = (side * count + self.processes.names.index(name) for side in sides)
            by_clock.setdefault(clock, []).extend(index for index in indices if index in able)
        return {clock: tuple(sorted(indices)) for clock, indices in by_clock.items()}

    def record(self, measured: RoundMeasured) -> None:
        """Take in a finished round."""
        self.rounds += 1
        self.next_round = max(self.next_round, measured.round + 1)
        self._turns.append({clock: measured.by_turn(clock) for clock in measured.result.batches})
        for clock, calibration in measured.result.calibration.items():
            self.calibration[clock].update(calibration)

    def time_round(self, wall: float, timed: float) -> None:
        """Take in what a round took as a whole and inside its turns."""
        self.round_seconds += (wall - self.round_seconds) / (4 if self.rounds > 1 else 1)
        self.overhead += (max(0.0, wall - timed) - self.overhead) / 4

    def log_ratios(self, clock: str, one: tuple[str, str], other: tuple[str, str]) -> Floats:
        """Return log ratios of ``one`` to ``other``, each a (side, implementation), of rounds that both were in."""
        key = clock, one, other
        values = self._ratios[key]
        for turns in self._turns[self._read[key] :]:
            seconds = turns.get(clock, {})
            if one in seconds and other in seconds:
                value = stats.round_log_ratio(seconds[one], seconds[other])
                if not np.isnan(value):
                    values.append(value)
        self._read[key] = len(self._turns)
        return np.array(values)

    # What precision and racing ask

    @property
    def ranked(self) -> bool:
        """Whether the implementations compute the same, so that one of them wins."""
        return operations.operation(self.case.operation).ranked

    def best(self, clock: str) -> str | None:
        """Return the fastest of those that still take turns: all of them took part in every round."""
        names = [name for name, by in self.rows() if by == clock and (name, by) not in self.raced]
        if not names or not self.rounds:
            return None
        first = names[0]
        return min(names, key=lambda name: float(np.median(self._against(clock, name, first))))

    def _against(self, clock: str, name: str, other: str) -> Floats:
        if name == other:
            return np.zeros(1)
        ratios = self.log_ratios(clock, (self._side, name), (self._side, other))
        return ratios if len(ratios) else np.full(1, np.inf)

    def base_of(self, clock: str) -> str | None:
        """Return the implementation whose ratios are to be known: the fastest, or the reference where nobody wins."""
        return self.best(clock) if self.ranked else self.case_plan.reference

    def newly_raced(self) -> Iterator[Row]:
        """Yield rows that are shown to be clearly slower than the fastest, and let them take no more turns."""
        for clock in self.case_plan.clocks if self.ranked else ():
            best = self.best(clock)
            for name, by in self.rows():
                if by != clock or best in (None, name) or (name, by) in self.raced:
                    continue
                if stats.lower_bound(self._against(clock, name, str(best))) >= log(stats.CLEARLY_SLOWER):
                    self.raced.add((name, by))
                    yield name, by

    def interval(self, row: Row) -> Interval:
        """Return the log ratio of a row to `base_of` with its 95 % interval."""
        name, clock = row
        base = self.base_of(clock)
        if base is None or base == name:
            return Interval(0.0, 0.0, 0.0)
        return stats.location(self.log_ratios(clock, (self._side, name), (self._side, base)))


@dataclass(frozen=True, slots=True)
class Request:
    """A round of ``rows`` of one case: on the sides given by number, for ``seconds`` of turns, ``turns`` at most."""

    state: CaseState
    rows: tuple[Row, ...]
    seconds: float
    batch_seconds: float
    sides: tuple[int, ...] = (0,)
    turns: int = MOST_TURNS
    once: tuple[Row, ...] = ()
    """Those of the rows that take one turn only."""

    def entries(self) -> dict[str, tuple[int, ...]]:
        """Return what is timed, by clock: of the rows, those that still can be."""
        able = set(self.state.rows())
        return self.state.entries([row for row in self.rows if row in able], self.sides)


Sweep = list[Request]


class Policy(Protocol):
    """Decides what to measure next, and when to stop."""

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep | Event]:
        """Yield sweeps and events until enough is known or ``deadline`` (on `time.monotonic`'s scale) has passed."""


_WANTED_ROUNDS = 14
"""The budget is divided as if every case needed so many rounds; what is left over when others reach their target early
goes to those that did not."""
_SHORTEST_SLICE, _LONGEST_SLICE = 0.05, 1.0
_SLICE_OVER_OVERHEAD = 2.0
"""A round is worth its overhead if its turns take so many times as long, where that leaves the fewest rounds."""


class Precision:
    """Measure until every ratio is known to the target, and let those stop early that are clearly slower."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep | Event]:
        """Sweep over the cases that have not reached the target."""
        effort, rng = self._effort, Random(self._effort.seed)
        active = []
        for state in states:
            if self._rows(state):
                active.append(state)
            else:
                yield CaseDone(state.case, "failed", state.case_plan.memory)
        for state in active:
            yield from self._race(state)
        first = None
        while active:
            rng.shuffle(active)
            seconds = self._slices(active, deadline)
            first = first or dict(seconds)
            spent = time.monotonic() >= deadline
            sweep, going_on = [], []
            for state in active:
                # A last round in crumbs of the budget would be noise, so it is not begun.
                if state.rounds >= effort.rounds and (spent or seconds[id(state)] < first[id(state)] / 3):
                    yield CaseDone(state.case, "budget", state.case_plan.memory)
                    continue
                rows = tuple(self._rows(state))
                once = tuple(row for row in rows if row in state.raced)
                sweep.append(Request(state, rows, seconds[id(state)], effort.batch_seconds, once=once))
                going_on.append(state)
            if sweep:
                yield sweep
            active = []
            for state in going_on:
                yield from self._race(state)
                if not self._rows(state):
                    yield CaseDone(state.case, "failed", state.case_plan.memory)
                elif state.rounds >= effort.rounds and all(
                    state.interval(row).half_width <= effort.target for row in state.rows() if row not in state.raced
                ):
                    yield CaseDone(state.case, "target", state.case_plan.memory)
                else:
                    active.append(state)

    def _race(self, state: CaseState) -> Iterator[Event]:
        if self._effort.race:
            for name, clock in state.newly_raced():
                yield Raced(state.case, name, clock, state.case_plan.memory)

    def _rows(self, state: CaseState) -> list[Row]:
        """Return who takes turns in the next round; who was raced takes one in each of the first rounds.

        The reference in one round more, so that its ratios have intervals.
        """
        fewest = self._effort.rounds
        return [
            row
            for row in state.rows()
            if row not in state.raced or state.rounds < fewest - (row[0] != state.case_plan.reference)
        ]

    def _slices(self, active: Sequence[CaseState], deadline: float) -> dict[int, float]:
        """Divide what is left of the budget over the rounds that are probably still needed."""
        pending = {id(state): max(_WANTED_ROUNDS - state.rounds, 3) for state in active}
        each = (deadline - time.monotonic()) / sum(pending.values())
        slices = {}
        for state in active:
            fewest_left = max(self._effort.rounds - state.rounds, 1)
            affordable = each * pending[id(state)] / fewest_left - state.overhead
            worth = min(affordable, _SLICE_OVER_OVERHEAD * state.overhead)
            slices[id(state)] = min(_LONGEST_SLICE, max(_SHORTEST_SLICE, each - state.overhead, worth))
        return slices


FEWEST_ROUNDS = 8
"""Fewest rounds of the screening."""
_SCREEN_SHARE = 0.6
_LOOK_EVERY = 4
_MOST_ROUNDS = 200
_MOST_CONFIRMING = 100
NULL_SHARE = 0.25
_SLICE_SECONDS = 0.3
_WANTED_SCREENING = 12
_TURNS = 400
BATCH_SECONDS = 0.25e-3
"""Shorter than `run`'s: the sooner the sides alternate, the less of a spell of noise do they not share."""


class TwoStages:
    """Screen every row, then measure afresh what seems to have changed; what is clearly unchanged rests.

    ``margin`` is a share: a change within it does not count. A hidden second copy of base takes part in a random
    quarter of the cases: what is found there cannot be a change. ``flagged`` are the rows of an interrupted run that
    were past the screening.
    """

    def __init__(
        self, effort: Effort, margin: float, flagged: Mapping[tuple[Case, str, str], Confirmation] | None = None
    ) -> None:
        self._effort, self._margin = effort, margin
        self._rng = Random(effort.seed)
        self._resting: set[tuple[Case, str, str]] = set()
        self._flagged: dict[tuple[Case, str, str], Confirmation] = dict(flagged or {})
        self._screened = flagged is not None

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep | Event]:
        """Screen, confirm, and use what is left of the time."""
        if not self._screened:
            screened = time.monotonic() + _SCREEN_SHARE * max(0.0, deadline - time.monotonic())
            yield from self._until(screened, states, max(FEWEST_ROUNDS, self._effort.rounds))
            self._flag(states, deadline)
        yield Flagged(self._flagged)
        yield from self._confirm([state for state in states if self._flagged_of(state)], deadline)
        yield from self._until(deadline, [state for state in states if self._undecided(state)], 0)

    def evidence(self, state: CaseState, row: Row) -> verdicts.Evidence:
        """Weigh the rounds of a row's screening."""
        name, clock = row
        return verdicts.paired(state.log_ratios(clock, (HEAD, name), (BASE, name)), self._margin)

    def _open(self, state: CaseState) -> list[Row]:
        done = self._resting | self._flagged.keys()
        return [row for row in state.rows() if (state.case, *row) not in done]

    def _flagged_of(self, state: CaseState) -> list[Row]:
        return [row for row in state.rows() if (state.case, *row) in self._flagged]

    def _undecided(self, state: CaseState) -> bool:
        return any(self.evidence(state, row).within > verdicts.EQUIVALENCE_LEVEL for row in self._open(state))

    def _flag(self, states: Sequence[CaseState], deadline: float) -> None:
        """Flag what seems to have changed, and settle how many fresh rounds will confirm it."""
        evidence = {}
        for state in states:
            weighed = {row: self.evidence(state, row) for row in self._open(state)}
            evidence[id(state)] = {row: seen for row, seen in weighed.items() if needs_confirmation(seen)}
        confirming = [state for state in states if evidence[id(state)]]
        level = verdicts.LEVEL / 2 / max(1, sum(map(len, evidence.values())))
        shortest = sum(state.overhead + _SHORTEST_SLICE for state in confirming)
        affordable = int((deadline - time.monotonic()) / shortest) if confirming else 0
        most = max(verdicts.fewest_to_confirm(level, verdicts.smallest_paired), min(affordable, _MOST_CONFIRMING))
        for state in confirming:
            rows = evidence[id(state)]
            rounds = max(min(most, verdicts.rounds_to_confirm(seen, level) or most) for seen in rows.values())
            planned = Confirmation(state.next_round, rounds)
            self._flagged.update({(state.case, *row): planned for row in rows})

    def _confirm(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep]:
        """Measure what was flagged afresh, as far as that was not done before an interruption."""
        left = {}
        for state in states:
            planned = self._planned(state)
            left[id(state)] = planned.first + planned.rounds - state.next_round
        states = [state for state in states if left[id(state)] > 0]
        seconds = _slice(deadline, states, sum(left[id(state)] for state in states) / max(1, len(states)))
        witnesses = self._witnesses(states)
        for number in range(max(left.values(), default=0)):
            yield self._sweep(
                [state for state in states if number < left[id(state)]], self._flagged_of, seconds, witnesses
            )

    def _planned(self, state: CaseState) -> Confirmation:
        """Return the confirmation of a case: its rows share their rounds."""
        return next(self._flagged[state.case, *row] for row in self._flagged_of(state))

    def _until(self, deadline: float, states: Sequence[CaseState], fewest: int) -> Iterator[Sweep]:
        """Sweep over the rows that are open until the deadline, each case ``fewest`` times at least."""
        witnesses = self._witnesses(states)
        for number in range(_MOST_ROUNDS):
            going_on = [state for state in states if self._open(state)]
            seconds = _slice(deadline, going_on, max(_WANTED_SCREENING - number, 4))
            cost = sum(state.overhead + seconds for state in going_on)
            late = time.monotonic() + cost > deadline
            going_on = [state for state in going_on if not late or state.rounds < fewest]
            if not going_on:
                return
            yield self._sweep(going_on, self._open, seconds, witnesses)
            if (number + 1) % _LOOK_EVERY == 0:
                for state in states:
                    if state.rounds >= fewest:
                        rows = self._open(state)
                        self._resting.update((state.case, *row) for row in rows if can_stop(self.evidence(state, row)))

    def _witnesses(self, states: Sequence[CaseState]) -> set[int]:
        """Choose the cases in which the hidden copy of base takes part."""
        return {id(state) for state in self._rng.sample(list(states), ceil(NULL_SHARE * len(states)))}

    def _sweep(
        self,
        states: Sequence[CaseState],
        rows: Callable[[CaseState], list[Row]],
        seconds: float,
        witnesses: Collection[int],
    ) -> Sweep:
        return [
            Request(
                state,
                tuple(rows(state)),
                seconds,
                BATCH_SECONDS,
                sides=(0, 1, 2) if id(state) in witnesses else (0, 1),
                turns=_TURNS,
            )
            for state in self._rng.sample(list(states), len(states))
        ]


def _slice(deadline: float, states: Sequence[CaseState], rounds: float) -> float:
    """Return how long the turns of a round may take if each case gets so many until the deadline."""
    if not states:
        return _SHORTEST_SLICE
    each = (deadline - time.monotonic()) / (rounds * len(states))
    overhead = sum(state.overhead for state in states) / len(states)
    return min(_SLICE_SECONDS, max(_SHORTEST_SLICE, each - overhead))
