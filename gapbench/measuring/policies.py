"""What is measured next, and when enough has been measured: precision for `run`, two stages for `ab`.

A policy yields sweeps (rounds of several cases, in the order to measure them) and what there is to tell; when it is
asked for the next sweep, the rounds of the last one are in the cases' states.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random
from typing import Protocol

from gapbench.measuring.case_state import CaseState, Row
from gapbench.measuring.events import CaseDone, Confirmation, Event, Flagged, Raced
from gapbench.measuring.plan import Effort
from gapbench.measuring.schedule import MOST_TURNS
from gapbench.statistics import verdicts
from gapbench.store.records import BASE, HEAD
from gapbench.workloads.cases import Case


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
                yield CaseDone(state.case, "failed", state.contest.memory)
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
                    yield CaseDone(state.case, "budget", state.contest.memory)
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
                    yield CaseDone(state.case, "failed", state.contest.memory)
                elif self._converged(state):
                    yield CaseDone(state.case, "target", state.contest.memory)
                else:
                    active.append(state)

    def _race(self, state: CaseState) -> Iterator[Event]:
        if self._effort.race:
            for name, clock in state.newly_raced():
                yield Raced(state.case, name, clock, state.contest.memory)

    def _rows(self, state: CaseState) -> list[Row]:
        """Return who takes turns in the next round; who was raced takes one in each of the first rounds.

        The reference in one round more, so that its ratios have intervals.
        """
        fewest = self._effort.rounds
        return [
            row
            for row in state.rows()
            if row not in state.raced or state.rounds < fewest - (row[0] != state.contest.reference)
        ]

    def _converged(self, state: CaseState) -> bool:
        rows = [row for row in state.rows() if row not in state.raced]
        return state.rounds >= self._effort.rounds and all(
            state.interval(row).half_width <= self._effort.target for row in rows
        )

    def _slices(self, active: Sequence[CaseState], deadline: float) -> dict[int, float]:
        """Divide what is left of the budget over the rounds that are probably still needed."""
        pending = {id(state): max(_WANTED_ROUNDS - state.rounds, 3) for state in active}
        each = (deadline - time.monotonic()) / sum(pending.values())
        found = {}
        for state in active:
            fewest_left = max(self._effort.rounds - state.rounds, 1)
            affordable = each * pending[id(state)] / fewest_left - state.overhead
            worth = min(affordable, _SLICE_OVER_OVERHEAD * state.overhead)
            found[id(state)] = min(_LONGEST_SLICE, max(_SHORTEST_SLICE, each - state.overhead, worth))
        return found


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
            evidence[id(state)] = {row: seen for row, seen in weighed.items() if verdicts.worth_confirming(seen)}
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
                        self._resting.update(
                            (state.case, *row) for row in rows if verdicts.rests(self.evidence(state, row))
                        )

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
