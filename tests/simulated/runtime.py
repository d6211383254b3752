"""What gapbench uses of torch, for the simulated accelerator (and a simulated host that computes synchronously)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

from simulated.cache import Buffer, Cache
from simulated.device import SimulatedDevice, Stream
from simulated.kernels import Kernel


class SimulatedCpu:
    """A processor: what is launched is done on return."""

    def __init__(self, device: SimulatedDevice, cache: Cache) -> None:
        self.host, self.cache = device.host, cache

    def launch(self, kernel: Kernel) -> None:
        self.host.spend(kernel.duration(self.cache))


class SimulatedTensor:
    """Memory of a device, and the few operations that are asked of it."""

    def __init__(
        self, device: SimulatedDevice | SimulatedCpu, buffer: Buffer, nbytes: int | None = None, rows: int = 1
    ) -> None:
        self._device, self._buffer, self._rows = device, buffer, rows
        self._nbytes = buffer.nbytes if nbytes is None else nbytes

    def numel(self) -> int:
        return self._nbytes // 4

    def zero_(self) -> "SimulatedTensor":
        self._device.launch(Kernel(1e-6, writes=(self._buffer,), nbytes=self._nbytes))
        return self

    def sum(self, *_dim: int) -> "SimulatedTensor":
        self._device.launch(Kernel(1e-6, reads=(self._buffer,) * self._rows, nbytes=self._nbytes))
        return SimulatedTensor(self._device, Buffer(4))

    def mean(self) -> "SimulatedTensor":
        return self.sum()

    def expand(self, rows: int, _columns: int) -> "SimulatedTensor":
        return SimulatedTensor(self._device, self._buffer, self._nbytes, rows)

    def copy_(self, other: "SimulatedTensor") -> "SimulatedTensor":
        self._device.launch(Kernel(1e-6, reads=(other._buffer,), writes=(self._buffer,)))
        return self

    def index_select(self, _dim: int, _index: object) -> "SimulatedTensor":
        return self.sum()

    def to(self, _device: str) -> "SimulatedTensor":
        return self

    def __getitem__(self, key: object) -> "SimulatedTensor":
        if isinstance(key, slice):
            return SimulatedTensor(self._device, self._buffer, 4 * key.stop)
        return self


class SimulatedStream(Stream):
    """Like `torch.Stream`: current within its ``with`` block."""

    def __init__(self, device: SimulatedDevice) -> None:
        super().__init__()
        self._device = device

    def __enter__(self) -> None:
        self._before, self._device.current = self._device.current, self

    def __exit__(self, *_: object) -> None:
        self._device.current = self._before


class SimulatedEvent:
    """Like `torch.Event`: strict about what may be asked when."""

    def __init__(self, device: SimulatedDevice, enable_timing: bool) -> None:
        self._device, self._enable_timing = device, enable_timing
        self.moment: float | None = None

    def record(self, stream: Stream) -> None:
        self.moment = self._device.record(stream)

    def synchronize(self) -> None:
        self._device.host.wait_until(self.moment or 0.0)
        self._device.host.spend(1e-6)

    def elapsed_time(self, end: "SimulatedEvent") -> float:
        if not (self._enable_timing and end._enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self.moment is None or end.moment is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        if self._device.host.seconds < max(self.moment, end.moment):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return 1e3 * (self._read(end.moment) - self._read(self.moment))

    def _read(self, moment: float) -> float:
        resolution = self._device.costs.resolution
        return (moment // resolution * resolution if resolution else moment) * self._device.costs.skew


class SimulatedGraph:
    """Kernels captured from a stream of the device's own."""

    def __init__(self, device: SimulatedDevice) -> None:
        self._device = device
        self._kernels: list[Kernel] = []

    @contextmanager
    def capture(self, stream: Stream) -> Iterator[None]:
        if stream is self._device.streams[0]:
            raise RuntimeError("CUDA graphs must be captured on a non-default stream.")
        before, self._device.current = self._device.current, stream
        stream.captured = self._kernels
        try:
            yield
        finally:
            stream.captured = None
            self._device.current = before
        if stream.invalidated:
            stream.invalidated = False
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    def replay(self) -> None:
        self._device.replay(self._kernels)


class SimulatedProfiler:
    """Like `torch.autograd.profiler.profile`, by Kineto: the host's events, and kernels by the device's own clock."""

    def __init__(self, device: SimulatedDevice, **_: object) -> None:
        self._device = device

    def __enter__(self) -> "SimulatedProfiler":
        self._before = len(self._device.profiled)
        return self

    def __exit__(self, *_: object) -> None:
        kernels = [_event("DeviceType.CUDA", seconds) for seconds in self._device.profiled[self._before :]]
        self.kineto_results = SimpleNamespace(events=lambda: [_event("DeviceType.CPU", 1.0), *kernels])


def _event(device_type: str, seconds: float) -> SimpleNamespace:
    return SimpleNamespace(device_type=lambda: device_type, duration_ns=lambda: round(1e9 * seconds))


class SimulatedRuntime:
    """The module ``torch``, as far as it goes. ``family`` "cuda" has all that torch.cuda has, others nothing."""

    def __init__(self, device: SimulatedDevice, family: str = "cuda", cpu_cache: int = 8 * 2**20) -> None:
        self.device, self.family = device, family
        self.cpu = SimulatedCpu(device, Cache(cpu_cache))
        self.current_index: int | None = None
        self.accelerator = SimpleNamespace(
            is_available=lambda: True,
            current_accelerator=lambda: SimpleNamespace(type=family),
            device_count=lambda: 2,
            set_device_index=self._set_device_index,
            synchronize=self._synchronize,
            current_stream=lambda index: device.current,
            set_stream=self._set_stream,
            memory_allocated=lambda index: device.allocated,
            memory_reserved=lambda index: device.allocated,
            get_memory_info=lambda index: (device.memory - device.held_by_others - device.allocated, device.memory),
        )
        self.autograd = SimpleNamespace(profiler=SimpleNamespace(profile=partial(SimulatedProfiler, device)))
        if family == "cuda":
            self.cuda = SimpleNamespace(
                _sleep=lambda cycles: device.launch(Kernel(cycles / device.cycles_per_second)),
                CUDAGraph=lambda: SimulatedGraph(device),
                graph=SimulatedGraph.capture,
                current_stream=lambda index=0: device.current,
                get_device_properties=lambda index: SimpleNamespace(L2_cache_size=device.cache.nominal),
            )

    def _set_device_index(self, index: int) -> None:
        self.current_index = index

    def _set_stream(self, stream: Stream) -> None:
        self.device.current = stream

    def Stream(self, _device: str) -> Stream:  # noqa: N802 - torch's name
        stream = SimulatedStream(self.device)
        self.device.streams.append(stream)
        return stream

    def _synchronize(self, index: int) -> None:
        assert self.current_index == index, "the device is made current before it is waited for"
        self.device.synchronize()

    def Event(self, _device: str, *, enable_timing: bool = False) -> SimulatedEvent:  # noqa: N802 - torch's name
        return SimulatedEvent(self.device, enable_timing)

    def zeros(self, shape: int | tuple[int, int], device: str) -> SimulatedTensor:
        elements = shape if isinstance(shape, int) else shape[0] * shape[1]
        return SimulatedTensor(self.cpu if device == "cpu" else self.device, Buffer(4 * elements))

    def randperm(self, n: int, **_: object) -> SimulatedTensor:
        return SimulatedTensor(self.cpu, Buffer(8 * n))

    def Generator(self) -> SimpleNamespace:  # noqa: N802 - torch's name
        return SimpleNamespace(manual_seed=lambda seed: self)
