"""The base of all clocks, the one timing loop, and the canary that proves that a time is cold."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from time import perf_counter_ns  # bound before any user's code is imported, which might replace time's
from typing import Any, ClassVar

from torch import Tensor

from gapbench.errors import GapbenchError
from gapbench.machine.devices import UNKNOWN_CACHE, Accelerator, Cpu, Device
from gapbench.workloads.passes import Call

BURN_IN_SECONDS = 1.0
"""Seconds of work before the first measurement on an accelerator, in which its clocks and temperature rise."""

Read = Callable[[Callable[[], object]], float]

_READS = 9
_LEAST_RATIO = 1.15  # least ratio of cold to warm readings of the canary; below, they are indistinguishable


class ClockError(GapbenchError):
    """A clock cannot give a valid number; ``status`` (of `records.STATUSES`) is the row's."""

    status = "failed"


class ClockRefusedError(ClockError):
    """The number would not be what the clock's name promises."""


class ClockUnsupportedError(ClockError):
    """The clock cannot measure this device or case."""

    status = "unsupported"


@dataclass(frozen=True, slots=True)
class Preparation:
    """A clock's own measurements before it times calls, in seconds; None for those that it does not make.

    ``floor_seconds`` is the time of its own events (and graph launch), which is subtracted from all times;
    ``launch_seconds`` the host's for the smallest launch; the canary's are read from the cache, and after a flush.
    """

    floor_seconds: float | None = None
    launch_seconds: float | None = None
    warm_canary_seconds: float | None = None
    cold_canary_seconds: float | None = None


class Clock(ABC):
    """A timing protocol for one device; call `rotations`, then `prepare`, then `batch` any number of times."""

    name: ClassVar[str]

    device_class: ClassVar[type[Cpu] | type[Accelerator]] = Accelerator  # the devices that it measures

    cold: ClassVar[bool] = False  # whether the input comes from memory, however small it is

    beyond: ClassVar[int] = 0  # how many times the last-level cache the inputs of a batch must exceed together

    most_inputs: ClassVar[tuple[int, str] | None] = None  # the most inputs to rotate, and why not more

    times_launch: ClassVar[bool] = False  # whether it times the launch and not the work, which no bandwidth limits

    uncounted_calls: int = 0  # calls of a batch before the timed ones

    slowdown: float | None = None
    """The device's time for a fixed piece of work during the last batch, over its time when prepared: a device clearly
    above 1 was throttled. None where that is unknown."""

    sm_clock_mhz: float | None = None
    """The clock rate of the device's processors during the last batch, the lowest if there were several launches."""

    held_seconds: float = 0.0
    """Seconds of the last batch for which the device was held up before its work: they are no cost of the calls."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._needed = 1

    def select(self, contender: int) -> None:  # noqa: B027 - most clocks learn nothing
        """Prepare for batches of a contender, by its index: what was learned from others does not apply to it."""

    def verify(self, calls: Sequence[Call]) -> None:  # noqa: B027 - most clocks see all work
        """Raise `ClockRefusedError` where ``calls`` do work that this clock cannot see."""

    @classmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether it can measure ``device``."""
        return isinstance(device, cls.device_class)

    def rotations(self, case_bytes: int) -> int:
        """Return how many distinct inputs, of ``case_bytes`` each, the calls of a batch must cycle through.

        Raises `ClockUnsupportedError` where those are more than `most_inputs`.
        """
        if self.beyond:
            cache_bytes = self._device.cache_bytes or UNKNOWN_CACHE
            self._needed = self.beyond * cache_bytes // max(1, case_bytes) + 1
        if self.most_inputs and self._needed > self.most_inputs[0]:
            most, reason = self.most_inputs
            raise ClockUnsupportedError(
                f"inputs of {case_bytes:,} bytes exceed the cache only if {self._needed:,} are rotated, which exceeds "
                f"the {most:,} {reason}"
            )
        return self._needed

    def whole(self, count: int, rotations: int) -> int:  # noqa: ARG002
        """Return the smallest valid number of calls of a batch that is at least ``count`` >= 1."""
        return count

    def at_copy(self, calls: Sequence[Call], copy: int) -> Sequence[Call]:  # noqa: ARG002
        """Return the calls of a batch, of those on distinct inputs; all contenders of a turn have the same ``copy``."""
        return calls

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:  # noqa: ARG002
        """Prepare the device, once, after `rotations`; a second clock on the same device needs no burn-in."""
        return Preparation()

    def batch(self, calls: Call | Sequence[Call], count: int) -> tuple[float, Tensor]:
        """Run ``count`` >= 1 calls, cycling through ``calls``; return their total seconds and the last output.

        Raises `ClockRefusedError` where the number would not be what the clock's name promises.
        """
        calls = (calls,) if callable(calls) else calls
        if len(calls) < self._needed:
            raise ClockRefusedError(
                f"{len(calls)} inputs were rotated where {self._needed} are needed to exceed the cache: the time would "
                "be warm"
            )
        return self._batch(calls, count)

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
    """Make calls back to back, each output alive until the next; return the total seconds and the last output."""
    output = None
    start = perf_counter_ns()
    for call in calls:
        output = call()
    end = perf_counter_ns()
    assert output is not None
    return (end - start) * 1e-9, output


class Canary:
    """Data in the cache that a cold batch must evict; ``touch()`` reads it, in ``warm`` or ``cold`` seconds."""

    def __init__(self, device: Device, share: int | None = None) -> None:
        self._device = device
        self.touch = device.canary(share)
        self.warm = self.cold = 0.0

    def calibrate(self, read: Read) -> None:
        """Measure the reading time by ``read(displace)``, in seconds: warm, and cold after a flush.

        Raises `ClockUnsupportedError` if a flush makes no difference: then nothing can be proved cold here.
        """
        # Other work on the machine only lengthens readings, so the shortest are undisturbed.
        self.warm = min(read(lambda: None) for _ in range(_READS))
        self.cold = min(read(self._device.flush) for _ in range(_READS))
        if self.cold < _LEAST_RATIO * self.warm:
            raise ClockUnsupportedError(
                f"the canary was read in {self.cold * 1e6:.2f} µs after a flush of {self._device.name}'s caches and in "
                f"{self.warm * 1e6:.2f} µs without: the flush does not reach the cache, so nothing can be proved cold"
            )

    def was_warm(self, seconds: float) -> bool:
        """Tell whether a reading of ``seconds`` came from the cache: below the geometric mean of warm and cold."""
        return seconds * seconds < self.warm * self.cold

    def refusal(self) -> ClockRefusedError:
        """Return the error for a batch during which the canary stayed in the cache."""
        return ClockRefusedError(
            f"the canary was still in {self._device.name}'s cache after the calls: inputs were, too, and the time "
            "would be warm"
        )
