"""`host`: wall time of the calling thread, with warm caches. For devices that compute synchronously.

One call before each batch is not counted: another contender has just used the caches, and the first call after it pays
for that. Where calls of 70 µs were counted from the first on, in batches of 0.25 ms, they came out up to 50 % too long.

Where in memory an input and the temporaries lie changes a call by up to 20 %, for as long as a process lives. So the
input lies in several places, and turns go from one to the next, all contenders together: rounds of a bfloat16 mean
then scatter by 2 % and not by 9.
"""

from collections.abc import Sequence
from itertools import repeat

from torch import Tensor

from gapbench.measuring.clocks import loop
from gapbench.measuring.clocks.base import Clock
from gapbench.passes import Call

_PLACES = 4
_LARGEST = 1 << 26


class Host(Clock):
    """Time calls that are complete when they return."""

    name = "host"
    uncounted_calls = 1

    def rotations(self, case_bytes: int) -> int:
        """Return how many places there are, together no larger than 64 MiB where one is not."""
        return min(_PLACES, max(1, _LARGEST // max(1, case_bytes)))

    def at_place(self, calls: Sequence[Call], place: int) -> Sequence[Call]:
        """Return the call on that place."""
        return (calls[place % len(calls)],)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        calls[0]()
        return loop.timed(repeat(calls[0], count))
