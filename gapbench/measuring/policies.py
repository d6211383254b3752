"""What to measure next, and when to stop: policies yield events and sweeps, rounds of several cases in order."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, log
from random import Random
from typing import Protocol

import numpy as np

from gapbench import operations
from gapbench.measuring.case_processes import CaseProcesses
from gapbench.measuring.events import CaseDone, Event, Flagged, Raced, RoundMeasured
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.measuring.protocol import Calibration
from gapbench.measuring.schedule import MOST_TURNS
from gapbench.statistics import bisection, stats, verdicts
from gapbench.statistics.stats import Floats, Interval
from gapbench.statistics.verdicts import can_stop, needs_confirmation
from gapbench.store.records import BAD, BASE, HEAD, NULL
from gapbench.store.run import FlaggedRow
from gapbench.workloads.cases import Case

Row = tuple[str, str]  # an implementation and a clock
RowKey = tuple[str, str, str]  # a case's id before them

SidedName = tuple[str, str]  # a side and an implementation
RowsOf = Callable[["CaseState"], list[Row]]

_FIRST_OVERHEAD = 0.2
"""Seconds of a round beside its turns (fork, inputs, expected outputs, checks), until the case's own are measured."""


@dataclass(slots=True, eq=False)
class CaseState:
    """The progress of a case plan.

    ``next_round`` exceeds ``rounds`` where a round was lost before a run was resumed. ``overhead`` is the seconds of a
    round beside its turns. ``raced`` rows were stopped early.
    """

    case_plan: CasePlan
    plan: Plan
    processes: CaseProcesses
    rounds: int = 0
    next_round: int = 0
    overhead: float = _FIRST_OVERHEAD
    raced: set[Row] = field(default_factory=set)
    calibration: dict[str, Calibration] = field(default_factory=lambda: defaultdict(dict))
    _turns: list[Mapping[str, Mapping[SidedName, Floats]]] = field(default_factory=list)
    _ratios: dict[tuple[str, SidedName, SidedName], list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def case(self) -> Case:
        """The case."""
        return self.case_plan.case

    def key(self, row: Row) -> RowKey:
        """Return what identifies a row among those of all cases."""
        return self.case.id, *row

    def rows(self) -> list[Row]:
        """Return the rows that are ok on two sides, hidden copies aside, or on the only side."""
        count, able = len(self.processes.names), set(self.processes.contenders)
        refused = self.processes.refused
        sides = [number for number, side in enumerate(self.plan.sides) if side.name != NULL]

        def timed(clock: str, index: int) -> bool:
            return index in able and (clock, index) not in refused

        return [
            (name, clock)
            for number, name in enumerate(self.processes.names)
            for clock in self.case_plan.clocks
            if sum(timed(clock, side * count + number) for side in sides) >= min(2, len(sides))
        ]

    def entries(self, rows: Iterable[Row], sides: Iterable[int] = (0,)) -> dict[str, tuple[int, ...]]:
        """Return the contenders that a round of ``rows`` times, by clock, on the sides with these numbers."""
        names, able = self.processes.names, set(self.processes.contenders)
        by_clock: dict[str, set[int]] = {}
        for name, clock in rows:
            indices = {side * len(names) + names.index(name) for side in sides}
            by_clock.setdefault(clock, set()).update(indices & able)
        return {clock: tuple(sorted(indices)) for clock, indices in by_clock.items()}

    def record(self, measured: RoundMeasured) -> None:
        """Add a finished round."""
        self.rounds += 1
        self.next_round = max(self.next_round, measured.round + 1)
        self._turns.append({clock: measured.by_turn(clock) for clock in measured.result.batches})
        for clock, calibration in measured.result.calibration.items():
            self.calibration[clock].update(calibration)

    def time_round(self, wall: float, timed: float) -> None:
        """Update the overhead by a round of ``wall`` seconds, ``timed`` of them inside its turns."""
        self.overhead += (max(0.0, wall - timed) - self.overhead) / 4

    def log_ratios(self, clock: str, numerator: SidedName, denominator: SidedName) -> Floats:
        """Return the log ratio of two contenders' times in each round that both took part in."""
        ratios = self._ratios[clock, numerator, denominator]
        for turns in self._turns[len(ratios) :]:
            seconds = turns.get(clock, {})
            both = numerator in seconds and denominator in seconds
            ratios.append(stats.round_log_ratio(seconds[numerator], seconds[denominator]) if both else np.nan)
        return np.array([ratio for ratio in ratios if not np.isnan(ratio)])

    # For precision and racing

    @property
    def ranked(self) -> bool:
        """Whether the implementations compute the same, so that one of them wins."""
        return operations.operation(self.case.operation).ranked

    def best(self, clock: str) -> str | None:
        """Return the fastest implementation among those not raced, which took part in every round."""
        names = [name for name, by in self.rows() if by == clock and (name, by) not in self.raced]
        if not names or not self.rounds:
            return None
        return min(names, key=lambda name: float(np.median(self._against(clock, name, names[0]))))

    def _against(self, clock: str, name: str, other: str) -> Floats:
        side = self.plan.sides[0].name
        ratios = self.log_ratios(clock, (side, name), (side, other))
        return ratios if len(ratios) else np.full(1, np.inf)

    def base_of(self, clock: str) -> str | None:
        """Return the implementation that ratios are taken against: the fastest, or the reference in unranked cases."""
        return self.best(clock) if self.ranked else self.case_plan.reference

    def newly_raced(self) -> Iterator[Row]:
        """Yield rows that are shown to be clearly slower than the fastest, and exclude them from further turns."""
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
        base, side = self.base_of(clock), self.plan.sides[0].name
        if base is None or base == name:
            return Interval(0.0, 0.0, 0.0)
        return stats.location(self.log_ratios(clock, (side, name), (side, base)))


@dataclass(frozen=True, slots=True)
class Request:
    """A round of ``rows`` of a case on ``sides``: ``seconds`` of turns, ``turns`` at most, one for rows in ``once``."""

    state: CaseState
    rows: tuple[Row, ...]
    seconds: float
    batch_seconds: float
    sides: tuple[int, ...] = (0,)
    turns: int = MOST_TURNS
    once: tuple[Row, ...] = ()

    def entries(self) -> dict[str, tuple[int, ...]]:
        """Return the contenders to time, by clock: those of the rows that are still ok."""
        able = set(self.state.rows())
        return self.state.entries([row for row in self.rows if row in able], self.sides)


Sweep = list[Request]


class Policy(Protocol):
    """The interface of policies."""

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep | Event]:
        """Yield sweeps and events until enough is known or ``deadline`` (on `time.monotonic`'s scale) has passed."""


