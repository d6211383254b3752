"""Ceilings: how fast the machine at hand reads, copies and writes from each level of its memory, and its floors.

`cpu` drives compiled loops (`loops.c`), accelerators their own operations, timed by `event_warm`. Both run in a worker,
before the cases. What cannot be measured comes back as a `Ceiling` without a number, and with the reason.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from gapbench.machine.devices import Accelerator, device
from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.unreadable import UnreadableError
from gapbench.measuring import clocks
from gapbench.measuring.ceilings import cpu
from gapbench.store.ceilings import MEMORY, Ceiling
from gapbench.workloads.passes import Call

PATIENCE = 30.0
"""Seconds after which measuring one device is given up."""

_CALLS = 20
_TRIES = 5
_ROWS = 64
_BEYOND = 8
_TELLING = 1.5
"""Times the smallest kernel that a transfer must take: of less, the difference tells nothing."""
_LEAST_MEMORY = 2**30
"""Bytes; reading them takes hundreds of microseconds, beside which no launch counts."""


def measure(device_name: str, threads: Sequence[int]) -> list[dict[str, Any]]:
    """Return the ceilings of a device, for each number of threads where it is the CPU, as run.json has them."""
    where = device(device_name)
    try:
        limits = of_accelerator(where) if isinstance(where, Accelerator) else cpu.measure(threads)
    except (cpu.UnmeasurableError, clocks.ClockError) as error:
        limits = [Ceiling(None, "read", device_name, reason=str(error))]
    return [asdict(limit) | {"device": device_name} for limit in limits]


def unmeasured(device_name: str, reason: str) -> list[dict[str, Any]]:
    """Return what stands for the ceilings of a device that could not be measured at all."""
    return [asdict(Ceiling(None, "read", device_name, reason=reason))]


def of_accelerator(device: Accelerator) -> list[Ceiling]:
    """Return an accelerator's ceilings, by its library's own operations. Raises `ClockError` where its clocks refuse.

    Each is net of what the smallest kernel takes, launch gap included: a limit that no time falls below, whatever a
    better implementation saves of that. Reading is summed in two ways, of which the better counts; a kernel that reads
    faster still is flagged where its results are looked at.
    """
    launch = clocks.clock("host_call", device).prepare().launch_seconds
    timer = clocks.clock("event_warm", device)
    timer.prepare(0.0)  # the launches above have warmed it

    def seconds(call: Call) -> float:
        return min(timer.batch(call, _CALLS)[0] for _ in range(_TRIES)) / _CALLS

    smallest = seconds(device.torch.zeros(1, device=device.name).zero_)
    limits = [Ceiling(None, "dispatch", device.name, seconds=launch), _datasheet(device)]
    limits.append(Ceiling(None, "kernel", device.name, seconds=smallest))
    if (cache := device.cache_bytes) is None:
        limits.append(Ceiling("L2", "read", device.name, reason="the backend does not tell the size of its cache"))
    else:
        limits += _bandwidths(device, "L2", cache, cache // 4, seconds, smallest)
    beyond = max(_LEAST_MEMORY, _BEYOND * (cache or 0))
    return [*limits, *_bandwidths(device, MEMORY, None, beyond, seconds, smallest)]


def _bandwidths(
    device: Accelerator, level: str, holds: int | None, nbytes: int, seconds: Callable[[Call], float], smallest: float
) -> Iterator[Ceiling]:
    """Yield what a level gives to data of ``nbytes``, or to two of that size for a copy."""
    elements = nbytes // 4
    here, there = (device.torch.zeros(elements, device=device.name) for _ in range(2))
    # In memory, rows that are the same data would meet in the cache.
    rows = [] if holds is None else [(_ROWS * nbytes, lambda: here.expand(_ROWS, elements).sum(1))]
    ways: dict[str, list[tuple[int, Call]]] = {
        "read": [(nbytes, here.sum), *rows],
        "copy": [(2 * nbytes, lambda: there.copy_(here))],
        "write": [(nbytes, here.zero_)],
    }
    for kind, some in ways.items():
        timed = [(moved, seconds(call)) for moved, call in some]
        told = [moved / (taken - smallest) / 1e9 for moved, taken in timed if taken >= _TELLING * smallest]
        reason = None if told else f"hardly longer than the smallest kernel, {smallest * 1e6:.1f} µs"
        yield Ceiling(level, kind, device.name, bytes=holds, gbps=max(told, default=None), reason=reason)


def _datasheet(device: Accelerator) -> Ceiling:
    """Return the memory's peak by NVML's clock and bus width: two transfers a clock, as in HBM and GDDR."""
    try:
        with nvml.opened(device.name, device.uuid) as gpu:
            return Ceiling(MEMORY, "datasheet", device.name, gbps=gpu.memory_peak_gbps())
    except UnreadableError as error:
        return Ceiling(MEMORY, "datasheet", device.name, reason=str(error))
