"""A Ray cluster as a fleet of equal devices: who is there, a worker on each, asking them. Nothing else knows Ray."""

import contextlib
import logging
import math
import signal
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine import environment
from gapbench.machine.devices import Device, device
from gapbench.measuring import clocks, engine, events, limits
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.store.run import Environment, Warning, differences
from gapbench.workloads.cases import Case

_PATIENCE = 60.0  # seconds in which a device has to be free and its worker ready


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
        """What people call it: where it is, and what."""
        return f"{self.address} {self.kind}:{self.index}" if self.kind == "gpu" else f"{self.address} {self.kind}"


@dataclass(frozen=True, slots=True)
class Described:
    """A device as its machine sees it."""

    name: str
    clocks: tuple[str, ...]
    selectable_clocks: tuple[str, ...]
    environment: Environment


class Worker:
    """Measures a case at a time on the device ``name`` there, as events are asked for; ``hold`` holds it, or raises."""

    def __init__(self, name: str, hold: Callable[[Device], object]) -> None:
        self._device = device(name)
        self._lock = hold(self._device)
        self._before = environment.snapshot()
        self._environment = environment.describe(self._device.name)
        self._events: Iterator[events.Event] = iter(())
        self._throttles: list[Any] = []

    def describe(self) -> Described:
        """Return what it measures on."""
        return Described(self._device.name, self._device.clocks, clocks.selectable(self._device), self._environment)

    def ceilings(self, cases: Sequence[Case]) -> events.CeilingsMeasured:
        """Measure the limits of the device, for all numbers of threads that ``cases`` use."""
        with ForkServer(["gapbench.measuring.worker"]) as server:
            server.wait_ready()
            return limits.ceilings(cases, server)

    def begin(
        self, case_plan: CasePlan, effort: Effort, earlier: Sequence[events.RoundMeasured]
    ) -> events.Event | None:
        """Begin a case plan, of which ``earlier`` rounds count, and return its first event."""
        self._events = engine.measure(Plan((case_plan,), effort), earlier=earlier, with_energy=True)
        return self.next()

    def next(self) -> events.Event | None:
        """Return the next event of the case plan, None at its end."""
        event = next(self._events, None)
        if isinstance(event, events.RoundMeasured):
            self._throttles.append(event.result.telemetry.get("throttle"))
        return event

    def warnings(self) -> list[Warning]:
        """Return what speaks against what was measured here so far."""
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
        """How a run calls it, since pages that are passed around name no hosts."""
        return f"device {self.number} of the fleet"


class LostError(Exception):
    """A worker is gone, with its process, its machine, or the way there."""


@contextlib.contextmanager
def connected(on: str) -> Iterator[None]:
    """Be a driver of the cluster ``on`` for a while: ``ray`` (the one of this machine or RAY_ADDRESS), or ray://….

    Raises `GapbenchError` if there is none, or ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise GapbenchError(f"--on {on} needs Ray ({error}); install it with: pip install 'gapbench[ray]'") from error
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings(action="ignore"):  # what it warns of is what it raises then
            ray.init("auto" if on == "ray" else on, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, ImportError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        said = lines[0] if not lines[0].endswith(":") else f"{lines[0]} {lines[-1]}"  # a traceback of the server's
        raise GapbenchError(f"there is no Ray cluster to be reached by --on {on}: {said}") from error
    signal.signal(signal.SIGTERM, terminated)  # Ray replaces it
    try:
        yield
    finally:
        ray.shutdown()


def slots(device: str = "auto") -> list[DeviceSlot]:
    """Return the devices of the cluster: with ``cpu`` each node's processors, else its GPUs; auto means GPUs if any."""
    every = _all_slots()
    kinds = {slot.kind for slot in every}
    wanted = "cpu" if device == "cpu" or (device == "auto" and "gpu" not in kinds) else "gpu"
    chosen = [slot for slot in every if slot.kind == wanted]
    if not chosen:
        raise GapbenchError(f"the cluster has no {wanted} to measure on; see: gapbench list devices --on ray")
    return chosen


def _all_slots() -> list[DeviceSlot]:
    import ray

    every = []
    for node in ray.nodes():
        resources = node["Resources"] if node["Alive"] else {}
        address = node["NodeID"], node["NodeManagerAddress"]
        gpus, processors = int(resources.get("GPU", 0)), math.floor(resources.get("CPU", 0))
        every += [DeviceSlot(*address, "gpu", index, {"num_gpus": 1.0}) for index in range(gpus)]
        every += [DeviceSlot(*address, "cpu", 0, {"num_cpus": float(processors)})] if processors else []
    return every


