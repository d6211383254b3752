"""A Ray cluster as a fleet of devices: find them, put a worker on each, call it. No other module uses Ray."""

import contextlib
import logging
import math
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine import environment
from gapbench.machine.devices import Device, device
from gapbench.measuring import clocks, engine, events
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.store.run import Environment, Warning, differences
from gapbench.workloads.cases import Case

_TIMEOUT = 60.0  # seconds until a device must be free and its worker ready


@dataclass(frozen=True, slots=True)
class DeviceSlot:
    """A device that can be acquired whole: a GPU, or all processors of a node."""

    node: str
    address: str
    kind: str  # cpu or gpu
    index: int  # of its kind on the node
    resources: dict[str, float]

    @property
    def name(self) -> str:
        """The device's name for people: its address and its kind."""
        return f"{self.address} {self.kind}:{self.index}" if self.kind == "gpu" else f"{self.address} {self.kind}"


@dataclass(frozen=True, slots=True)
class Described:
    """A device as its own machine describes it."""

    name: str
    clocks: tuple[str, ...]
    selectable_clocks: tuple[str, ...]
    environment: Environment


class Worker:
    """An actor on a machine of the cluster that measures one case at a time on the device ``name``, which it locks."""

    def __init__(self, name: str, lock: Callable[[Device], object]) -> None:
        self._device = device(name)
        self._lock = lock(self._device)
        self._before = environment.snapshot()
        self._environment = environment.describe(self._device.name)
        self._events: Iterator[events.Event] = iter(())
        self._throttles: list[Any] = []

    def describe(self) -> Described:
        """Return the device and its environment."""
        return Described(self._device.name, self._device.clocks, clocks.selectable(self._device), self._environment)

    def ceilings(self, cases: Sequence[Case]) -> events.CeilingsMeasured:
        """Measure the limits of the device, for all thread counts of ``cases``."""
        with ForkServer(["gapbench.measuring.worker"]) as server:
            server.wait_ready()
            return engine.measure_ceilings(cases, server)

    def begin(
        self, case_plan: CasePlan, effort: Effort, earlier: Sequence[events.RoundMeasured]
    ) -> events.Event | None:
        """Begin a case plan, of which ``earlier`` rounds are done, and return its first event."""
        self._events = engine.measure(Plan((case_plan,), effort), earlier=earlier)
        return self.next()

    def next(self) -> events.Event | None:
        """Return the next event of the case plan, None at its end."""
        event = next(self._events, None)
        if isinstance(event, events.RoundMeasured):
            self._throttles.append(event.result.telemetry.get("throttle"))
        return event

    def warnings(self) -> list[Warning]:
        """Return warnings about what was measured on this machine so far."""
        return environment.warnings(self._before, environment.snapshot(), self._environment.machine, self._throttles)


@dataclass(frozen=True, slots=True)
class DeviceWorker:
    """A device with a worker on it."""

    number: int
    slot: DeviceSlot
    described: Described
    handle: Any

    @property
    def name(self) -> str:
        """The device's name in a run, without its host, since pages may be shared."""
        return f"device {self.number} of the fleet"


class LostError(Exception):
    """A worker is lost, with its process, its machine, or the connection."""


