"""One case while it is measured: who still takes part, and what its rounds say so far."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import log

import numpy as np

from gapbench.measuring.case_processes import CaseProcesses
from gapbench.measuring.events import RoundMeasured
from gapbench.measuring.plan import Contest, Plan
from gapbench.measuring.protocol import Calibration
from gapbench.statistics import stats
from gapbench.statistics.stats import Floats, Interval
from gapbench.store.records import UNRANKED
from gapbench.workloads.cases import Case

Row = tuple[str, str]
"""An implementation and a clock."""

_FIRST_OVERHEAD = 0.2
"""Seconds a round takes beyond its turns (fork, inputs, answers, checks), until the case has told its own."""


@dataclass(slots=True)
class CaseState:
    """A contest on its way; ``sides`` are those on which an implementation must be right to take part."""

    contest: Contest
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
        return self.contest.case

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
            for clock in self.contest.clocks
            if all(side * count + place in able and (clock, side * count + place) not in refused for side in needed)
        ]

    def entries(self, rows: Iterable[Row], sides: Iterable[int] = (0,)) -> dict[str, tuple[int, ...]]:
        """Return by clock the contenders that a round of ``rows`` times, on the sides given by number."""
        count, able = len(self.processes.names), set(self.processes.contenders)
        found: dict[str, list[int]] = {}
        sides = tuple(sides)
        for name, clock in rows:
            indices = (side * count + self.processes.names.index(name) for side in sides)
            found.setdefault(clock, []).extend(index for index in indices if index in able)
        return {clock: tuple(sorted(indices)) for clock, indices in found.items()}

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
        return self.case.operation not in UNRANKED

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
        found = self.log_ratios(clock, (self._side, name), (self._side, other))
        return found if len(found) else np.full(1, np.inf)

    def base_of(self, clock: str) -> str | None:
        """Return the implementation whose ratios are to be known: the fastest, or the reference where nobody wins."""
        return self.best(clock) if self.ranked else self.contest.reference

    def newly_raced(self) -> Iterator[Row]:
        """Yield rows that are shown to be clearly slower than the fastest, and let them take no more turns."""
        for clock in self.contest.clocks if self.ranked else ():
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