_WANTED_ROUNDS = 14
"""Rounds of each case among which the budget is divided; time that cases leave when they reach their target early goes
to the others."""
_SHORTEST_SLICE, _LONGEST_SLICE = 0.05, 1.0
_SLICE_OVER_OVERHEAD = 2.0
"""Wanted length of a round's turns over its overhead, where the budget allows that for the fewest rounds."""


class Precision:
    """The policy of `run`: measure until every ratio is known to the target; clearly slower rows stop early."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep | Event]:
        """Sweep over the cases that have not reached the target."""
        effort, rng = self._effort, Random(self._effort.seed)
        active, first = list(states), dict[CaseState, float]()
        while True:
            unfinished = []
            for state in active:
                for name, clock in state.newly_raced() if effort.race else ():
                    yield Raced(state.case, name, clock, state.case_plan.memory)
                if reason := self._finished(state):
                    yield CaseDone(state.case, reason, state.case_plan.memory)
                else:
                    unfinished.append(state)
            if not unfinished:
                return
            rng.shuffle(unfinished)
            seconds = self._slices(unfinished, deadline)
            first = first or seconds
            spent = time.monotonic() >= deadline
            sweep, active = [], []
            for state in unfinished:
                # A last round in a rest of the budget would be noise, so it is not begun.
                if state.rounds >= effort.rounds and (spent or seconds[state] < first[state] / 3):
                    yield CaseDone(state.case, "budget", state.case_plan.memory)
                    continue
                rows = tuple(self._rows(state))
                once = tuple(row for row in rows if row in state.raced)
                sweep.append(Request(state, rows, seconds[state], effort.batch_seconds, once=once))
                active.append(state)
            if sweep:
                yield sweep

    def _finished(self, state: CaseState) -> str | None:
        """Return why no more rounds of a case are needed, None if they are."""
        if not self._rows(state):
            return "failed"
        wanted = [row for row in state.rows() if row not in state.raced]
        precise = (state.interval(row).half_width <= self._effort.target for row in wanted)
        return "target" if state.rounds >= self._effort.rounds and all(precise) else None

    def _rows(self, state: CaseState) -> list[Row]:
        """Return the rows of the next round: raced ones take a turn in each of the first, the reference in one more."""
        fewest = self._effort.rounds
        return [
            row
            for row in state.rows()
            if row not in state.raced or state.rounds < fewest - (row[0] != state.case_plan.reference)
        ]

    def _slices(self, active: Sequence[CaseState], deadline: float) -> dict[CaseState, float]:
        pending = {state: max(_WANTED_ROUNDS - state.rounds, 3) for state in active}
        each = (deadline - time.monotonic()) / sum(pending.values())
        slices = {}
        for state in active:
            fewest_left = max(self._effort.rounds - state.rounds, 1)
            affordable = each * pending[state] / fewest_left - state.overhead
            wanted = min(affordable, _SLICE_OVER_OVERHEAD * state.overhead)
            slices[state] = min(_LONGEST_SLICE, max(_SHORTEST_SLICE, each - state.overhead, wanted))
        return slices


FEWEST_ROUNDS = 8  # fewest rounds of the screening
_SCREEN_SHARE = 0.6
_LOOK_EVERY = 4
_MOST_ROUNDS = 200
_MOST_CONFIRMING = 100
NULL_SHARE = 0.25
_SLICE_SECONDS = 0.3
_WANTED_SCREENING = 12
_TURNS = 400
BATCH_SECONDS = 0.25e-3  # shorter than `run`'s: the faster the sides alternate, the more of a spell of noise they share


class TwoStages:
    """The policy of `ab`: screen every row, then measure fresh rounds of those that seem to have changed.

    Clearly unchanged rows stop early; changes within ``margin``, a share, do not count. A hidden copy of base takes
    part in a random quarter of the cases. ``flagged`` are the rows of an interrupted run whose screening was complete.
    """

    def __init__(self, effort: Effort, margin: float, flagged: Iterable[FlaggedRow] | None = None) -> None:
        self._effort, self._margin = effort, margin
        self._rng = Random(effort.seed)
        self._stopped: set[RowKey] = set()
        self._flagged = {row.key: row for row in flagged or ()}
        self._screened = flagged is not None

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep | Event]:
        """Screen, confirm, and use the rest of the time for rows that are undecided."""
        if not self._screened:
            screened = time.monotonic() + _SCREEN_SHARE * max(0.0, deadline - time.monotonic())
            yield from self._until(screened, states, max(FEWEST_ROUNDS, self._effort.rounds))
            self._flag(states, deadline)
        yield Flagged(tuple(self._flagged.values()))
        yield from self._confirm([state for state in states if self._flagged_of(state)], deadline)
        yield from self._until(deadline, [state for state in states if self._undecided(state)], 0)

    def evidence(self, state: CaseState, row: Row) -> verdicts.Evidence:
        """Return the evidence of a row's rounds so far."""
        name, clock = row
        return verdicts.paired(state.log_ratios(clock, (HEAD, name), (BASE, name)), self._margin)

    def _open(self, state: CaseState) -> list[Row]:
        done = self._stopped | self._flagged.keys()
        return [row for row in state.rows() if state.key(row) not in done]

    def _flagged_of(self, state: CaseState) -> list[Row]:
        return [row for row in state.rows() if state.key(row) in self._flagged]

    def _undecided(self, state: CaseState) -> bool:
        return any(self.evidence(state, row).p_equivalent > verdicts.EQUIVALENCE_LEVEL for row in self._open(state))

    def _flag(self, states: Sequence[CaseState], deadline: float) -> None:
        evidence = {state: {row: self.evidence(state, row) for row in self._open(state)} for state in states}
        flagged = {
            state: {row: result for row, result in rows.items() if needs_confirmation(result)}
            for state, rows in evidence.items()
        }
        flagged = {state: rows for state, rows in flagged.items() if rows}
        level = verdicts.LEVEL / 2 / max(1, sum(map(len, flagged.values())))
        shortest = sum(state.overhead + _SHORTEST_SLICE for state in flagged)
        affordable = int((deadline - time.monotonic()) / shortest) if flagged else 0
        most = max(verdicts.fewest_to_confirm(level, verdicts.smallest_paired), min(affordable, _MOST_CONFIRMING))
        for state, rows in flagged.items():
            rounds = max(min(most, verdicts.rounds_to_confirm(result, level) or most) for result in rows.values())
            self._flagged |= {state.key(row): FlaggedRow(*state.key(row), state.next_round, rounds) for row in rows}

    def _confirm(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep]:
        """Measure fresh rounds of flagged rows, those that are left where the run was interrupted."""
        left = {}
        for state in states:
            planned = self._flagged[state.key(self._flagged_of(state)[0])]  # a case's rows share their rounds
            left[state] = planned.round + planned.rounds - state.next_round
        states = [state for state in states if left[state] > 0]
        seconds = _slice(deadline, states, sum(left[state] for state in states) / max(1, len(states)))
        controls = self._null_controls(states)
        for number in range(max(left.values(), default=0)):
            yield self._sweep([state for state in states if number < left[state]], self._flagged_of, seconds, controls)

    def _until(self, deadline: float, states: Sequence[CaseState], fewest: int) -> Iterator[Sweep]:
        """Sweep over the open rows until the deadline, but at least ``fewest`` times over each case."""
        controls = self._null_controls(states)
        for number in range(_MOST_ROUNDS):
            active = [state for state in states if self._open(state)]
            seconds = _slice(deadline, active, max(_WANTED_SCREENING - number, 4))
            late = time.monotonic() + sum(state.overhead + seconds for state in active) > deadline
            active = [state for state in active if not late or state.rounds < fewest]
            if not active:
                return
            yield self._sweep(active, self._open, seconds, controls)
            if (number + 1) % _LOOK_EVERY == 0:
                for state in states:
                    if state.rounds >= fewest:
                        rows = self._open(state)
                        self._stopped.update(state.key(row) for row in rows if can_stop(self.evidence(state, row)))

    def _null_controls(self, states: Sequence[CaseState]) -> set[CaseState]:
        return set(self._rng.sample(list(states), ceil(NULL_SHARE * len(states))))

    def _sweep(
        self, states: Sequence[CaseState], rows: RowsOf, seconds: float, controls: Collection[CaseState]
    ) -> Sweep:
        order = self._rng.sample(list(states), len(states))
        sides = {state: (0, 1, 2) if state in controls else (0, 1) for state in order}
        return [Request(state, tuple(rows(state)), seconds, BATCH_SECONDS, sides[state], _TURNS) for state in order]