@contextlib.contextmanager
def connected(on: str) -> Iterator[None]:
    """Connect to the cluster ``on``: ``ray`` or ray://HOST:PORT. Raises `GapbenchError` without it, or without Ray."""
    try:
        import ray
    except ImportError as error:
        raise GapbenchError(f"--on {on} needs Ray ({error}); install it with: pip install 'gapbench[ray]'") from error
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(action="ignore"):  # it raises the same as an error
            ray.init("auto" if on == "ray" else on, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, ImportError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = lines[0] if not lines[0].endswith(":") else f"{lines[0]} {lines[-1]}"  # of the server's traceback
        raise GapbenchError(f"there is no Ray cluster to be reached by --on {on}: {reason}") from error
    signal.signal(signal.SIGTERM, terminated)  # Ray replaces it
    try:
        yield
    finally:
        ray.shutdown()


def slots(device: str = "auto") -> list[DeviceSlot]:
    """Return the devices of the cluster: GPUs, or for ``cpu`` each node's processors; auto means GPUs if any."""
    import ray

    gpus, cpus = list[DeviceSlot](), list[DeviceSlot]()
    for node in ray.nodes():
        resources = node["Resources"] if node["Alive"] else {}
        address = node["NodeID"], node["NodeManagerAddress"]
        gpus += [DeviceSlot(*address, "gpu", i, {"num_gpus": 1.0}) for i in range(int(resources.get("GPU", 0)))]
        if processors := math.floor(resources.get("CPU", 0)):
            cpus.append(DeviceSlot(*address, "cpu", 0, {"num_cpus": float(processors)}))
    kind, chosen = ("cpu", cpus) if device == "cpu" or (device == "auto" and not gpus) else ("gpu", gpus)
    if not chosen:
        raise GapbenchError(f"the cluster has no {kind} to measure on; see: ray list nodes")
    return chosen


def acquire(
    slots: Sequence[DeviceSlot], lock: Callable[[Device], object], device: str = "auto"
) -> tuple[list[DeviceWorker], list[str]]:
    """Put a worker on each of ``slots``, which calls ``lock`` there; return them, and sentences about the others.

    Raises `RefusedError` if no slot could be acquired.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = {}
    for slot in slots:
        only_there = NodeAffinitySchedulingStrategy(slot.node, soft=False)
        own = {**slot.resources, "scheduling_strategy": only_there, "max_restarts": 0}
        actor: Any = ray.remote(Worker).options(**own)
        handle = actor.remote("cpu" if slot.kind == "cpu" else device, lock)
        asked[handle.describe.remote()] = slot, handle
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=_TIMEOUT)
    workers, absent = [], []
    for answer in ready:
        slot, handle = asked[answer]
        try:
            workers.append(DeviceWorker(slots.index(slot) + 1, slot, ray.get(answer), handle))
        except ray.exceptions.RayError as error:
            absent.append(f"{slot.name} takes no part: {_reason(error)}")
    for answer in late:
        slot, handle = asked[answer]
        ray.kill(handle)
        absent.append(f"{slot.name} takes no part: it was not free within {_TIMEOUT:.0f} s")
    if not workers:
        raise RefusedError(f"no device of the fleet can be measured on: {'; '.join(absent)}")
    return sorted(workers, key=lambda worker: worker.number), absent


def equal(workers: Sequence[DeviceWorker]) -> list[list[DeviceWorker]]:
    """Group workers whose times may stand in one run: equal processors, GPUs, drivers and versions."""
    groups: list[list[DeviceWorker]] = []
    for worker in workers:
        for group in groups:
            mine, other = worker.described, group[0].described
            if mine.name == other.name and not differences(mine.environment, other.environment, packages=True):
                group.append(worker)
                break
        else:
            groups.append([worker])
    return groups


def ask(worker: DeviceWorker, method: str, *arguments: object) -> Any:
    """Call a worker's method, and return a reference to its answer."""
    return getattr(worker.handle, method).remote(*arguments)


def first(answers: Sequence[Any]) -> Any:
    """Wait for one of the ``answers``, and return its reference."""
    import ray

    ready, _ = ray.wait(list(answers), num_returns=1)
    return ready[0]


def take(answer: Any) -> Any:
    """Return the answer of a reference. Raises `LostError` if its worker is lost, and whatever the worker raised."""
    import ray

    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:  # the actor, its node, or the transfer failed
        raise LostError(type(error).__name__) from error


def _reason(error: Exception) -> str:
    """Return the line with the reason: the last of a remote traceback, the first of Ray's own message."""
    lines = [line.strip() for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
    if getattr(error, "actor_init_failed", False) and lines:  # its text ends with what the worker raised
        return lines[-1].partition("Error: ")[2] or lines[-1]
    return (lines or [type(error).__name__])[0]
