"""Wall time of the calling thread: `host` and `host_cold` where calls compute synchronously, `host_call` elsewhere."""

from collections.abc import Callable, Sequence
from itertools import repeat

from torch import Tensor

from gapbench.machine.devices import Accelerator, Cpu, Device
from gapbench.measuring.clocks import base
from gapbench.measuring.clocks.base import BURN_IN_SECONDS, Clock, Preparation
from gapbench.measuring.clocks.events import burn_in
from gapbench.workloads.passes import Call

_PLACES = 4
_LARGEST = 1 << 26
_BEYOND = 2
_WARM_READINGS = 3
"""So many in a row are no accident. A slow spell makes warm readings look cold, never cold ones warm."""


class Host(Clock):
    """Time calls that are complete when they return, with warm caches.

    One call before each batch is not counted: another contender has just used the caches, and the first call after it
    pays for that. Where calls of 70 µs were counted from the first on, in batches of 0.25 ms, they came out up to 50 %
    too long.

    Where in memory an input and the temporaries lie changes a call by up to 20 %, for as long as a process lives. So
    the input lies in several places, and turns go from one to the next, all contenders together: rounds of a bfloat16
    mean then scatter by 2 % and not by 9.
    """

    name = "host"

    @classmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether ``device`` is the CPU."""
        return isinstance(device, Cpu)

    uncounted_calls = 1

    def rotations(self, case_bytes: int) -> int:
        """Return how many places there are, together no larger than 64 MiB where one is not."""
        return min(_PLACES, max(1, _LARGEST // max(1, case_bytes)))

    def at_place(self, calls: Sequence[Call], place: int) -> Sequence[Call]:
        """Return the call on that place."""
        return (calls[place % len(calls)],)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        calls[0]()
        return base.timed(repeat(calls[0], count))


class HostCold(Clock):
    """Time calls that are complete when they return, every input read from memory.

    Inputs rotate through more than twice the last-level cache, and the rotation goes on from batch to batch (contenders
    share inputs, in the same order), so that a batch may be shorter than a cold.
    """

    name = "host_cold"
    cold = True

    @classmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether ``device`` is the CPU."""
        return isinstance(device, Cpu)

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._needed: int | None = None
        self._next = 0  # the input whose turn it is
        self._since_touched = 0
        self._warm_readings = 0
        self._canary: base.Canary | None = None

    def rotations(self, case_bytes: int) -> int:
        """Return how many inputs exceed twice the last-level cache."""
        self._needed = base.inputs_beyond(_BEYOND, self._device.cache_bytes, case_bytes)
        return self._needed

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:  # noqa: ARG002
        """Prove that as many bytes as are rotated do displace what was in the cache."""
        canary = base.Canary(self._device)

        def read(displace: Callable[[], object]) -> float:
            canary.touch()
            displace()
            return self._read(canary)

        canary.calibrate(read)
        self._canary = canary
        return Preparation(warm_canary_seconds=canary.warm, cold_canary_seconds=canary.cold)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        assert self._canary is not None, "a clock is prepared before it measures"
        base.refuse_fewer(calls, self._needed)
        seconds, output = base.timed(base.cycled(calls, count, self._next))
        self._next += count
        self._since_touched += count
        if self._since_touched >= len(calls):
            self._judge(self._canary)
        return seconds, output

    def _judge(self, canary: base.Canary) -> None:
        """Read the canary, a rotation after it was touched last (which this does as well)."""
        self._warm_readings = self._warm_readings + 1 if canary.was_warm(self._read(canary)) else 0
        self._since_touched = 0
        if self._warm_readings == _WARM_READINGS:
            raise canary.refusal()

    @staticmethod
    def _read(canary: base.Canary) -> float:
        began = base.now()
        canary.touch()
        return base.now() - began


_MOST_CALLS = 50
"""Calls in a row before the device is waited for: in a full launch queue, launching would wait for it, too."""

_LAUNCHES = 1000


class HostCall(Clock):
    """Time calls on the host without waiting for their work; beside `event_warm` it tells which is waited for."""

    name = "host_call"
    times_launch = True

    @classmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether ``device`` is an accelerator."""
        return isinstance(device, Accelerator)

    _device: Accelerator

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:
        """Burn in, and measure the smallest launch."""
        self._device.make_current()
        burn_in(self._device, burn_in_seconds)
        one = self._device.torch.zeros(1, device=self._device.name)
        seconds, _ = self._batch((one.zero_,), _LAUNCHES)
        return Preparation(launch_seconds=seconds / _LAUNCHES)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        seconds = 0.0
        for first in range(0, count, _MOST_CALLS):
            self._device.synchronize()
            spent, output = base.timed(base.cycled(calls, min(_MOST_CALLS, count - first), first))
            seconds += spent
        self._device.synchronize()
        return seconds, output
