"""Devices: one class per family, saying what is there, how it is timed and what it is.

`available`, `device` and `describe` initialise no device: workers do, in fresh processes. What times a device (events,
delays, flushes) is used by workers only.
"""

from typing import Any

from gapbench.devices.accelerator import Accelerator, Event, Graph
from gapbench.devices.cpu import Cpu
from gapbench.devices.cuda import Cuda
from gapbench.errors import GapbenchError, unknown

__all__ = ["Accelerator", "Cpu", "Cuda", "Device", "Event", "Graph", "available", "device"]

Device = Cpu | Accelerator

FAMILIES: dict[str, type[Accelerator]] = {"cuda": Cuda}
"""Families of accelerators that are more than `Accelerator` knows, by torch's device type."""


def available(runtime: Any = None) -> list[Device]:
    """Return the devices of this machine, the CPU last. An accelerator is named as in ``cuda:0``.

    ``runtime`` stands in for torch in tests.
    """
    if runtime is None:
        import torch as runtime

    accelerators: list[Device] = []
    if runtime.accelerator.is_available():
        kind = runtime.accelerator.current_accelerator().type
        family = FAMILIES.get(kind, Accelerator)
        accelerators = [family(f"{kind}:{index}", runtime) for index in range(runtime.accelerator.device_count())]
    return [*accelerators, Cpu(runtime)]


def device(name: str) -> Device:
    """Return the device called ``name``: ``auto`` (the first that can be measured), ``cpu``, ``cuda``, ``cuda:1``.

    ``cuda`` and ``cuda:0`` are the same device. Raises `GapbenchError` for one that is not there (naming what is) or
    that no clock can measure.
    """
    if name == "cpu":
        return Cpu()
    there = {one.name: one for one in available()}
    if name == "auto":
        return next(one for one in there.values() if one.clocks)
    found = there.get(name) or there.get(f"{name}:0")
    if found is None:
        raise unknown("device", name, there)
    if not found.clocks:
        raise GapbenchError(f"device {found.name} cannot be measured yet: it has no clock; use --device cpu")
    return found