class Steps:
    """The policy of `matrix`: each sweep measures a round of every case, with all sides in turns.

    A case ends at the deadline, or at one of two earlier looks if each step is clearly within ``margin`` (a share) or
    beyond it. No case gets fewer rounds than can show a step.
    """

    def __init__(self, effort: Effort, margin: float) -> None:
        self._effort, self._margin, self._rng = effort, margin, Random(effort.seed)

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep | Event]:
        """Sweep over the cases that are not decided."""
        sides = tuple(range(len(states[0].plan.sides)))
        level = verdicts.STEP_LEVEL / max(1, sum(len(state.rows()) for state in states) * (len(sides) - 1))
        fewest = max(verdicts.fewest_to_confirm(level, verdicts.smallest_paired), self._effort.rounds)
        while states:
            seconds = _slice(deadline, states, max(_WANTED_SCREENING - min(state.rounds for state in states), 4))
            late = time.monotonic() + sum(state.overhead + seconds for state in states) > deadline
            reasons = {state: self._finished(state, level, fewest, late) for state in states}
            for state, reason in reasons.items():
                if reason:
                    yield CaseDone(state.case, reason, state.case_plan.memory)
            states = [state for state, reason in reasons.items() if not reason]
            self._rng.shuffle(states)
            if states:
                yield [Request(state, tuple(state.rows()), seconds, BATCH_SECONDS, sides, _TURNS) for state in states]

    def _finished(self, state: CaseState, level: float, fewest: int, late: bool) -> str | None:
        """Return why no more rounds of a case are measured, None if they are."""
        if not state.rows():
            return "failed"
        if state.rounds in range(fewest, verdicts.STEP_LOOKS * fewest, fewest):
            steps = (
                verdicts.paired(state.log_ratios(clock, (after.name, name), (before.name, name)), self._margin)
                for name, clock in state.rows()
                for before, after in pairwise(state.plan.sides)
            )
            if all(not each.rounds or can_stop(each) or min(each.p_slower, each.p_faster) <= level for each in steps):
                return "target"
        return "budget" if state.rounds >= (fewest if late else _MOST_ROUNDS) else None


