"""The state of the machine around a round: GPU clock, temperature, power, throttling, stolen time.

``open_probe`` in the worker, ``read`` before and after (and, outside timed batches, during) the round, ``between`` for
the columns of `records.SAMPLES`. Nothing here waits, and what cannot be read is None. The rest of the package: `host`
(Linux), `nvml` (NVIDIA), `energy`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.host import CpuTime
from gapbench.machine.telemetry.unreadable import Reasons

_GPU_FIELDS = ("sm_clock_mhz", "temperature_c", "power_w", "event_reasons")


@dataclass(frozen=True, slots=True)
class Reading:
    """The state at one moment; None is what could not be read, or does not apply to the device."""

    cpu_time: CpuTime | None = None  # of the CPUs that this process may use
    sm_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None  # instantaneous
    event_reasons: tuple[str, ...] | None = None  # names of `nvml.EVENT_REASONS`

    @property
    def throttle(self) -> str | None:
        """The event reasons that keep clocks down, joined by commas; ``none`` where there are none.

        An idle GPU is not throttled; clocks that somebody set are named, since times depend on them.
        """
        if self.event_reasons is None:
            return None
        return ",".join(reason for reason in self.event_reasons if reason != nvml.IDLE) or "none"


class Probe:
    """Reads the state around a round; made by `open_probe`."""

    def __init__(self, gpu: nvml.Gpu | None, root: Path) -> None:
        self._root, self._cpus = root, host.usable_cpus()
        self._reads = {name: getattr(gpu, name) for name in _GPU_FIELDS} if gpu else {}

    def read(self) -> Reading:
        """Return the state now. The host takes about 0.1 ms, NVML its own: it belongs between batches."""
        reads = self._reads | {"cpu_time": lambda: host.cpu_time(self._cpus, self._root)}
        return Reading(**{name: Reasons().attempt(name, ask) for name, ask in reads.items()})


@contextmanager
def open_probe(device_name: str, uuid: str | None = None, root: Path = host.ROOT) -> Iterator[Probe]:
    """Hold a probe open for ``device_name``: of the host always, of the GPU where it is one that NVML knows.

    ``uuid`` is the GPU's, as in ``torch.cuda.get_device_properties(device).uuid``: without it, the only GPU is meant.
    """
    with ExitStack() as stack:
        gpu = Reasons().attempt("gpu", lambda: stack.enter_context(nvml.opened(device_name, uuid)))
        yield Probe(gpu, root)


def between(*readings: Reading) -> dict[str, Any]:
    """Return what a round's readings, first to last, amount to: the columns of `records.SAMPLES`.

    Clocks fall as soon as a GPU rests, so the SM clock is the lowest of the readings that were not idle, and only if
    all were, the highest. Temperature (C) and power (W) are the highest seen, ``throttle`` is all that was ever
    named, ``steal`` is a share (0 to 1) of the time between the first and the last reading.
    """
    clocks = [(each.sm_clock_mhz, each.event_reasons or ()) for each in readings if each.sm_clock_mhz is not None]
    at_work = [clock for clock, reasons in clocks if nvml.IDLE not in reasons]
    temperatures = (each.temperature_c for each in readings if each.temperature_c is not None)
    powers = (each.power_w for each in readings if each.power_w is not None)
    throttles = [each.throttle.split(",") for each in readings if each.throttle is not None]
    named = dict.fromkeys(reason for reasons in throttles for reason in reasons if reason != "none")
    first, last = readings[0].cpu_time, readings[-1].cpu_time
    return {
        "sm_clock_mhz": min(at_work, default=max((clock for clock, _ in clocks), default=None)),
        "temperature_c": max(temperatures, default=None),
        "power_w": max(powers, default=None),
        "throttle": (",".join(named) or "none") if throttles else None,
        "steal": host.stolen_share(first, last) if first and last else None,
    }
