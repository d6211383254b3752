"""`event_cold`: the device's time from event to event around each call, its caches flushed before each.

Flushes and launches queue up behind a delay, so the host's launch time is outside the events; so are the flushes.
"""

from collections.abc import Sequence

from torch import Tensor

from gapbench.measuring.clocks import loop
from gapbench.measuring.clocks.events import EventClock, Pair
from gapbench.measuring.clocks.hold import MOST_CALLS
from gapbench.passes import Call


class EventCold(EventClock):
    """Time calls on the device, each with cold caches."""

    name = "event_cold"
    cold = True

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        seconds = 0.0
        self._hold.slowdown = None
        for first in range(0, count, MOST_CALLS):
            pairs = self._pairs[: min(MOST_CALLS, count - first)]

            def launch(first: int = first, pairs: list[Pair] = pairs) -> Tensor:
                self._touch_canary()
                for pair, call in zip(pairs, loop.cycled(calls, len(pairs), first), strict=True):
                    self._hold.dither()
                    self._device.flush()
                    with pair:
                        output = call()
                self._look_at_canary()
                return output

            output = self._hold.run(launch)
            self._judge_canary()
            seconds += sum(pair.seconds for pair in pairs)
        self.slowdown = self._hold.slowdown
        return self._net(seconds, count, count), output
