"""Devices: one class per family, saying what is there, how it is timed and what it is.

`available`, `device` and ``describe`` initialise no device: workers do, in fresh processes. What times a device
(events, delays, flushes) is used by workers only. ``runtime`` stands in for torch in tests.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from gapbench.errors import GapbenchError, unknown
from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

UNKNOWN_CACHE = 256 * 2**20
"""Bytes assumed of a last-level cache whose size cannot be read: larger than nearly all there are. Whether it was
large enough, the canary tells."""

_UNKNOWN_CANARY = 4 * 2**20  # bytes of a canary for such a cache: few enough for nearly all there are
_LINE = 128  # bytes; GPUs have lines of 128, most CPUs of 64

INFINITY_CACHE = {"gfx942": 256 * 2**20, "gfx950": 256 * 2**20}
"""Bytes of the cache behind the L2 caches of AMD's MI300 and MI350, which HIP does not tell (source: AMD's CDNA 3 and
CDNA 4 white papers)."""

_CALIBRATION_FILLS = 8
_CALIBRATION_CYCLES = 1_000_000


class _Cached(ABC):
    """What devices do about their caches through torch alone: flushing, and a canary."""

    name: str
    runtime: Any
    _canary_share: ClassVar[int]
    """A canary is the last-level cache's size divided by this."""

    @property
    @abstractmethod
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache, None where it cannot be read or the backend does not tell."""

    @property
    def torch(self) -> Any:
        """The library that drives the device."""
        if self.runtime is not None:
            return self.runtime
        import torch

        return torch

    @cached_property
    def _buffer(self) -> Any:
        """Memory that, swept over, leaves nothing else in the last-level cache."""
        return self.torch.zeros((self.cache_bytes or UNKNOWN_CACHE) // 2, device=self.name)

    def flush(self) -> None:
        """Do, or queue, what empties the caches and writes dirty lines back, so that nobody pays for them later."""
        self._buffer.zero_()
        self._buffer.sum()

    def canary(self) -> Callable[[], object]:
        """Return a call that touches every cache line of a part of the last-level cache's size, in random order.

        It is fast only if the cache still holds them. A sweep in order is prefetched, and then takes hardly longer from
        memory than from a cache; in random order it took 8 times as long (4 MiB in an L3 of 32 MiB, one CPU).
        """
        lines = (self.cache_bytes // self._canary_share if self.cache_bytes else _UNKNOWN_CANARY) // _LINE
        column = self.torch.zeros((lines, _LINE // 4), device=self.name)[:, 0]
        order = self.torch.randperm(lines, generator=self.torch.Generator().manual_seed(0)).to(self.name)
        return lambda: column.index_select(0, order)


@dataclass(frozen=True)
class Cpu(_Cached):
    """The host's processor: calls are complete when they return. ``clocks`` measure it unless others are asked for."""

    runtime: Any = field(default=None, repr=False, compare=False)
    name: str = "cpu"
    clocks: tuple[str, ...] = ("host",)
    uuid: ClassVar[None] = None
    # An eighth is more than the caches above it hold, and little enough to survive neighbours in a shared one.
    _canary_share: ClassVar[int] = 8

    def describe(self) -> dict[str, Any]:
        """Return its model and numbers of cores, None where they cannot be read."""
        import cpuinfo
        import psutil

        return {
            "description": cpuinfo.get_cpu_info().get("brand_raw"),
            "cores": psutil.cpu_count(logical=False),
            "logical_cores": psutil.cpu_count(),
        }

    def synchronize(self) -> None:
        """Wait for all that was launched: nothing, here."""

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache, None where it cannot be read."""
        for level in (4, 3, 2):
            try:
                return host.cache_bytes(level)
            except UnreadableError:
                continue
        return None


class Event:
    """A moment in the device's work, at the end of all that was queued on its current stream before."""

    def __init__(self, device: "Accelerator") -> None:
        self._device = device
        self._event = device.torch.Event(device.name, enable_timing=True)

    def record(self) -> None:
        """Queue the event."""
        self._event.record(self._device.torch.accelerator.current_stream(self._device.index))

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
class Accelerator(_Cached):
    """A device that `torch.accelerator` drives, with streams and events: calls return before their work is done.

    ``name`` is as in ``xpu:0``; without an index it is the first. ``clocks`` are those that measure it unless others
    are asked for.
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
    def uuid(self) -> str | None:
        """The physical device's identity, None where the backend does not tell. Workers only: it initialises it."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return its marketing name, None where the backend does not tell without being initialised."""
        module = getattr(self.torch, self.family, None)
        initialized = getattr(module, "is_initialized", lambda: False)()
        name = getattr(module, "get_device_name", None)
        return {"description": name(self.index) if name and initialized else None}

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache as the backend tells it."""
        module = getattr(self.torch, self.family, None)
        properties = getattr(module, "get_device_properties", lambda _index: None)(self.index)
        return getattr(properties, "last_level_cache_size", None) or None

    def make_current(self) -> None:
        """Let work that names no device go to this one. Workers do so once, before all else."""
        accelerator = self.torch.accelerator
        select = getattr(accelerator, "set_device_index", None) or accelerator.set_device_idx  # before torch 2.8
        select(self.index)

    def synchronize(self) -> None:
        """Wait for all work on all streams. It may cost a millisecond: outside timed regions only."""
        self.make_current()
        self.torch.accelerator.synchronize(self.index)

    def event(self) -> Event:
        """Return a new event that can be timed."""
        return Event(self)

    def delay(self, seconds: float) -> None:
        """Keep the device busy for about that long, here by passing through the caches; only events tell how long."""
        self._fill(seconds * self._fill_rate)

    def _fill(self, nbytes: float) -> None:
        """Write about ``nbytes``: work of known length. 0 bytes are no work at all."""
        while (elements := min(int(nbytes) // 4, self._buffer.numel())) > 0:
            self._buffer[:elements].zero_()
            nbytes -= 4 * elements

    @cached_property
    def _fill_rate(self) -> float:
        """Bytes per second, as far as fills of the whole buffer tell."""
        nbytes = 2 * (self.cache_bytes or UNKNOWN_CACHE)
        self._fill(nbytes)
        before, after = self.event(), self.event()
        before.record()
        for _ in range(_CALIBRATION_FILLS):
            self._fill(nbytes)
        after.record()
        # A backend that executes nothing (a stub) takes no time: any rate will do for that.
        return _CALIBRATION_FILLS * nbytes / max(before.seconds_until(after), 1e-6)

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


@dataclass(frozen=True)
class Cuda(Accelerator):
    """A GPU of NVIDIA, or of AMD (ROCm): it can spin for a number of cycles, and replay graphs in every torch."""

    def describe(self) -> dict[str, Any]:
        """Return its marketing name as NVML tells it, which initialises nothing; else as `Accelerator` does."""
        with nvml.every_gpu(Reasons()) as gpus:
            names = {gpu.describe(Reasons(), "")["name"] for gpu in gpus}
        # CUDA's order need not be NVML's; where all GPUs are of a kind, it does not matter.
        return {"description": names.pop()} if len(names) == 1 else super().describe()

    @property
    def uuid(self) -> str | None:
        """NVIDIA's UUID of the GPU, by which NVML finds it whatever order CUDA gives it."""
        uuid = getattr(self.torch.cuda.get_device_properties(self.index), "uuid", None)
        return None if uuid is None else str(uuid)

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache."""
        properties = self.torch.cuda.get_device_properties(self.index)
        architecture = getattr(properties, "gcnArchName", "").partition(":")[0]
        return INFINITY_CACHE.get(architecture) or getattr(properties, "L2_cache_size", None) or None

    def delay(self, seconds: float) -> None:
        """Queue a kernel that spins for about that long and touches no memory."""
        self.torch.cuda._sleep(round(seconds * self._cycles_per_second))

    @cached_property
    def _cycles_per_second(self) -> float:
        """Which clock a spin counts, and at which rate it runs, differs between GPUs: only a measurement tells."""
        before, after = self.event(), self.event()
        for _ in range(2):  # the first launch loads the kernel
            before.record()
            self.torch.cuda._sleep(_CALIBRATION_CYCLES)
            after.record()
            seconds = before.seconds_until(after)
        return _CALIBRATION_CYCLES / max(seconds, 1e-6)

    @property
    def has_graphs(self) -> bool:
        """Whether work can be captured and replayed: always."""
        return True

    def capture(self, launch: Callable[[], None]) -> Graph:
        """Return a graph of all that ``launch`` launches; what cannot be captured raises what torch raises."""
        graph: Graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(graph):
            launch()
        return graph


Device = Cpu | Accelerator

FAMILIES: dict[str, type[Accelerator]] = {"cuda": Cuda}
"""Families of accelerators that are more than `Accelerator` knows, by torch's device type."""


