"""Measure a machine's ceilings (by `loops.c`, or an accelerator's own operations), or the reason why not."""

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

PATIENCE = 30.0  # timeout in seconds for one device
_CALLS = 20
_TRIES = 5
_ROWS = 64
_BEYOND = 8
_TELLING = 1.5  # times the smallest kernel that a transfer must take: of less, the difference tells nothing
_LEAST_MEMORY = 2**30
"""Least bytes of data to measure memory: reading them takes hundreds of microseconds, far longer than a launch."""


def measure(device_name: str, threads: Sequence[int]) -> list[dict[str, Any]]:
    """Return the ceilings of a device as in run.json, those of the CPU for each number of threads."""
    target = device(device_name)
    try:
        limits = of_accelerator(target) if isinstance(target, Accelerator) else cpu.measure(threads)
    except (cpu.UnmeasurableError, clocks.ClockError) as error:
        limits = [Ceiling(None, "read", device_name, reason=str(error))]
    return [asdict(limit) | {"device": device_name} for limit in limits]


def unmeasured(device_name: str, reason: str) -> list[dict[str, Any]]:
    """Return the ceilings of a device of which none could be measured, as in run.json."""
    return [asdict(Ceiling(None, "read", device_name, reason=reason))]


def of_accelerator(device: Accelerator) -> list[Ceiling]:
    """Return an accelerator's ceilings, less its smallest kernel's time. Raises `ClockError` where clocks refuse."""
    launch = clocks.clock("host_call", device).prepare().launch_seconds
    timer = clocks.clock("event_warm", device)
    timer.prepare(0.0)  # the launches above have warmed up the device

    def seconds(call: Call) -> float:
        return min(timer.batch(call, _CALLS)[0] for _ in range(_TRIES)) / _CALLS

    smallest = seconds(device.torch.zeros(1, device=device.name).zero_)
    limits = [Ceiling(None, "dispatch", device.name, seconds=launch), _datasheet(device)]
    limits.append(Ceiling(None, "kernel", device.name, seconds=smallest))
    if (cache := device.cache_bytes) is None:
        limits.append(Ceiling("L2", "read", device.name, reason="the backend does not report the size of its cache"))
    else:
        limits += _bandwidths(device, "L2", cache, cache // 4, seconds, smallest)
    beyond = max(_LEAST_MEMORY, _BEYOND * (cache or 0))
    return [*limits, *_bandwidths(device, MEMORY, None, beyond, seconds, smallest)]


def _bandwidths(
    device: Accelerator, level: str, holds: int | None, nbytes: int, seconds: Callable[[Call], float], smallest: float
) -> Iterator[Ceiling]:
    """Yield a level's bandwidths, by data of ``nbytes`` (two such buffers for a copy)."""
    elements = nbytes // 4
    source, target = (device.torch.zeros(elements, device=device.name) for _ in range(2))
    # Not in memory, where rows of the same data would be read from the cache.
    rows = [] if holds is None else [(_ROWS * nbytes, lambda: source.expand(_ROWS, elements).sum(1))]
    calls: dict[str, list[tuple[int, Call]]] = {
        "read": [(nbytes, source.sum), *rows],
        "copy": [(2 * nbytes, lambda: target.copy_(source))],
        "write": [(nbytes, source.zero_)],
    }
    for kind, ways in calls.items():
        timed = [(moved, seconds(call)) for moved, call in ways]
        rates = [moved / (taken - smallest) / 1e9 for moved, taken in timed if taken >= _TELLING * smallest]
        reason = None if rates else f"hardly longer than the smallest kernel, {smallest * 1e6:.1f} µs"
        yield Ceiling(level, kind, device.name, bytes=holds, gbps=max(rates, default=None), reason=reason)


def _datasheet(device: Accelerator) -> Ceiling:
    """Return the memory's nominal peak by NVML's clock and bus width: 2 transfers a clock, as in HBM and GDDR."""
    try:
        with nvml.opened(device.name, device.uuid) as gpu:
            return Ceiling(MEMORY, "datasheet", device.name, gbps=gpu.memory_peak_gbps())
    except UnreadableError as error:
        return Ceiling(MEMORY, "datasheet", device.name, reason=str(error))
