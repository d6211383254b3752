"""`host`: wall time of the calling thread, with warm caches. For devices that compute synchronously."""

from collections.abc import Callable
from itertools import repeat
from time import perf_counter_ns  # bound before any user's code is imported, which might replace time's

from torch import Tensor


class Host:
    """Time calls that are complete when they return."""

    name = "host"

    def batch(self, call: Callable[[], Tensor], calls: int) -> tuple[float, Tensor]:
        """Run ``calls`` calls back to back, each output alive until the next is there."""
        output = None
        start = perf_counter_ns()
        for _ in repeat(None, calls):
            output = call()
        end = perf_counter_ns()
        assert output is not None
        return (end - start) * 1e-9, output
