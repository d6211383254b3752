"""Any device that `torch.accelerator` drives, by what all of them have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from gapbench.devices.caches import UNKNOWN_CACHE, Cached

_GRAPHS = ("graph_warm", "graph_cold")
_CALIBRATION_FILLS = 8


class Event:
    """A moment in the device's work, at the end of all that was queued on its current stream before."""

    def __init__(self, device: "Accelerator") -> None:
        self._device = device
        self._event = device.torch.Event(device.name, enable_timing=True)

    def record(self) -> None:
        """Queue the event."""
        self._event.record(self._device.stream())

    def synchronize(self) -> None:
        """Wait until it has happened."""
        self._event.synchronize()

    def seconds_until(self, later: "Event") -> float:
        """Wait for ``later``, and return the device's seconds from this event to it."""
        later.synchronize()  # elapsed_time raises on events that have not happened
        return float(self._event.elapsed_time(later._event)) * 1e-3


class Graph(Protocol):
    """Captured work, launched as one."""

    def replay(self) -> None:
        """Queue all of it on the current stream."""
        ...


@dataclass(frozen=True)
class Accelerator(Cached):
    """A device with streams and events: calls return before their work is done.

    ``name`` is as in ``xpu:0``; without an index it is the first. ``clocks`` are those that measure it unless others
    are asked for; ``runtime`` stands in for torch in tests.
    """

    name: str
    runtime: Any = field(default=None, repr=False, compare=False)
    clocks: tuple[str, ...] = ("event_cold", "event_warm", "host_call")
    _canary_share: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if ":" not in self.name:
            object.__setattr__(self, "name", f"{self.name}:0")

    @property
    def family(self) -> str:
        """Torch's device type."""
        return self.name.partition(":")[0]

    @property
    def index(self) -> int:
        """Its number among the devices of its family."""
        return int(self.name.partition(":")[2])

    @property
    def selectable_clocks(self) -> tuple[str, ...]:
        """All clocks that can measure it."""
        return self.clocks + (_GRAPHS if self.has_graphs else ())

    @property
    def uuid(self) -> str | None:
        """The physical device's identity, None where the backend does not tell. Workers only: it initialises it."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return its marketing name, None where the backend does not tell without being initialised."""
        module = getattr(self.torch, self.family, None)
        initialized = getattr(module, "is_initialized", lambda: False)()
        name = getattr(module, "get_device_name", None)
        return {"description": name(self.index) if name and initialized else None}

    # Order and time.

    def make_current(self) -> None:
        """Let work that names no device go to this one. Workers do so once, before all else."""
        accelerator = self.torch.accelerator
        select = getattr(accelerator, "set_device_index", None) or accelerator.set_device_idx  # before torch 2.8
        select(self.index)

    def synchronize(self) -> None:
        """Wait for all work on all streams. It may cost a millisecond: outside timed regions only."""
        self.make_current()
        self.torch.accelerator.synchronize(self.index)

    def stream(self) -> Any:
        """Return the stream that work is launched on."""
        return self.torch.accelerator.current_stream(self.index)

    def event(self) -> Event:
        """Return a new event that can be timed."""
        return Event(self)

    def delay(self, seconds: float) -> None:
        """Queue work that keeps the device busy for about that long; here it passes through the caches.

        Only events tell how long it was.
        """
        self._sweep.fill(seconds * self._fill_rate)

    @cached_property
    def _fill_rate(self) -> float:
        """Bytes per second, as far as fills of the whole buffer tell."""
        nbytes = 2 * (self.cache_bytes or UNKNOWN_CACHE)
        self._sweep.fill(nbytes)
        before, after = self.event(), self.event()
        before.record()
        for _ in range(_CALIBRATION_FILLS):
            self._sweep.fill(nbytes)
        after.record()
        # A backend that executes nothing (a stub) takes no time: any rate will do for that.
        return _CALIBRATION_FILLS * nbytes / max(before.seconds_until(after), 1e-6)

    # Graphs.

    @property
    def has_graphs(self) -> bool:
        """Whether work can be captured and replayed."""
        return hasattr(self.torch.accelerator, "Graph")

    def capture(self, launch: Callable[[], None]) -> Graph:
        """Return a graph of all that ``launch`` launches; what cannot be captured raises what the backend raises."""
        graph: Graph = self.torch.accelerator.Graph()
        self.synchronize()
        with self.torch.Stream(self.name), graph:  # type: ignore[attr-defined]
            launch()
        return graph

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache as the backend tells it."""
        module = getattr(self.torch, self.family, None)
        properties = getattr(module, "get_device_properties", lambda _index: None)(self.index)
        return getattr(properties, "last_level_cache_size", None) or None
