"""The one timing loop; what every clock is, what it may find out before it measures, how it refuses, and what is cold.

Cold is what is proved so: inputs that together exceed the cache so far that none is left in it, and a canary.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from time import perf_counter_ns  # bound before any user's code is imported, which might replace time's
from typing import Any, ClassVar

from torch import Tensor

from gapbench.errors import GapbenchError
from gapbench.machine.devices import UNKNOWN_CACHE, Device
from gapbench.workloads.passes import Call

BURN_IN_SECONDS = 1.0
"""Work before the first measurement on an accelerator: its clocks and its temperature rise for about that long."""

Read = Callable[[Callable[[], object]], float]

_READS = 9
_LEAST_RATIO = 1.15
"""Cold to warm; below it, timings cannot tell the two apart."""


class ClockError(GapbenchError):
    """A clock will not give a number; ``status`` (of `records.STATUSES`) is what that makes of the row."""

    status = "failed"


class ClockRefusedError(ClockError):
    """The number would not be what the clock's name says."""


class ClockUnsupportedError(ClockError):
    """The device, or the case, cannot be measured in this way at all."""

    status = "unsupported"


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a clock found out before measuring; seconds, None for what it does not have.

    ``floor_seconds`` is what its own events (and graph launch) take: subtracted already, and to be shown beside times.
    ``launch_seconds`` is the host's time for the smallest launch there is. ``warm_canary_seconds`` and
    ``cold_canary_seconds`` are what a canary took to be read from the cache, and after the cache was flushed.
    """

    floor_seconds: float | None = None
    launch_seconds: float | None = None
    warm_canary_seconds: float | None = None
    cold_canary_seconds: float | None = None


class Clock(ABC):
    """A timing protocol for one device. Made, asked for `rotations`, prepared, then given batch after batch."""

    name: ClassVar[str]

    cold: ClassVar[bool] = False
    """Whether the input comes from memory, however small it is."""

    times_launch: ClassVar[bool] = False
    """Whether it times the launch and not the work, which no bandwidth limits."""

    uncounted_calls: int = 0
    """Calls that a batch makes before those that it times."""

    slowdown: float | None = None
    """How many times as long as when prepared the device took for a fixed piece of work during the last batch:
    clearly above 1 is a device that was throttled. None where that is not known."""

    def __init__(self, device: Any) -> None:
        self._device = device

    @classmethod
    @abstractmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether it can measure ``device``."""

    def rotations(self, case_bytes: int) -> int:  # noqa: ARG002
        """Return how many distinct inputs of ``case_bytes`` each the calls of a batch must cycle through."""
        return 1

    def whole(self, count: int, rotations: int) -> int:  # noqa: ARG002
        """Return the smallest number of calls, at least ``count`` >= 1, that a batch of this clock may have."""
        return count

    def at_place(self, calls: Sequence[Call], place: int) -> Sequence[Call]:  # noqa: ARG002
        """Return which of the calls on distinct inputs a batch makes; in a turn, all contenders have the same place."""
        return calls

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:  # noqa: ARG002
        """Get ready on this device, once, after `rotations`; a second clock on the device needs no burn-in."""
        return Preparation()

    def batch(self, calls: Call | Sequence[Call], count: int) -> tuple[float, Tensor]:
        """Run ``count`` >= 1 calls, cycling through ``calls``; return the seconds of all together and the last output.

        Raises `ClockRefusedError` instead of returning a number that is not what this clock's name says.
        """
        return self._batch((calls,) if callable(calls) else calls, count)

    @abstractmethod
    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]: ...


def now() -> float:
    """Return the host's time in seconds, from an arbitrary zero."""
    return perf_counter_ns() * 1e-9


def cycled(calls: Sequence[Call], count: int, first: int = 0) -> Iterator[Call]:
    """Return ``count`` calls, cycling through ``calls`` from number ``first``."""
    if len(calls) == 1:
        return repeat(calls[0], count)
    first %= len(calls)
    return islice(cycle((*calls[first:], *calls[:first])), count)


def timed(calls: Iterator[Call]) -> tuple[float, Tensor]:
    """Make calls back to back, each output alive until the next, waiting for nothing; return seconds and the last."""
    output = None
    start = perf_counter_ns()
    for call in calls:
        output = call()
    end = perf_counter_ns()
    assert output is not None
    return (end - start) * 1e-9, output


class Canary:
    """Data of our own, put into the cache, that must be gone when a batch claims to have been cold.

    Its reading time tells whether the cache still holds it.
    """

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
