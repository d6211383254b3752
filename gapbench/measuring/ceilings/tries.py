"""The best of many tries: the only estimate of a ceiling, and when it may be believed.

Whatever else a machine does only slows a try down, so the fastest is nearest to the truth. But one that was never seen
again may be a fluke, and where none was quiet the best is no ceiling: only a best that recurs counts.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from gapbench.measuring.clocks import loop

SHORTEST_TRY = 0.3e-3
"""Seconds of one try: what starting and ending it costs is below 1 % of that."""

_AGREEING = 3
_AGREEMENT = 0.04
_FEWEST = 2
"""Tries a visit, however long each takes: of memory, one takes some milliseconds."""

_VISIT_SECONDS = 4e-3


class UnmeasurableError(Exception):
    """A ceiling cannot be measured here; the message is the reason, with the remedy."""


class Work(Protocol):
    """Do something ``repeats`` times."""

    def __call__(self, repeats: int) -> object:
        """Return when it is done."""
        ...


@dataclass(slots=True)
class Tries:
    """One piece of work that moves ``nbytes`` each time, and what its tries have taken so far.

    A best below ``least`` (bytes per second) cannot be the truth, as where threads together are slower than one alone.
    """

    nbytes: int
    work: Work
    repeats: int = 1
    least: float = 0.0
    rates: list[float] = field(default_factory=list)

    def go_on(self, seconds: float = _VISIT_SECONDS) -> None:
        """Try for so long, some times at least; tries that were too short to be told are made longer, and forgotten."""
        self.work(1)  # wakes threads that sleep
        began, tried = loop.now(), 0
        while True:
            start = loop.now()
            self.work(self.repeats)
            taken = loop.now() - start
            if taken < SHORTEST_TRY:
                self.repeats = max(2 * self.repeats, int(self.repeats * 1.2 * SHORTEST_TRY / max(taken, 1e-9)))
                self.rates.clear()
                continue
            self.rates.append(self.repeats * self.nbytes / taken)
            tried += 1
            if tried >= _FEWEST and loop.now() - began >= seconds:
                return

    @property
    def recurs(self) -> bool:
        """Whether the best was nearly reached again, and again, and may be the truth."""
        best = sorted(self.rates)[-_AGREEING:]
        return len(best) == _AGREEING and best[0] >= max(self.least, best[-1] * (1 - _AGREEMENT))

    @property
    def gbps(self) -> float:
        """The best so far, in 10^9 bytes a second."""
        return max(self.rates, default=0.0) / 1e9


def settle(all_tries: Iterable[Tries], visits: int, most_seconds: float) -> None:
    """Try all in turns, so that a spell of noise meets no one alone.

    Those whose best does not recur after so many ``visits`` get more, until ``most_seconds`` have passed.
    """
    open_ = list(all_tries)
    deadline = loop.now() + most_seconds
    for visit in itertools.count(1):
        for one in open_:
            one.go_on()
        if visit >= visits:
            open_ = [one for one in open_ if not one.recurs]
        if not open_ or loop.now() >= deadline:
            return


def smallest_call(call: Callable[[], object], calls: int, tries: int) -> float:
    """Return the seconds of one of ``calls`` back to back, the best of ``tries``."""
    best = float("inf")
    for _ in range(tries):
        start = loop.now()
        for _ in range(calls):
            call()
        best = min(best, loop.now() - start)
    return best / calls
