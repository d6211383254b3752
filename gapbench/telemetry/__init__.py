"""The state of the machine around a round: clocks, temperature, power, throttling, stolen time.

``open_probe`` in the worker, ``read`` before and after (and, outside timed batches, during) the round, ``between`` for
the columns of `records.SAMPLES`. Nothing here waits, and a field that cannot be read is None with its reason in
`Probe.unreadable`. The rest of the package: `host` and `cgroups` (Linux), `nvml` (NVIDIA), `fitness` (warnings).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapbench.telemetry import host, nvml
from gapbench.telemetry.host import CpuTime
from gapbench.telemetry.unreadable import Reasons, UnreadableError

GPU_FIELDS = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "power_w", "energy_joules", "event_reasons")


@dataclass(frozen=True, slots=True)
class Reading:
    """The state at one moment; None is what could not be read, or does not apply to the device."""

    cpu_mhz: float | None = None  # of the CPU that the reading thread ran on
    cpu_time: CpuTime | None = None  # of the CPUs that this process may use
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None  # instantaneous
    energy_joules: float | None = None  # since the driver was loaded
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
    """Reads the state around a round; made by `open_probe`, closed by its ``with`` block."""

    def __init__(self, gpu: nvml.Gpu | None, root: Path, reasons: Reasons) -> None:
        self._gpu = gpu
        self._root = root
        self._reasons = reasons
        self._cpus = host.usable_cpus()

    @property
    def unreadable(self) -> dict[str, str]:
        """Why fields of `Reading` could not be read, by field; one that failed once stays named."""
        return dict(self._reasons.unreadable)

    def read(self) -> Reading:
        """Return the state now. The host takes about 0.1 ms, NVML its own: it belongs between batches."""
        read: dict[str, Callable[[], Any]] = {"cpu_time": lambda: host.cpu_time(self._cpus, self._root)}
        if "cpu_mhz" not in self._reasons.unreadable:  # a kernel that does not tell never will, and asking is dear
            read["cpu_mhz"] = lambda: host.cpu_mhz(host.current_cpu(self._root), self._root)
        if self._gpu:
            read |= {name: getattr(self._gpu, name) for name in GPU_FIELDS}
        return Reading(**{name: self._reasons.attempt(name, ask) for name, ask in read.items()})

    def close(self) -> None:
        """Let go of NVML."""
        if self._gpu:
            self._gpu.nvml.nvmlShutdown()
            self._gpu = None

    def __enter__(self) -> "Probe":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_probe(device_name: str, uuid: str | None = None, root: Path = host.ROOT) -> Probe:
    """Return a probe for ``device_name``: the host always, the GPU where it is one that NVML knows.

    ``uuid`` is the GPU's, as in ``torch.cuda.get_device_properties(device).uuid``: without it, the only GPU is meant.
    """
    reasons = Reasons()
    family = device_name.partition(":")[0]
    gpu = None
    if family == "cuda":
        try:
            gpu = _open_gpu(uuid)
        except UnreadableError as error:
            reasons.unreadable.update(dict.fromkeys(GPU_FIELDS, str(error)))
    elif family != "cpu":
        reasons.unreadable.update(dict.fromkeys(GPU_FIELDS, f"NVML reads NVIDIA GPUs, and {family} is none"))
    return Probe(gpu, root, reasons)


def _open_gpu(uuid: str | None) -> nvml.Gpu:
    bindings = nvml.start()
    try:
        return nvml.find(bindings, uuid)
    except UnreadableError:
        bindings.nvmlShutdown()
        raise


def between(*readings: Reading) -> dict[str, Any]:
    """Return what a round's readings, first to last, amount to: the columns of `records.SAMPLES`.

    Clocks fall as soon as a GPU rests, so the SM clock is the lowest of the readings that were not idle, and only if
    all were, the highest. Temperature (C) and power (W) are the highest seen, ``throttle`` is all that was ever
    named, ``steal`` is a share (0 to 1) of the time between the first and the last reading.
    """
    clocks = [(one.sm_clock_mhz, one.event_reasons or ()) for one in readings if one.sm_clock_mhz is not None]
    at_work = [clock for clock, reasons in clocks if nvml.IDLE not in reasons]
    temperatures = [one.temperature_c for one in readings if one.temperature_c is not None]
    powers = [one.power_w for one in readings if one.power_w is not None]
    throttles = [one.throttle.split(",") for one in readings if one.throttle is not None]
    named = dict.fromkeys(reason for reasons in throttles for reason in reasons if reason != "none")
    first, last = readings[0].cpu_time, readings[-1].cpu_time
    return {
        "sm_clock_mhz": min(at_work, default=max((clock for clock, _ in clocks), default=None)),
        "temperature_c": max(temperatures, default=None),
        "power_w": max(powers, default=None),
        "throttle": (",".join(named) or "none") if throttles else None,
        "steal": host.stolen_share(first, last) if first and last else None,
    }
