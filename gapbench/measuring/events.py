"""The typed events of measuring a plan: for the store, for progress, and for policies."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gapbench.measuring.protocol import RoundResult
from gapbench.statistics.stats import Floats
from gapbench.store.records import THIS, Qualification
from gapbench.store.run import FlaggedRow, Warning
from gapbench.workloads.cases import Case


@dataclass(frozen=True, slots=True)
class Ready:
    """The fork servers are loaded."""


@dataclass(frozen=True, slots=True)
class Qualified:
    """An implementation was judged on a case, or dropped from it later; with ``clock``, only from that clock."""

    case: Case
    implementation: str
    qualification: Qualification
    clock: str | None = None
    contender: str = THIS
    memory: str = "kept"


@dataclass(frozen=True, slots=True)
class Warned:
    """Warnings about the run, or what another machine measured."""

    warnings: list[Warning]


@dataclass(frozen=True, slots=True)
class CeilingsMeasured:
    """The ceilings of all devices that the cases use, as in run.json (see `gapbench.store.ceilings`)."""

    ceilings: list[dict[str, Any]]


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
        """Return each contender's seconds per call by ``clock`` in every turn, NaN in turns without it."""
        batches = self.result.batches[clock]
        contenders, rows = np.unique(batches.contender, return_inverse=True)
        turns, columns = np.unique(batches.turn, return_inverse=True)
        seconds = np.full((len(contenders), len(turns)), np.nan)
        seconds[rows, columns] = batches.seconds_per_call
        return {self.contender(int(index)): row for index, row in zip(contenders, seconds, strict=True)}


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker died while it ran ``implementation``; another one measures its round again."""

    case: Case
    implementation: str
    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class SidesSeparated:
    """Two sides of a case cannot share a process, for this ``reason``; each has its own, and they take turns."""

    case: Case
    reason: str


@dataclass(frozen=True, slots=True)
class Raced:
    """An implementation is clearly slower than the fastest, and takes no more turns by this clock."""

    case: Case
    implementation: str
    clock: str
    memory: str = "kept"


@dataclass(frozen=True, slots=True)
class Flagged:
    """The screening is over; fresh rounds confirm these rows."""

    rows: tuple[FlaggedRow, ...]


@dataclass(frozen=True, slots=True)
class CaseDone:
    """No more rounds of this case: ``stopped_by`` is target, budget or failed."""

    case: Case
    stopped_by: str
    memory: str = "kept"


Event = (
    Ready | Qualified | Warned | CeilingsMeasured | RoundMeasured | WorkerLost | SidesSeparated | Raced | Flagged
    | CaseDone
)  # fmt: skip
