"""`graph_warm`: the device's time for a graph of many calls, inputs where the call before left them.

Calls in a graph follow each other as closely as the device allows: the nearest to a kernel's own duration.
"""

from collections.abc import Sequence

from torch import Tensor

from gapbench.measuring.clocks.graphs import GraphClock
from gapbench.passes import Call


class GraphWarm(GraphClock):
    """Time a graph of calls on the device, with warm caches."""

    name = "graph_warm"

    def _batch(self, calls: Sequence[Call], count: int) -> tuple[float, Tensor]:
        graph, output = self._graph(calls, count)
        self._hold.slowdown = None
        seconds = self._replay(graph, before=calls[0])  # the contender before left other data in the cache
        self.slowdown = self._hold.slowdown
        return self._net(seconds, 1, count), output
