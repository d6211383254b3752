"""`event_warm`: the device's time from event to event, calls back to back, inputs where the call before left them.

Launches queue up behind a delay, so the host's launch time is outside the events; the time that the device itself
needs between two kernels is inside.
"""

from collections.abc import Sequence

from torch import Tensor

from gapbench.measuring.clocks import loop
from gapbench.measuring.clocks.events import EventClock
from gapbench.measuring.clocks.hold import MOST_CALLS
from gapbench.passes import Call


class EventWarm(EventClock):
    """Time calls on the device, with warm caches."""

    name = "event_warm"

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        pair = self._pairs[0]
        seconds, pairs = 0.0, 0
        self._hold.slowdown = None
        for first in range(0, count, MOST_CALLS):
            chunk = min(MOST_CALLS, count - first)

            def launch(first: int = first, chunk: int = chunk) -> Tensor:
                self._hold.dither()
                output = calls[first % len(calls)]()  # the contender before left other data in the cache
                with pair:
                    for call in loop.cycled(calls, chunk, first):
                        output = call()
                return output

            output = self._hold.run(launch)
            seconds += pair.seconds
            pairs += 1
        self.slowdown = self._hold.slowdown
        return self._net(seconds, pairs, count), output
