"""What happens while a plan is measured, as typed events: for the store, for progress, and for policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gapbench.measuring.protocol import RoundResult
from gapbench.statistics.stats import Floats
from gapbench.store.records import THIS, Qualification
from gapbench.store.run import Warning
from gapbench.workloads.cases import Case


@dataclass(frozen=True, slots=True)
class Ready:
    """The processes that workers are forked from are loaded."""


@dataclass(frozen=True, slots=True)
class Qualified:
    """An implementation was judged on a case, or dropped from it later (from one ``clock`` only, if one is named)."""

    case: Case
    implementation: str
    qualification: Qualification
    clock: str | None = None
    contender: str = THIS
    memory: str = "kept"


@dataclass(frozen=True, slots=True)
class Warned:
    """What another machine says against what was measured on it."""

    warnings: list[Warning]


@dataclass(frozen=True, slots=True)
class CeilingsMeasured:
    """The limits of all devices that the cases use, as run.json has them (see `gapbench.store.ceilings`)."""

    ceilings: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class EnergyMeasured:
    """What one call of an implementation draws, where the device counts; ``sources`` say for each device what does.

    A source is ``{"device", "source", "reason"}``, as run.json has it: where there is no source, there is a reason.
    """

    sources: list[dict[str, Any]]
    joules: dict[tuple[Case, str], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundMeasured:
    """One round of one case; contender i is implementation ``names[i % len(names)]`` of ``sides[i // len(names)]``."""

    case: Case
    round: int
    process: int
    names: tuple[str, ...]
    result: RoundResult
    sides: tuple[str, ...] = (THIS,)
    memory: str = "kept"

    def contender(self, index: int) -> tuple[str, str]:
        """Return a contender's side and implementation."""
        side, name = divmod(index, len(self.names))
        return self.sides[side], self.names[name]

    def by_turn(self, clock: str) -> dict[tuple[str, str], Floats]:
        """Return each contender's seconds per call by ``clock`` in every turn, nan in those that it sat out."""
        batches = self.result.batches[clock]
        contenders, turns = np.array(batches.contender), np.array(batches.turn)
        seconds = np.array(batches.seconds_per_call)
        numbers = {turn: place for place, turn in enumerate(sorted(set(batches.turn)))}
        found = {}
        for index in np.unique(contenders):
            mine = contenders == index
            values = np.full(len(numbers), np.nan)
            values[[numbers[turn] for turn in turns[mine]]] = seconds[mine]
            found[self.contender(int(index))] = values
        return found


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker died while it ran ``implementation``; its round is measured again by another one."""

    case: Case
    implementation: str
    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class SidesSeparated:
    """Two sides of a case cannot share a process, for a ``reason``: each has its own, and they take turns."""

    case: Case
    reason: str


@dataclass(frozen=True, slots=True)
class Raced:
    """An implementation is shown to be clearly slower than the fastest, and takes no more turns by this clock."""

    case: Case
    implementation: str
    clock: str
    memory: str = "kept"


class Confirmation(NamedTuple):
    """The fresh rounds that confirm a row: the number of the ``first`` of them, and how many of its case are planned.

    They are planned before the first is measured, and kept where the run is interrupted: whoever plans again after a
    look at some of them could stop where it suits.
    """

    first: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Flagged:
    """The screening is over; these rows (case, implementation, clock) are confirmed by fresh rounds."""

    rows: Mapping[tuple[Case, str, str], Confirmation]


@dataclass(frozen=True, slots=True)
class CaseDone:
    """No more rounds of this case: ``stopped_by`` is target, budget or failed."""

    case: Case
    stopped_by: str
    memory: str = "kept"


Event = (
    Ready | Qualified | Warned | CeilingsMeasured | EnergyMeasured | RoundMeasured | WorkerLost | SidesSeparated | Raced
    | Flagged | CaseDone
)  # fmt: skip
