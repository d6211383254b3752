"""Who computes next, where one round's contenders sit in several processes: base's in one, head's in another.

All of them know the whole order beforehand, and hand a baton (a byte in a pipe) to the owner of the next step, so that
exactly one computes at a time and nobody has to be asked in between.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from gapbench.measuring.messages import Line

Calibrated = dict[int, tuple[int, float]]
"""By contender: how many calls make a batch, and the wall seconds that it takes."""


class Peers(Protocol):
    """The processes that share a round, as one of them sees them: it is number ``side`` of ``sides``."""

    side: int
    sides: int

    def own(self, owners: Sequence[int]) -> Iterator[int]:
        """Yield the places in ``owners`` (a side for each step) that are this process's, each when it is its turn."""

    def agree(self, calibrated: Calibrated) -> Calibrated:
        """Return what holds for all sides, given what this one found."""


class _Alone:
    """Every contender is in this process."""

    side, sides = 0, 1

    def own(self, owners: Sequence[int]) -> Iterator[int]:
        return iter(range(len(owners)))

    def agree(self, calibrated: Calibrated) -> Calibrated:
        return calibrated


ALONE: Peers = _Alone()


class Relay:
    """One side of several: ``inbox`` is the descriptor that it reads batons from, ``outboxes`` those of the others.

    Agreement goes through the parent, on ``line``. From then on all sides compute on the processor ``core``,
    where one is given: with a side on each of two cores, whatever else runs on one of them slows one side only.
    Measured with other work on a 2-core machine, that made 9 % scatter of a round's ratio out of 0.8 %.
    """

    def __init__(self, line: Line, side: int, inbox: int, outboxes: Mapping[int, int], core: int | None = None) -> None:
        self.side, self.sides = side, len(outboxes) + 1
        self._line, self._inbox, self._outboxes, self._core = line, inbox, outboxes, core

    def own(self, owners: Sequence[int]) -> Iterator[int]:
        """Yield this side's places in ``owners``. The baton lies with side 0 before and after."""
        steps = (0, *owners, 0)
        for step, owner in enumerate(steps):
            if owner != self.side:
                continue
            if step and steps[step - 1] != owner and not os.read(self._inbox, 1):
                raise SystemExit  # the others have gone, and the parent knows why
            if 0 < step <= len(owners):
                yield step - 1
            if step <= len(owners) and steps[step + 1] != owner:
                os.write(self._outboxes[steps[step + 1]], b"b")

    def agree(self, calibrated: Calibrated) -> Calibrated:
        """Send the parent what this side found, and return what it makes of all: see `merged`."""
        self._line.send(calibrated)
        answer: Calibrated = self._line.recv()
        if self._core is not None:
            os.sched_setaffinity(0, {self._core})
        return answer


def merged(sides: Sequence[Calibrated]) -> Calibrated:
    """Return the batches that all sides take: the larger number of calls of each contender, the seconds added up."""
    return {index: (max(side[index][0] for side in sides), sum(side[index][1] for side in sides)) for index in sides[0]}
