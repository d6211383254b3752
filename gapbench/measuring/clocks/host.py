"""Wall time of the calling thread: `host` and `host_cold` where calls compute synchronously, `host_call` elsewhere."""

from collections.abc import Callable, Sequence
from itertools import repeat

from torch import Tensor

from gapbench.machine.devices import Accelerator, Cpu, Device
from gapbench.measuring.clocks import base
from gapbench.measuring.clocks.base import BURN_IN_SECONDS, Clock, Preparation
from gapbench.measuring.clocks.events import burn_in
from gapbench.workloads.passes import Call

_COPIES = 4
_LARGEST = 1 << 26
_WARM_READINGS = 3
"""Consecutive warm readings that refute coldness. A slow spell makes warm readings look cold, never cold ones warm."""


class Host(Clock):
    """Time calls that are complete when they return, with warm caches.

    One call before each batch is not counted, because another contender has just used the caches. The placement of
    inputs and temporaries in memory changes a call by up to 20 % in each process. So there are several copies of the
    input, and turns go from one to the next: rounds of a bfloat16 mean scattered by 2 % instead of 9 %.
    """

    name = "host"
    device_class = Cpu
    uncounted_calls = 1

    def rotations(self, case_bytes: int) -> int:
        """Return the number of copies of the input: four, fewer if they exceed 64 MiB together, and at least one."""
        return min(_COPIES, max(1, _LARGEST // max(1, case_bytes)))

    def at_copy(self, calls: Sequence[Call], copy: int) -> Sequence[Call]:
        """Return the call on that copy."""
        return (calls[copy % len(calls)],)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        calls[0]()
        return base.timed(repeat(calls[0], count))


class HostCold(Clock):
    """Time calls that are complete when they return, with inputs rotating through twice the last-level cache."""

    name = "host_cold"
    device_class = Cpu
    cold = True
    beyond = 2
    # More tensors would take seconds to make, and more memory than their content.
    most_inputs = 200_000, "that a process should hold; choose a larger --shape, or --clock host"
    _canary: base.Canary

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._next = 0  # number of the next input
        self._since_touched = 0
        self._warm_readings = 0

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:  # noqa: ARG002
        """Prove that a flush displaces the canary from the cache."""
        self._canary = canary = base.Canary(self._device)

        def read(displace: Callable[[], object]) -> float:
            canary.touch()
            displace()
            return self._read()

        canary.calibrate(read)
        return Preparation(warm_canary_seconds=canary.warm, cold_canary_seconds=canary.cold)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        seconds, output = base.timed(base.cycled(calls, count, self._next))
        self._next += count
        self._since_touched += count
        if self._since_touched >= len(calls):
            self._judge()
        return seconds, output

    def _judge(self) -> None:
        self._warm_readings = self._warm_readings + 1 if self._canary.was_warm(self._read()) else 0
        self._since_touched = 0
        if self._warm_readings == _WARM_READINGS:
            raise self._canary.refusal()

    def _read(self) -> float:
        began = base.now()
        self._canary.touch()
        return base.now() - began


_MOST_CALLS = 50  # calls between synchronisations: with a full launch queue, launching would wait for the device
_LAUNCHES = 1000


class HostCall(Clock):
    """Time calls on the host without waiting for their work; compare with `event_warm` to see which is the slower."""

    name = "host_call"
    times_launch = True
    _device: Accelerator

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:
        """Burn in, and measure the smallest launch."""
        self._device.make_current()
        burn_in(self._device, burn_in_seconds)
        element = self._device.torch.zeros(1, device=self._device.name)
        seconds, _ = self._batch((element.zero_,), _LAUNCHES)
        return Preparation(launch_seconds=seconds / _LAUNCHES)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        seconds = 0.0
        for first in range(0, count, _MOST_CALLS):
            self._device.synchronize()
            spent, output = base.timed(base.cycled(calls, min(_MOST_CALLS, count - first), first))
            seconds += spent
        self._device.synchronize()
        return seconds, output
