"""`host_cold`: wall time of the calling thread, every input read from memory. For devices that compute synchronously.

Inputs rotate through more than twice the last-level cache, and the rotation goes on from batch to batch (contenders
share inputs, in the same order), so that a batch may be shorter than a rotation.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from gapbench.devices import Device
from gapbench.measuring.clocks import loop, rotation
from gapbench.measuring.clocks.base import BURN_IN_SECONDS, Clock, Preparation
from gapbench.measuring.clocks.canary import Canary
from gapbench.passes import Call

_BEYOND = 2
_WARM_READINGS = 3
"""So many in a row are no accident. A slow spell makes warm readings look cold, never cold ones warm."""


class HostCold(Clock):
    """Time calls that are complete when they return, their inputs rotated through the cache and beyond."""

    name = "host_cold"

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._needed: int | None = None
        self._next = 0  # the input whose turn it is
        self._since_touched = 0
        self._warm_readings = 0
        self._canary: Canary | None = None

    def rotations(self, case_bytes: int) -> int:
        """Return how many inputs exceed twice the last-level cache."""
        self._needed = rotation.inputs_beyond(_BEYOND, self._device.cache_bytes, case_bytes)
        return self._needed

    def prepare(self, burn_in_seconds: float = BURN_IN_SECONDS) -> Preparation:  # noqa: ARG002
        """Prove that as many bytes as are rotated do displace what was in the cache."""
        canary = Canary(self._device)

        def read(displace: Callable[[], object]) -> float:
            canary.touch()
            displace()
            return self._read(canary)

        canary.calibrate(read)
        self._canary = canary
        return Preparation(warm_canary_seconds=canary.warm, cold_canary_seconds=canary.cold)

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        assert self._canary is not None, "a clock is prepared before it measures"
        rotation.refuse_fewer(calls, self._needed)
        seconds, output = loop.timed(loop.cycled(calls, count, self._next))
        self._next += count
        self._since_touched += count
        if self._since_touched >= len(calls):
            self._judge(self._canary)
        return seconds, output

    def _judge(self, canary: Canary) -> None:
        """Read the canary, a rotation after it was touched last (which this does as well)."""
        self._warm_readings = self._warm_readings + 1 if canary.was_warm(self._read(canary)) else 0
        self._since_touched = 0
        if self._warm_readings == _WARM_READINGS:
            raise canary.refusal()

    @staticmethod
    def _read(canary: Canary) -> float:
        began = loop.now()
        canary.touch()
        return loop.now() - began
