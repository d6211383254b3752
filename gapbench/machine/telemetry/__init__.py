"""Read the state of the machine around a round: GPU clock, temperature, power, throttling, stolen time.

Nothing here waits, and what cannot be read is None. The rest of the package: `host` (Linux), `nvml` (NVIDIA).
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.host import CpuTime
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

_GPU_FIELDS = ("sm_clock_mhz", "temperature_c", "power_w", "event_reasons")


@dataclass(frozen=True, slots=True)
class Reading:
    """The state at one moment; None is what cannot be read, or does not apply to the device."""

    cpu_time: CpuTime | None = None  # of the CPUs that this process may use
    sm_clock_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None  # instantaneous
    event_reasons: tuple[str, ...] | None = None  # names of `nvml.EVENT_REASONS`


@contextmanager
def open_probe(device_name: str, uuid: str | None = None, root: Path = host.ROOT) -> Iterator[Callable[[], Reading]]:
    """Yield a function that reads the state of the host, and of the GPU where ``device_name`` is one that NVML knows.

    ``uuid`` is the GPU's; without it, the only GPU is read. Read between batches: it takes 0.1 ms or longer.
    """
    cpus = host.usable_cpus()
    with ExitStack() as stack:
        gpu = Reasons().attempt("gpu", lambda: stack.enter_context(nvml.opened(device_name, uuid)))
        reads: dict[str, Callable[[], Any]]
        reads = {name: getattr(gpu, name) for name in _GPU_FIELDS} if gpu else _of_amd(device_name)
        reads["cpu_time"] = lambda: host.cpu_time(cpus, root)
        yield lambda: Reading(**{name: Reasons().attempt(name, read) for name, read in reads.items()})


def _of_amd(device_name: str) -> dict[str, Callable[[], float]]:
    """Return what reads an AMD GPU, through torch and amdsmi; nothing for other devices."""
    import torch

    if not torch.version.hip or not device_name.startswith("cuda"):
        return {}
    index = int(device_name.partition(":")[2] or 0)

    def reader(read: Callable[[int], float]) -> Callable[[], float]:
        def attempt() -> float:
            try:
                value = float(read(index))
            except Exception as error:
                raise UnreadableError(f"amdsmi: {error}") from None
            if not value:  # torch has 0 for what amdsmi does not report
                raise UnreadableError("amdsmi does not report it")
            return value

        return attempt

    reads = {"sm_clock_mhz": torch.cuda.clock_rate, "temperature_c": torch.cuda.temperature}
    return {name: reader(read) for name, read in {**reads, "power_w": torch.cuda.power_draw}.items()}


def between(*readings: Reading) -> dict[str, Any]:
    """Summarise a round's readings, first to last, as columns of `records.SAMPLES`.

    The SM clock is the lowest of the readings that were not idle, or the highest if all were. Temperature (C) and power
    (W) are the highest. ``throttle`` has all event reasons but that of an idle GPU; ``steal`` is a share (0 to 1).
    """

    def values(name: str, some: Sequence[Reading] = readings) -> list[Any]:
        return [value for reading in some if (value := getattr(reading, name)) is not None]

    busy = [reading for reading in readings if nvml.IDLE not in (reading.event_reasons or ())]
    reasons = values("event_reasons")
    named = [reason for reason in dict.fromkeys(itertools.chain.from_iterable(reasons)) if reason != nvml.IDLE]
    first, last = readings[0].cpu_time, readings[-1].cpu_time
    return {
        "sm_clock_mhz": min(values("sm_clock_mhz", busy), default=max(values("sm_clock_mhz"), default=None)),
        "temperature_c": max(values("temperature_c"), default=None),
        "power_w": max(values("power_w"), default=None),
        "throttle": (",".join(named) or "none") if reasons else None,
        "steal": host.stolen_share(first, last) if first and last else None,
    }
