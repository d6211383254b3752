"""Clocks: named timing protocols, one file each.

A clock's ``batch(call, calls)`` runs ``call`` that many times back to back and returns the seconds of the whole
and the last output. All time that gapbench reports comes from a clock.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from gapbench.measuring.clocks.host import Host


class Clock(Protocol):
    """A timing protocol."""

    name: str

    def batch(self, call: Callable[[], Tensor], calls: int) -> tuple[float, Tensor]:
        """Run ``calls`` >= 1 calls; return the seconds of all of them together and the last output."""
        ...


CLOCKS: tuple[type[Clock], ...] = (Host,)


def clock(name: str) -> Clock:
    """Return the clock called ``name``."""
    return next(kind for kind in CLOCKS if kind.name == name)()
