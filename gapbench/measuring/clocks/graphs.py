"""`graph_warm` and `graph_cold`: the device's time for a graph of many calls, without the cost of a replay itself."""

from collections import deque
from collections.abc import Callable, Sequence

from torch import Tensor

from gapbench.machine.devices import Accelerator, Device, Graph
from gapbench.measuring.clocks import base
from gapbench.measuring.clocks.base import ClockRefusedError
from gapbench.measuring.clocks.events import EventClock, undisturbed_mean
from gapbench.workloads.passes import Call

_SMALL, _LARGE = 1, 17
_FLOOR_REPLAYS = 200


class GraphClock(EventClock):
    """A clock that captures all calls of a batch in one graph, and times its replay by events."""

    @classmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether ``device`` is an accelerator that can replay captured work."""
        return isinstance(device, Accelerator) and device.has_graphs

    def __init__(self, device: Accelerator) -> None:
        super().__init__(device)
        # By the calls' ids, with the calls, because the id of a deleted object may be used again.
        self._graphs: dict[tuple[int, ...], tuple[int, Sequence[Call], Graph, Tensor]] = {}

    def _graph(self, calls: Sequence[Call], count: int) -> tuple[Graph, Tensor]:
        """Return the graph of ``count`` calls, captured again only when the count changes, and its last output."""
        key = tuple(map(id, calls))
        cached = self._graphs.get(key)
        if cached is None or cached[0] != count:
            self._graphs.pop(key, None)  # its memory is free before the next is captured
            self._graphs[key] = cached = (count, calls, *self._capture(calls, count))
        return cached[2], cached[3]

    def _capture(self, calls: Sequence[Call], count: int) -> tuple[Graph, Tensor]:
        outputs: deque[Tensor] = deque(maxlen=1)

        def launch() -> None:
            for call in base.cycled(calls, count):
                outputs.append(call())

        try:
            graph = self._device.capture(launch)
        except Exception as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ClockRefusedError(f"cannot be captured in a graph: {first_line}") from error
        graph.replay()  # the first replay uploads it
        return graph, outputs[0]

    def _measure_floor(self) -> float:
        """Return the seconds of a replay beyond its calls, from graphs of one and of many equal kernels."""
        element = self._device.torch.zeros(1, device=self._device.name)
        times = []
        for size in (_SMALL, _LARGE):
            graph, _ = self._capture((element.zero_,), size)
            times.append(undisturbed_mean([self._replay(graph) for _ in range(_FLOOR_REPLAYS)]))
        small, large = times
        each = (large - small) / (_LARGE - _SMALL)
        return max(0.0, small - _SMALL * each)

    def _replay(
        self, graph: Graph, before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None
    ) -> float:
        pair = self._pairs[0]

        def launch() -> None:
            self._blocking_kernel.jitter()
            before()
            with pair:
                graph.replay()
            after()

        self._blocking_kernel.run(launch)
        return pair.seconds


class GraphWarm(GraphClock):
    """Time a graph of calls on the device; the previous call has warmed the caches."""

    name = "graph_warm"

    def _run(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        graph, output = self._graph(calls, count)
        return self._replay(graph, before=calls[0]), 1, output  # the previous contender left other data in the cache


class GraphCold(GraphClock):
    """Time a graph of whole rotations of inputs that exceed the cache five times: flushes would be counted too."""

    name = "graph_cold"
    cold = True
    beyond = 5
    most_inputs = 2048, "calls that a graph should hold; event_cold measures this case"

    def whole(self, count: int, rotations: int) -> int:
        """Return ``count``, rounded up to whole rotations."""
        return -(-count // rotations) * rotations

    def _run(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        assert count % len(calls) == 0, "whole rotations: see `whole`"
        graph, output = self._graph(calls, count)
        seconds = self._replay(graph, before=self._canary.touch, after=self._read_canary)
        self._judge_canary()
        return seconds, 1, output
