"""`graph_cold`: the device's time for a graph of many calls, inputs rotated through more than five times the cache.

A graph cannot be interrupted by flushes that are not counted, so it holds whole rotations: each input is met again
only when all others have been read.
"""

from collections.abc import Sequence

from torch import Tensor

from gapbench.devices import Accelerator
from gapbench.measuring.clocks import rotation
from gapbench.measuring.clocks.base import ClockUnsupportedError
from gapbench.measuring.clocks.graphs import GraphClock
from gapbench.passes import Call

_BEYOND = 5
_MOST_INPUTS = 2048


class GraphCold(GraphClock):
    """Time a graph of calls on the device, with cold caches."""

    name = "graph_cold"
    cold = True

    def __init__(self, device: Accelerator) -> None:
        super().__init__(device)
        self._needed: int | None = None

    def rotations(self, case_bytes: int) -> int:
        """Return how many inputs exceed five times the last-level cache.

        Raises `ClockUnsupportedError` where that would be more calls than a graph should hold.
        """
        needed = rotation.inputs_beyond(_BEYOND, self._device.cache_bytes, case_bytes)
        if needed > _MOST_INPUTS:
            raise ClockUnsupportedError(
                f"inputs of {case_bytes:,} bytes exceed the cache only if {needed:,} are rotated, which exceeds the "
                f"{_MOST_INPUTS:,} calls that a graph should hold; event_cold measures this case"
            )
        self._needed = needed
        return needed

    def whole(self, count: int, rotations: int) -> int:
        """Return ``count``, rounded up to whole rotations."""
        return -(-count // rotations) * rotations

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        rotation.refuse_fewer(calls, self._needed)
        assert count % len(calls) == 0, "whole rotations: see `whole`"
        graph, output = self._graph(calls, count)
        self._hold.slowdown = None
        seconds = self._replay(graph, before=self._touch_canary, after=self._look_at_canary)
        self._judge_canary()
        self.slowdown = self._hold.slowdown
        return self._net(seconds, 1, count), output