def acquire(
    slots: Sequence[DeviceSlot], hold: Callable[[Device], object], device: str = "auto"
) -> tuple[list[DeviceWorker], list[str]]:
    """Put a worker on each of ``slots``, alone there, and return those that came, and why others did not.

    Each holds its device by ``hold``, which is called where the device is, so that what measures there outside of the
    cluster and this keep out of each other's way.

    Raises `RefusedError` if none came.
    """
    import ray

    asked = {}
    for slot in slots:
        own = {**slot.resources, "scheduling_strategy": _only_on(slot.node), "max_restarts": 0}
        actor: Any = ray.remote(Worker).options(**own)
        handle = actor.remote("cpu" if slot.kind == "cpu" else device, hold)
        asked[handle.describe.remote()] = slot, handle
    ready, late = ray.wait(list(asked), num_returns=len(asked), timeout=_PATIENCE)
    members, absent = [], []
    for answer in ready:
        slot, handle = asked[answer]
        try:
            members.append(DeviceWorker(slots.index(slot) + 1, slot, ray.get(answer), handle))
        except ray.exceptions.RayError as error:
            absent.append(f"{slot.name} takes no part: {_reason(error)}")
    for answer in late:
        slot, handle = asked[answer]
        ray.kill(handle)
        absent.append(f"{slot.name} takes no part: it was not free within {_PATIENCE:.0f} s")
    if not members:
        raise RefusedError(f"no device of the fleet can be measured on: {'; '.join(absent)}")
    return sorted(members, key=lambda member: member.number), absent


def list_devices() -> list[dict[str, Any]]:
    """Return one row for each device, free or not: where it is, what it is, and the gapbench that would measure it."""
    import ray

    slots = [slot for kind in ("gpu", "cpu") for slot in _all_slots() if slot.kind == kind]
    remote = ray.remote(_describe_machine).options
    asked = {
        node: remote(num_cpus=0, scheduling_strategy=_only_on(node), max_retries=0).remote()
        for node in dict.fromkeys(slot.node for slot in slots)
    }
    ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=_PATIENCE)
    machines = defaultdict[str, dict[str, Any]](dict)
    for node, answer in asked.items():
        if answer in ready:
            with contextlib.suppress(ray.exceptions.RayError):  # a node that is lost meanwhile is shown by its name
                machines[node] = ray.get(answer)
    rows = []
    for slot in slots:
        machine = machines[slot.node]
        names = machine.get(slot.kind) or []
        description = names[slot.index] if slot.index < len(names) else None
        rows.append({"name": slot.name, "description": description, "gapbench": machine.get("gapbench")})
    return rows


def _describe_machine() -> dict[str, Any]:
    """Return the names of a machine's processors and GPUs, and the version of gapbench there."""
    described = environment.describe("cpu")
    gpus = [gpu.name for gpu in described.machine.gpus]
    return {"cpu": [described.machine.cpu], "gpu": gpus, "gapbench": described.versions["gapbench"]}


def _only_on(node: str) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def equal(members: Sequence[DeviceWorker]) -> list[list[DeviceWorker]]:
    """Return the members in groups whose numbers may stand in one run: equal processors, GPUs, drivers, versions."""
    groups: list[list[DeviceWorker]] = []
    for member in members:
        mine = member.described
        for group in groups:
            other = group[0].described
            if mine.name == other.name and not differences(mine.environment, other.environment, packages=True):
                group.append(member)
                break
        else:
            groups.append([member])
    return groups


def ask(member: DeviceWorker, method: str, *arguments: object) -> Any:
    """Ask a worker for something, and return what stands for its answer."""
    return getattr(member.handle, method).remote(*arguments)


def first(answers: Sequence[Any]) -> Any:
    """Wait until one of ``answers`` is there, and return what stands for it."""
    import ray

    ready, _ = ray.wait(list(answers), num_returns=1)
    return ready[0]


def take(answer: Any) -> Any:
    """Return an answer itself. Raises `LostError` if who should give it is gone, and what it raised itself."""
    import ray

    try:
        return ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
    except ray.exceptions.RayError as error:  # the actor, its node, or the answer on its way
        raise LostError(type(error).__name__) from error


def _reason(error: Exception) -> str:
    """Return the line that tells: the last of a remote traceback, the first of Ray's own words."""
    lines = [line.strip() for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
    if getattr(error, "actor_init_failed", False) and lines:  # its text ends with what the worker raised
        return lines[-1].partition("Error: ")[2] or lines[-1]
    return (lines or [type(error).__name__])[0]
