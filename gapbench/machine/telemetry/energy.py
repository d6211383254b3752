"""Count energy: a GPU's through NVML, a processor's through RAPL. A device without a counter raises `UnreadableError`.

Both count all energy of the device, that of other processes and of idle time included. RAPL's is the sum of all
processor packages (cores, caches, and on some the memory controller; not memory itself); each package's counter wraps
around to 0 after ``max_energy_range_uj``. Source: the kernel's ``power/powercap``, which also lists AMD's processors.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.unreadable import UnreadableError, number, text

_POWERCAP = "sys/class/powercap"


@dataclass(frozen=True, slots=True)
class Counter:
    """An energy counter: ``joules`` returns the energy since a fixed moment and never falls; ``source`` is its name."""

    source: str
    joules: Callable[[], float]


class _Rapl:
    """The sum of the processor packages' counters; to be read more often than a package's counter wraps around."""

    def __init__(self, root: Path) -> None:
        zones = [zone for zone in (root / _POWERCAP).glob("intel-rapl:*") if re.fullmatch(r"intel-rapl:\d+", zone.name)]
        packages = sorted(zone for zone in zones if text(zone / "name").startswith("package"))
        if not packages:
            raise UnreadableError(f"/{_POWERCAP} has no processor package: no RAPL, as in most guests")
        self._ranges = {package: number(package / "max_energy_range_uj") for package in packages}
        self._last = {package: number(package / "energy_uj") for package in packages}
        self._used = 0

    def joules(self) -> float:
        """Return the energy since this counter was opened."""
        for package, last in self._last.items():
            now = number(package / "energy_uj")
            self._used += now - last if now >= last else now - last + self._ranges[package]
            self._last[package] = now
        return self._used / 1e6


@contextmanager
def opened(device_name: str, uuid: str | None = None, root: Path = host.ROOT) -> Iterator[Counter]:
    """Hold a device's counter open; ``uuid`` is the GPU's. Raises `UnreadableError` where there is no counter."""
    if device_name == "cpu":
        yield Counter("RAPL, all processor packages", _Rapl(root).joules)
        return
    with nvml.opened(device_name, uuid) as gpu:
        gpu.energy_joules()  # raises on older boards
        yield Counter("NVML's total energy counter", gpu.energy_joules)
