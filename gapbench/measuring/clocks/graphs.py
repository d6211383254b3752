"""`graph_warm` and `graph_cold`: the device's time for a graph of many calls, without the cost of a replay itself.

Calls in a graph follow each other as closely as the device allows: the nearest to a kernel's own duration.
"""

from collections.abc import Callable, Sequence
from statistics import fmean

from torch import Tensor

from gapbench.machine.devices import Accelerator, Device, Graph
from gapbench.measuring.clocks import base
from gapbench.measuring.clocks.base import ClockRefusedError, ClockUnsupportedError
from gapbench.measuring.clocks.events import EventClock
from gapbench.workloads.passes import Call

_SMALL, _LARGE = 1, 17
_FLOOR_REPLAYS = 200
_BEYOND = 5
_MOST_INPUTS = 2048


class GraphClock(EventClock):
    """A clock that captures all calls of a batch in one graph, and times its replay by events."""

    @classmethod
    def measures(cls, device: Device) -> bool:
        """Tell whether ``device`` is an accelerator that can replay captured work."""
        return isinstance(device, Accelerator) and device.has_graphs

    def __init__(self, device: Accelerator) -> None:
        super().__init__(device)
        # By calls: kept with them, since an id may be given anew once its object is gone.
        self._kept: dict[tuple[int, ...], tuple[int, Sequence[Call], Graph, Tensor]] = {}

    def _graph(self, calls: Sequence[Call], count: int) -> tuple[Graph, Tensor]:
        """Return the graph of ``count`` calls, captured anew only when the count changes, and its last output."""
        key = tuple(map(id, calls))
        kept = self._kept.get(key)
        if kept is None or kept[0] != count:
            self._kept.pop(key, None)  # its memory is free before the next is captured
            self._kept[key] = kept = (count, calls, *self._capture(calls, count))
        return kept[2], kept[3]

    def _capture(self, calls: Sequence[Call], count: int) -> tuple[Graph, Tensor]:
        outputs: list[Tensor] = []

        def launch() -> None:
            output = None
            for call in base.cycled(calls, count):
                output = call()
            assert output is not None
            outputs.append(output)

        try:
            graph = self._device.capture(launch)
        except RuntimeError as error:
            first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ClockRefusedError(f"cannot be captured in a graph: {first_line}") from error
        graph.replay()  # the first replay uploads it
        return graph, outputs[0]

    def _measure_floor(self) -> float:
        """Return what a replay takes beyond the calls in it, from graphs of one and of many equal kernels."""
        one = self._device.torch.zeros(1, device=self._device.name)
        times = []
        for size in (_SMALL, _LARGE):
            graph, _ = self._capture((one.zero_,), size)
            times.append(fmean(self._replay(graph) for _ in range(_FLOOR_REPLAYS)))
        small, large = times
        each = (large - small) / (_LARGE - _SMALL)
        return max(0.0, small - _SMALL * each)

    def _replay(
        self, graph: Graph, before: Callable[[], object] = lambda: None, after: Callable[[], object] = lambda: None
    ) -> float:
        """Return the seconds of one replay, with ``before`` and ``after`` queued around its events."""
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
    """Time a graph of calls on the device, inputs where the call before left them."""

    name = "graph_warm"

    def _held(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        graph, output = self._graph(calls, count)
        return self._replay(graph, before=calls[0]), 1, output  # the contender before left other data in the cache


class GraphCold(GraphClock):
    """Time a graph of calls on the device, inputs rotated through more than five times the cache.

    A graph cannot be interrupted by flushes that are not counted, so it holds whole rotations: each input is met again
    only when all others have been read.
    """

    name = "graph_cold"
    cold = True

    def __init__(self, device: Accelerator) -> None:
        super().__init__(device)
        self._needed: int | None = None

    def rotations(self, case_bytes: int) -> int:
        """Return how many inputs exceed five times the last-level cache.

        Raises `ClockUnsupportedError` where that would be more calls than a graph should hold.
        """
        needed = base.inputs_beyond(_BEYOND, self._device.cache_bytes, case_bytes)
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

    def _held(self, calls: Sequence[Call], count: int) -> tuple[float, int, Tensor]:
        base.refuse_fewer(calls, self._needed)
        assert count % len(calls) == 0, "whole rotations: see `whole`"
        graph, output = self._graph(calls, count)
        seconds = self._replay(graph, before=self._touch_canary, after=self._look_at_canary)
        self._judge_canary()
        return seconds, 1, output
