"""One case of an A/B measurement on its way: who still takes part, and what the rounds so far say of each row."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gapbench import operations
from gapbench.cases import Case
from gapbench.measuring.duel import Bout, Foul
from gapbench.measuring.engine import WorkerLost
from gapbench.measuring.plan import Contest
from gapbench.measuring.qualifying import SECONDS_PER_WEIGHT, Qualified
from gapbench.measuring.rounds import Assignment
from gapbench.records import BASE, HEAD, NULL, Qualification
from gapbench.two_stages import rests, worth_confirming
from gapbench.verdicts import EQUIVALENCE_LEVEL, Evidence, paired

_DEATHS_FORGIVEN = 1


@dataclass(frozen=True, slots=True)
class Row:
    """What gets a verdict."""

    case: Case
    implementation: str
    clock: str


class Meeting:
    """A contest whose implementations meet themselves from the other side."""

    def __init__(self, contest: Contest, margin: float) -> None:
        self.contest, self.case = contest, contest.case
        self.rounds = 0
        self.seconds = 0.1
        """What a round takes, wall time."""
        self.confirming = False
        """Whether its next rounds are for what is flagged, and for nothing else."""
        self._margin = margin
        self._able: Counter[str] = Counter()
        self._out: set[tuple[str, str]] = set()  # (implementation, clock) that failed on a side
        self._resting: set[Row] = set()
        self._flagged: set[Row] = set()
        self._deaths: Counter[str] = Counter()
        self._log_ratios: dict[Row, list[float]] = defaultdict(list)

    @property
    def patience(self) -> float:
        """Seconds more than others' that its workers may take to prepare."""
        weights = sum(operations.parameters(spec, self.case) for spec in self.contest.specs.values())
        return SECONDS_PER_WEIGHT * weights

    def qualify(self, qualified: Qualified) -> None:
        """Take in a side's judgement: whoever is right on both takes part."""
        self._able[qualified.implementation] += qualified.qualification.status == "ok"

    def rows(self) -> list[Row]:
        """Return the rows that take part."""
        return [
            Row(self.case, name, clock)
            for name in self.contest.specs
            for clock in self.contest.clocks
            if self._able[name] == 2 and (name, clock) not in self._out  # able on both sides
        ]

    def _next(self) -> list[Row]:
        """Return the rows that the next round is for."""
        if self.confirming:
            return [row for row in self.rows() if row in self._flagged]
        return [row for row in self.rows() if row not in self._resting and row not in self._flagged]

    def playing(self) -> bool:
        """Tell whether another round has a purpose."""
        return bool(self._next())

    def lineup(self) -> tuple[str, ...]:
        """Return the implementations that the next round is for."""
        return tuple(dict.fromkeys(row.implementation for row in self._next()))

    def assignment(self, seed: int, slice_seconds: float, batch_seconds: float, turns: int) -> Assignment:
        """Return the next round, of the `lineup`."""
        names = self.lineup()
        entries: dict[str, tuple[int, ...]] = {}
        for row in self._next():
            entries[row.clock] = (*entries.get(row.clock, ()), names.index(row.implementation))
        specs = tuple(self.contest.specs[name] for name in names)
        return Assignment(self.case, specs, entries, seed, slice_seconds, batch_seconds, turns)

    def record(self, bout: Bout, seconds: float) -> None:
        """Take in a round."""
        self.seconds += (seconds - self.seconds) / (4 if self.rounds else 1)
        self.rounds += 1
        for clock in self.contest.clocks:
            for name, value in bout.log_ratios(clock, HEAD, BASE).items():
                self._log_ratios[Row(self.case, name, clock)].append(value)

    def evidence(self, row: Row) -> Evidence:
        """Weigh the rounds so far."""
        return paired(np.array(self._log_ratios[row]), self._margin)

    def rest(self) -> None:
        """Let those rows rest that are clearly unchanged."""
        self._resting.update(row for row in self._next() if rests(self.evidence(row)))

    def flag(self) -> list[Row]:
        """Set those rows aside in which a change seems likely enough to measure them afresh, and return them."""
        found = [row for row in self._next() if worth_confirming(self.evidence(row))]
        self._flagged.update(found)
        return found

    def undecided(self) -> bool:
        """Tell whether there are rows neither flagged nor within the margin."""
        return any(self.evidence(row).within > EQUIVALENCE_LEVEL for row in self._next())

    def blame(self, foul: Foul) -> Iterator[Qualified | WorkerLost]:
        """Drop whoever prevented a round; a first death is forgiven."""
        fault, side = foul.fault, BASE if foul.side == NULL else foul.side
        names = self.lineup()
        blamed = names if fault.contender is None else (names[fault.contender],)
        culprit = "none of them" if fault.contender is None else blamed[0]
        if fault.status == "failed" and fault.clock is None and self._deaths[culprit] < _DEATHS_FORGIVEN:
            self._deaths[culprit] += 1
            yield WorkerLost(self.case, culprit, self.rounds, f"{side}: {fault.reason}")
            return
        for name in blamed:
            self._out.update((name, clock) for clock in ((fault.clock,) if fault.clock else self.contest.clocks))
            qualification = Qualification(fault.status, fault.reason)
            yield Qualified(self.case, name, qualification, fault.clock, side)
