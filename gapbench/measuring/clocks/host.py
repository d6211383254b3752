"""`host`: wall time of the calling thread, with warm caches. For devices that compute synchronously.

One call before each batch is not counted: another contender has just used the caches, and the first call after it pays
for that. Where calls of 70 µs were counted from the first on, in batches of 0.25 ms, they came out up to 50 % too long.
"""

from collections.abc import Sequence

from torch import Tensor

from gapbench.measuring.clocks import loop
from gapbench.measuring.clocks.base import Clock
from gapbench.passes import Call


class Host(Clock):
    """Time calls that are complete when they return."""

    name = "host"

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        calls[0]()
        return loop.timed(loop.cycled(calls, count))