class BetweenEnds:
    """The policy of a step of `bisect`: measure base, head and bad until ``log_odds`` of ``positions`` are clear."""

    def __init__(self, log_odds: Callable[[Floats], float]) -> None:
        self.positions: Floats = np.empty(0)
        self._log_odds = log_odds

    def schedule(self, states: Sequence[CaseState], deadline: float) -> Iterator[Sweep]:
        """Measure rounds of the only case until they are clear, or the deadline has passed."""
        (state,) = states
        while rows := tuple(state.rows()):
            is_clear = len(self.positions) > 0 and abs(self._log_odds(self.positions)) > bisection.CLEAR
            if state.rounds >= bisection.FEWEST_ROUNDS and (is_clear or time.monotonic() > deadline):
                return
            seconds = _slice(deadline, states, max(_WANTED_SCREENING - state.rounds, 4))
            yield [Request(state, rows, seconds, BATCH_SECONDS, (0, 1, 2), _TURNS)]
            ((name, clock),) = rows
            base, bad = (state.log_ratios(clock, (HEAD, name), (end, name)) for end in (BASE, BAD))
            if len(base) != len(bad):
                return  # bad failed
            self.positions = (base + bad) / 2


def _slice(deadline: float, states: Sequence[CaseState], rounds: float) -> float:
    """Return the seconds of a round's turns if each case gets ``rounds`` rounds until the deadline."""
    if not states:
        return _SHORTEST_SLICE
    each = (deadline - time.monotonic()) / (rounds * len(states))
    overhead = sum(state.overhead for state in states) / len(states)
    return min(_SLICE_SECONDS, max(_SHORTEST_SLICE, each - overhead))
