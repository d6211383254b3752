"""`host`: wall time of the calling thread, with warm caches. For devices that compute synchronously."""

from collections.abc import Sequence

from torch import Tensor

from gapbench.measuring.clocks import loop
from gapbench.measuring.clocks.base import Call, Clock


class Host(Clock):
    """Time calls that are complete when they return."""

    name = "host"

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        return loop.timed(loop.cycled(calls, count))
