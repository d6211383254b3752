"""The accelerator: streams that work through their queues, and graphs, in virtual time.

All is decided when it is launched: a stream's work is done in order, so it is known at once when each piece will end.
"""

from collections import deque
from dataclasses import dataclass, field

from simulated.cache import Cache
from simulated.kernels import Kernel
from simulated.speed import Speed
from simulated.virtual_time import HostTime


@dataclass(eq=False)
class Stream:
    """A queue of work: ``idle_from`` is when all of it will be done."""

    idle_from: float = 0.0
    captured: list[Kernel] | None = None  # while a graph is captured
    invalidated: bool = False  # a capture that touched another stream


@dataclass
class Costs:
    """What things take beside the kernels, in seconds, and how finely the device reads time."""

    launch: float = 6e-6  # the host's, as are the next three
    record: float = 0.5e-6
    synchronize: float = 5e-6
    replay: float = 9e-6
    event: float = 0.7e-6  # the device's, as are the next two: the floor
    graph: float = 2e-6
    between_kernels: float = 0.0
    resolution: float = 0.0
    queue: int = 1000  # launches that may wait; beyond, the host does
    context: float = 0.0  # the host's, before the first work of the process
    outlier: float = 0.0  # the device's: what every so manieth event takes longer, as a foreign time slice does
    outlier_every: int = 300
    skew: float = 1.0  # the device's seconds of a second
    leak: int = 0  # bytes that each launch leaves allocated


@dataclass
class SimulatedDevice:
    """An accelerator with a last-level cache, a clock rate and costs."""

    host: HostTime
    cache: Cache = field(default_factory=lambda: Cache(40 * 2**20))
    speed: Speed = field(default_factory=Speed)
    costs: Costs = field(default_factory=Costs)
    cycles_per_second: float = 1.7e9

    def __post_init__(self) -> None:
        self.streams = [Stream()]
        self.current = self.streams[0]
        self._waiting: deque[float] = deque()
        self._begun = False
        self._events = 0
        self.allocated, self.held_by_others, self.memory = 0, 0, 80 * 2**30
        self.profiled: list[float] = []  # the seconds of all kernels

    def launch(self, kernel: Kernel, stream: Stream | None = None) -> None:
        """Queue a kernel, or capture it."""
        stream = stream or self.current
        self.host.spend(self.costs.launch)
        self.allocated += self.costs.leak
        capturing = next((each for each in self.streams if each.captured is not None), None)
        if capturing is not None and stream is self.streams[0]:
            capturing.invalidated = True
            raise RuntimeError("operation would make the legacy stream depend on a capturing blocking stream")
        if stream.captured is not None:
            stream.captured.append(kernel)
        else:
            self._enqueue(stream, [kernel], self.costs.between_kernels)

    def record(self, stream: Stream) -> float:
        """Queue an event; return the device's time of it."""
        self.host.spend(self.costs.record)
        self._events += 1
        late = self.costs.outlier if self._events % self.costs.outlier_every == 0 else 0.0
        return self._enqueue(stream, [], self.costs.event + late)

    def replay(self, kernels: list[Kernel]) -> None:
        """Queue a graph."""
        self.host.spend(self.costs.replay)
        self._enqueue(self.current, kernels, self.costs.graph)

    def synchronize(self) -> None:
        """Let the host wait for all streams."""
        if any(stream.captured is not None for stream in self.streams):
            raise RuntimeError("operation not permitted when stream is capturing")
        self.host.wait_until(max(stream.idle_from for stream in self.streams))
        self.host.spend(self.costs.synchronize)

    def _enqueue(self, stream: Stream, kernels: list[Kernel], fixed: float) -> float:
        """Put kernels into a stream's queue after a ``fixed`` time that no clock rate changes; return when they end."""
        if not self._begun:
            self._begun = True
            self.host.spend(self.costs.context)
        while self._waiting and self._waiting[0] <= self.host.seconds:
            self._waiting.popleft()
        if len(self._waiting) >= self.costs.queue:
            self.host.wait_until(self._waiting.popleft())
        moment = max(stream.idle_from, self.host.seconds) + fixed
        for kernel in kernels:
            begin = self.speed.granted(moment + kernel.gap)
            moment = begin + kernel.duration(self.cache) / self.speed.at(begin)
            self.speed.work(moment - begin)
            self.profiled.append(moment - begin)
        stream.idle_from = moment
        self._waiting.append(moment)
        return moment
