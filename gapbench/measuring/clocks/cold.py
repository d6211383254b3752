"""Cold, and proved so: inputs that together exceed the cache so far that none is left in it, and a canary.

The canary is data of our own, put into the cache, that must be gone when a batch claims to have been cold.
"""

from collections.abc import Callable, Sequence

from gapbench.machine.devices import UNKNOWN_CACHE, Device
from gapbench.measuring.clocks.base import ClockRefusedError, ClockUnsupportedError
from gapbench.workloads.passes import Call

Read = Callable[[Callable[[], object]], float]

_READS = 9
_LEAST_RATIO = 1.15
"""Cold to warm; below it, timings cannot tell the two apart."""


class Canary:
    """Data whose reading time tells whether the cache still holds it."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.touch = device.canary()
        """Read it, which brings it into the cache."""
        self.warm = self.cold = 0.0

    def calibrate(self, read: Read) -> None:
        """Learn what it takes to be read, warm and cold.

        ``read(displace)`` touches the canary, calls ``displace``, and returns the seconds of reading the canary again.
        Raises `ClockUnsupportedError` if a flush makes no difference: then nothing can be proved cold here.
        """
        # Other work on the machine only lengthens readings, so the shortest are the canary's own.
        self.warm = min(read(lambda: None) for _ in range(_READS))
        self.cold = min(read(self._device.flush) for _ in range(_READS))
        if self.cold < _LEAST_RATIO * self.warm:
            raise ClockUnsupportedError(
                f"the canary was read in {self.cold * 1e6:.2f} µs after a flush of {self._device.name}'s caches and in "
                f"{self.warm * 1e6:.2f} µs without: the flush does not reach the cache, so nothing can be proved cold"
            )

    def was_warm(self, seconds: float) -> bool:
        """Tell whether a reading that took ``seconds`` came from the cache: below the geometric mean of both."""
        return seconds * seconds < self.warm * self.cold

    def refusal(self) -> ClockRefusedError:
        """Return the error for a batch during which the canary stayed in the cache."""
        return ClockRefusedError(
            f"the canary was still in {self._device.name}'s cache after the calls: inputs were, too, and the time "
            "would be warm"
        )


def inputs_beyond(factor: int, cache_bytes: int | None, case_bytes: int) -> int:
    """Return how many inputs of ``case_bytes`` together exceed ``factor`` times the cache."""
    return factor * (cache_bytes or UNKNOWN_CACHE) // max(1, case_bytes) + 1


def refuse_fewer(calls: Sequence[Call], needed: int | None) -> None:
    """Refuse calls with fewer inputs than the clock asked for."""
    assert needed is not None, "a clock is asked for its rotations before it measures"
    if len(calls) < needed:
        raise ClockRefusedError(
            f"{len(calls)} inputs were rotated where {needed} are needed to exceed the cache: the time would be warm"
        )
