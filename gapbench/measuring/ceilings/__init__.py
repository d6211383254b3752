"""Ceilings: how fast the machine at hand reads, copies and writes from each level of its memory, and its floors.

`cpu` drives compiled loops (`loops.c`), `accelerator` the device's own operations through `clocks`. Both run in a
worker, before the cases. What cannot be measured comes back as a `Ceiling` without a number, and with the reason.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gapbench.machine.devices import Accelerator, device
from gapbench.measuring.ceilings import accelerator, cpu
from gapbench.measuring.clocks import ClockError
from gapbench.store.ceilings import Ceiling

PATIENCE = 30.0
"""Seconds after which measuring one device is given up."""


def measure(device_name: str, threads: Sequence[int]) -> list[dict[str, Any]]:
    """Return the ceilings of a device, for each number of threads where it is the CPU, as run.json has them."""
    where = device(device_name)
    try:
        found = accelerator.measure(where) if isinstance(where, Accelerator) else cpu.measure(threads)
    except (cpu.UnmeasurableError, ClockError) as error:
        found = [Ceiling(None, "read", device_name, reason=str(error))]
    return [asdict(one) | {"device": device_name} for one in found]


def unmeasured(device_name: str, reason: str) -> list[dict[str, Any]]:
    """Return what stands for the ceilings of a device that could not be measured at all."""
    return [asdict(Ceiling(None, "read", device_name, reason=reason))]
