"""Clocks: named timing protocols, a class each; every number is given with its clock's name."""

from gapbench.machine.devices import Cpu, Device
from gapbench.measuring.clocks.base import Clock, ClockError, ClockRefusedError, ClockUnsupportedError
from gapbench.measuring.clocks.events import EventCold, EventWarm
from gapbench.measuring.clocks.graphs import GraphCold, GraphWarm
from gapbench.measuring.clocks.host import Host, HostCall, HostCold

__all__ = [
    "CLOCKS", "Clock", "ClockError", "ClockRefusedError", "ClockUnsupportedError", "clock", "clock_class",
    "selectable",
]  # fmt: skip

CLOCKS: tuple[type[Clock], ...] = (Host, HostCold, EventCold, EventWarm, GraphWarm, GraphCold, HostCall)


def clock_class(name: str) -> type[Clock]:
    """Return the protocol called ``name``."""
    return next(kind for kind in CLOCKS if kind.name == name)


def selectable(device: Device) -> tuple[str, ...]:
    """Return the names of all clocks that can measure ``device``."""
    return tuple(kind.name for kind in CLOCKS if kind.measures(device))


def clock(name: str, device: Device | None = None) -> Clock:
    """Return the clock called ``name``, for the CPU by default. Raises `ClockUnsupportedError` for a wrong device."""
    device = device or Cpu()
    kind = clock_class(name)
    if not kind.measures(device):
        raise ClockUnsupportedError(
            f"{device.name} cannot be measured by {name}; it can by {', '.join(selectable(device)) or 'no clock'}"
        )
    return kind(device)
