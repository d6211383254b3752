"""What runs on each device of a fleet: the engine, a case at a time, an event whenever it is asked for one."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gapbench import environment
from gapbench.cases import Case
from gapbench.devices import Device, device
from gapbench.measuring import engine, limits
from gapbench.measuring.forkserver import ForkServer
from gapbench.measuring.plan import Contest, Effort, Plan
from gapbench.run import Environment, Warning


@dataclass(frozen=True, slots=True)
class Described:
    """A device as its machine sees it."""

    name: str
    clocks: tuple[str, ...]
    selectable_clocks: tuple[str, ...]
    environment: Environment


class Worker:
    """Measures on the device called ``name`` there. What it is told to begin goes on only as events are asked for.

    It holds the device by ``hold``, which raises where it is held already, for as long as its process lives.
    """

    def __init__(self, name: str, hold: Callable[[Device], object]) -> None:
        self._device = device(name)
        self._lock = hold(self._device)
        self._before = environment.snapshot()
        self._environment = environment.describe(self._device.name)
        self._events: Iterator[engine.Event] = iter(())
        self._rounds: list[dict[str, Any]] = []

    def describe(self) -> Described:
        """Return what it measures on."""
        return Described(self._device.name, self._device.clocks, self._device.selectable_clocks, self._environment)

    def ceilings(self, cases: Sequence[Case]) -> engine.CeilingsMeasured:
        """Measure the limits of the device, for all numbers of threads that ``cases`` use."""
        with ForkServer(["gapbench.measuring.worker"]) as server:
            server.wait_ready()
            return limits.ceilings(cases, server)

    def begin(self, contest: Contest, effort: Effort, earlier: Sequence[engine.RoundMeasured]) -> engine.Event | None:
        """Begin a contest, of which ``earlier`` rounds count, and return its first event."""
        self._events = engine.measure(Plan((contest,), effort), earlier=earlier, with_energy=True)
        return self.next()

    def next(self) -> engine.Event | None:
        """Return the next event of the contest, None at its end."""
        event = next(self._events, None)
        if isinstance(event, engine.RoundMeasured):
            self._rounds.append({name: event.result.telemetry.get(name) for name in ("throttle", "steal")})
        return event

    def warnings(self) -> list[Warning]:
        """Return what speaks against what was measured here so far."""
        return environment.warnings(self._before, environment.snapshot(), self._environment.machine, self._rounds)


def describe_machine() -> dict[str, Any]:
    """Return the names of a machine's processors and GPUs, and the version of gapbench there."""
    described = environment.describe("cpu")
    gpus = [gpu.name for gpu in described.machine.gpus]
    return {"cpu": [described.machine.cpu], "gpu": gpus, "gapbench": described.versions["gapbench"]}