def available(runtime: Any = None) -> list[Device]:
    """Return the devices of this machine, the CPU last. An accelerator is named as in ``cuda:0``."""
    if runtime is None:
        import torch as runtime

    accelerators: list[Device] = []
    if runtime.accelerator.is_available():
        kind = runtime.accelerator.current_accelerator().type
        family = FAMILIES.get(kind, Accelerator)
        accelerators = [family(f"{kind}:{index}", runtime) for index in range(runtime.accelerator.device_count())]
    return [*accelerators, Cpu(runtime)]


def device(name: str) -> Device:
    """Return the device called ``name``: ``auto`` (the first that can be measured), ``cpu``, ``cuda``, ``cuda:1``.

    ``cuda`` and ``cuda:0`` are the same device. Raises `GapbenchError` for one that is not there (naming what is) or
    that no clock can measure.
    """
    if name == "cpu":
        return Cpu()
    by_name = {each.name: each for each in available()}
    if name == "auto":
        return next(each for each in by_name.values() if each.clocks)
    chosen = by_name.get(name) or by_name.get(f"{name}:0")
    if chosen is None:
        raise unknown("device", name, by_name)
    if not chosen.clocks:
        raise GapbenchError(f"device {chosen.name} cannot be measured yet: it has no clock; use --device cpu")
    return chosen
