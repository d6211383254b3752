"""`host_call`: what the calling thread pays for a call on an accelerator, which returns before its work is done.

That is launch overhead: compared with the same call by `event_warm`, it says which of host and device is waited for.
"""

from collections.abc import Sequence

from torch import Tensor

from gapbench.devices import Accelerator
from gapbench.measuring.clocks import loop
from gapbench.measuring.clocks.base import BURN_IN_SECONDS, Clock, Preparation
from gapbench.measuring.clocks.events import burn_in
from gapbench.passes import Call

_MOST_CALLS = 50
"""Calls in a row before the device is waited for: in a full launch queue, launching would wait for it, too."""

_LAUNCHES = 1000


class HostCall(Clock):
    """Time calls on the host, without waiting for their work."""

    name = "host_call"
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
            spent, output = loop.timed(loop.cycled(calls, min(_MOST_CALLS, count - first), first))
            seconds += spent
        self._device.synchronize()
        return seconds, output
