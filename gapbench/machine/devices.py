"""Find, describe and drive devices: one class per family.

`available`, `device` and ``describe`` do not initialise a device; only workers do, in fresh processes. Only workers use
events, delays and flushes. ``runtime`` replaces torch in tests.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, ClassVar, Protocol

from gapbench.errors import GapbenchError, counted, unknown
from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

UNKNOWN_CACHE = 256 * 2**20
"""Assumed bytes of a last-level cache of unknown size: larger than nearly all, as the canary shows."""

_UNKNOWN_CANARY = 4 * 2**20  # bytes of a canary for such a cache: small enough for nearly all
_LINE = 128  # bytes; GPUs have lines of 128, most CPUs of 64

INFINITY_CACHE = {
    "gfx942": 256 * 2**20, "gfx950": 256 * 2**20, "gfx1030": 128 * 2**20, "gfx1100": 96 * 2**20,
    "gfx1101": 64 * 2**20,
}  # fmt: skip
"""Bytes of the cache behind the L2 caches of some AMD GPUs, which HIP does not report: MI300 and MI350 (source: AMD's
CDNA 3 and CDNA 4 white papers), Radeon RX 6800 to 6950, RX 7900 XTX and RX 7800 XT (source: AMD's data sheets)."""

_CALIBRATION_FILLS = 8
_CALIBRATION_CYCLES = 1_000_000


class _Cached(ABC):
    """Flushing and a canary for caches, through torch alone."""

    name: str
    runtime: Any
    _canary_share: ClassVar[int]  # a canary is the last-level cache's size divided by this

    @property
    @abstractmethod
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache in bytes, None where it is unknown."""

    @property
    def torch(self) -> Any:
        if self.runtime is not None:
            return self.runtime
        import torch

        return torch

    @cached_property
    def _buffer(self) -> Any:
        """Twice the last-level cache's size; written once, or the system would let all of it be one page of zeros."""
        return self.torch.zeros((self.cache_bytes or UNKNOWN_CACHE) // 2, device=self.name).zero_()

    def flush(self, write: bool = False) -> None:
        """Empty the caches, or queue that, by reading, with ``write`` after writing: reading leaves nothing dirty."""
        if write:
            self._buffer.zero_()
        self._buffer.sum()

    def canary(self, share: int | None = None) -> Callable[[], object]:
        """Return a call that touches all lines of a canary, a part of the last-level cache's size, in random order.

        The part is 1 / ``share``. A sweep in order would be prefetched, and hardly slower from memory than a cache.
        """
        share = share or self._canary_share
        lines = (self.cache_bytes // share if self.cache_bytes else _UNKNOWN_CANARY) // _LINE
        column = self.torch.zeros((lines, _LINE // 4), device=self.name)[:, 0]
        order = self.torch.randperm(lines, generator=self.torch.Generator().manual_seed(0)).to(self.name)
        return lambda: column.index_select(0, order)


@dataclass(frozen=True)
class Cpu(_Cached):
    """The host's processor, whose calls are complete when they return; ``clocks`` are its default clocks."""

    runtime: Any = field(default=None, repr=False, compare=False)
    name: str = "cpu"
    clocks: tuple[str, ...] = ("host",)
    uuid: ClassVar[None] = None
    # An eighth exceeds the nearer caches, and is small enough to stay in a shared cache beside other data.
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
        """Return at once: no work is pending."""

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache in bytes, None where it cannot be read."""
        for level in (4, 3, 2):
            try:
                return host.cache_bytes(level)
            except UnreadableError:
                continue
        return None


@cache
def _stream_of(runtime: Any, name: str) -> Any:
    return runtime.Stream(name)


class Event:
    """A moment in the device's work: the end of all work queued before on its current stream."""

    def __init__(self, device: "Accelerator") -> None:
        self._device = device
        self._event = device.torch.Event(device.name, enable_timing=True)

    def record(self) -> None:
        """Queue the event."""
        self._event.record(self._device.torch.accelerator.current_stream(self._device.index))

    def seconds_until(self, later: "Event") -> float:
        """Wait for ``later``, and return the device's seconds from this event to it."""
        later._event.synchronize()  # elapsed_time raises on unfinished events
        return float(self._event.elapsed_time(later._event)) * 1e-3


class Graph(Protocol):
    """Captured work that is launched as one."""

    def replay(self) -> None:
        """Queue all of it on the current stream."""


@dataclass(frozen=True)
class Accelerator(_Cached):
    """A device that `torch.accelerator` drives, with streams and events: calls return before their work is done.

    ``name`` is like ``xpu:0``; without an index it is the first device. ``clocks`` are its default clocks.
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
        """The physical device's identity, None where the backend has none. For workers: it initialises the device."""
        uuid = getattr(self._properties, "uuid", None)
        return None if uuid is None else str(uuid)

    def describe(self) -> dict[str, Any]:
        """Return its marketing name, None where the backend does not report it without initialisation."""
        module = getattr(self.torch, self.family, None)
        initialized = getattr(module, "is_initialized", lambda: False)()
        name = getattr(module, "get_device_name", None)
        return {"description": name(self.index) if name and initialized else None}

    @property
    def _properties(self) -> Any:
        """What the backend reports of the device, None if it has no such call; initialises the device."""
        module = getattr(self.torch, self.family, None)
        return getattr(module, "get_device_properties", lambda _index: None)(self.index)

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache in bytes, None where the backend does not report it."""
        return getattr(self._properties, "last_level_cache_size", None) or None

    def facts(self) -> dict[str, Any]:
        """Return what identifies it, for `run.Machine`; None is what the backend does not report. Initialises it."""
        properties = self._properties
        return {
            "device_description": getattr(properties, "name", None),
            "device_uuid": self.uuid,
            "device_memory_bytes": getattr(properties, "total_memory", None),
            "device_cache_bytes": self.cache_bytes,
            "device_processors": getattr(properties, "multi_processor_count", None),
        }

    def near_cpus(self) -> frozenset[int]:
        """Return the host's CPUs that are nearest to it, none where that is unknown."""
        properties = self._properties
        address = [getattr(properties, f"pci_{part}_id", None) for part in ("domain", "bus", "device")]
        if None in address:
            return frozenset()
        domain, bus, number = map(int, address)  # type: ignore[arg-type]
        named = f"{domain:04x}:{bus:02x}:{number:02x}.0"
        return Reasons().attempt("near_cpus", lambda: host.near_cpus(named)) or frozenset()

    def make_current(self) -> None:
        """Make this the default device of new work, on a stream of our own; workers do so first.

        A graph captures only what is on a stream that can capture, so all is done there, from the first input on.
        """
        accelerator = self.torch.accelerator
        select = getattr(accelerator, "set_device_index", None) or accelerator.set_device_idx  # before torch 2.8
        select(self.index)
        if hasattr(accelerator, "set_stream"):
            accelerator.set_stream(_stream_of(self.torch, self.name))

    def synchronize(self) -> None:
        """Wait for all work on all streams. For use outside timed regions: it may take a millisecond."""
        self.make_current()
        self.torch.accelerator.synchronize(self.index)

    def range(self, name: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Return a context whose work the vendor's profilers show under ``name``, where they can."""
        return nullcontext()

    def event(self) -> Event:
        """Return a new event with timing."""
        return Event(self)

    def delay(self, seconds: float) -> float | None:
        """Queue work of about ``seconds``, and return its cycles of the processors' clock, None if unknown."""
        self._fill(seconds * self._fill_rate)
        return None

    def _fill(self, nbytes: float) -> None:
        while (elements := min(int(nbytes) // 4, self._buffer.numel())) > 0:
            self._buffer[:elements].zero_()
            nbytes -= 4 * elements

    @cached_property
    def _fill_rate(self) -> float:
        nbytes = 2 * (self.cache_bytes or UNKNOWN_CACHE)
        self._fill(nbytes)
        before, after = self.event(), self.event()
        before.record()
        for _ in range(_CALIBRATION_FILLS):
            self._fill(nbytes)
        after.record()
        # At least 1 µs, for a backend that executes nothing (a stub).
        return _CALIBRATION_FILLS * nbytes / max(before.seconds_until(after), 1e-6)

    @property
    def has_graphs(self) -> bool:
        """Whether work can be captured and replayed."""
        return self.family == "cuda" or hasattr(self.torch.accelerator, "Graph")

    def capture(self, launch: Callable[[], None]) -> Graph:
        """Return a graph of all work that ``launch`` launches. Raises the backend's error if it cannot."""
        graph: Graph = self.torch.accelerator.Graph()
        self.synchronize()
        with graph:  # type: ignore[attr-defined]
            launch()
        return graph


@dataclass(frozen=True)
class Cuda(Accelerator):
    """A GPU of NVIDIA, or of AMD (ROCm): it can spin for a number of cycles, and replay graphs in every torch."""

    def describe(self) -> dict[str, Any]:
        """Return its marketing name by NVML, which initialises nothing; else as `Accelerator` does."""
        with nvml.every_gpu(Reasons()) as gpus:
            names = {gpu.describe(Reasons(), "")["name"] for gpu in gpus}
        # CUDA's order may differ from NVML's, so all GPUs must be of one kind.
        return {"description": names.pop()} if len(names) == 1 else super().describe()

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache."""
        properties = self._properties
        architecture = getattr(properties, "gcnArchName", "").partition(":")[0]
        return INFINITY_CACHE.get(architecture) or getattr(properties, "L2_cache_size", None) or None

    def range(self, name: str) -> AbstractContextManager[object]:
        """Return an NVTX (on ROCm, roctx) range."""
        nvtx = getattr(self.torch.cuda, "nvtx", None)
        return nvtx.range(name) if nvtx else nullcontext()

    def delay(self, seconds: float) -> float | None:
        """Queue a kernel that spins for about ``seconds``, and return its cycles; None on AMD, with another clock."""
        cycles = round(seconds * self._cycles_per_second)
        self.torch.cuda._sleep(cycles)
        return None if getattr(getattr(self.torch, "version", None), "hip", None) else cycles

    @cached_property
    def _cycles_per_second(self) -> float:
        """The rate of the clock that a spin counts, measured because it differs between GPUs."""
        before, after = self.event(), self.event()
        seconds = []
        for cycles in (1, 1, 2):  # the first launch loads the kernel
            before.record()
            self.torch.cuda._sleep(cycles * _CALIBRATION_CYCLES)
            after.record()
            seconds.append(before.seconds_until(after))
        return _CALIBRATION_CYCLES / max(seconds[2] - seconds[1], 1e-6)  # without the time of a launch

    def capture(self, launch: Callable[[], None]) -> Graph:
        """Return a graph of all work that ``launch`` launches. Raises torch's error where it cannot capture it."""
        graph: Graph = self.torch.cuda.CUDAGraph()
        self.make_current()
        with self.torch.cuda.graph(graph, stream=_stream_of(self.torch, self.name)):
            launch()
        return graph


Device = Cpu | Accelerator

FAMILIES: dict[str, type[Accelerator]] = {"cuda": Cuda}


def _why_no_gpu() -> str:
    """Return why torch cannot use the GPUs that NVML lists, with the remedy; empty where it lists none."""
    import torch

    with nvml.every_gpu(Reasons()) as gpus:
        described = [gpu.describe(Reasons(), "") for gpu in gpus]
    if not described:
        return ""
    needed, driver = torch.version.cuda, described[0]["cuda"]
    if needed is None:
        why = "this torch was built without CUDA: install a build that has it"
    elif driver and [*map(int, driver.split("."))] < [*map(int, needed.split("."))]:
        why = f"the driver {described[0]['driver']} supports CUDA {driver} and torch needs {needed}: update the driver"
    elif any(gpu["mig"] for gpu in described):
        why = "MIG is on, and no slice is visible: create one, or name its UUID in CUDA_VISIBLE_DEVICES"
    else:
        why = "look at CUDA_VISIBLE_DEVICES, and at the container's access to GPUs"
    return f"; NVML lists {counted(len(described), 'GPU')}, but {why}"


def available(runtime: Any = None) -> list[Device]:
    """Return the devices of this machine, the CPU last. Accelerators have names like ``cuda:0``."""
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

    ``cuda`` is ``cuda:0``. Raises `GapbenchError` for a missing device, with a list, and for one without a clock.
    """
    if name == "cpu":
        return Cpu()
    by_name = {each.name: each for each in available()}
    if name == "auto":
        return next(each for each in by_name.values() if each.clocks)
    chosen = by_name.get(name) or by_name.get(f"{name}:0")
    if chosen is None:
        missing = unknown("device", name, by_name)
        why = _why_no_gpu() if name.partition(":")[0] == "cuda" and "cuda:0" not in by_name else ""
        raise GapbenchError(f"{missing}{why}")
    if not chosen.clocks:
        raise GapbenchError(f"device {chosen.name} cannot be measured yet: it has no clock; use --device cpu")
    return chosen
