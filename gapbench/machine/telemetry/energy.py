"""Counters of energy: a GPU's through NVML, a processor's through RAPL. What has none raises `UnreadableError`.

Both count all that the device draws, whoever makes it work and while it rests, too. RAPL's is the sum of all processor
packages (cores, caches, and on some the memory controller; not memory itself); each package's counter begins again at
0 after ``max_energy_range_uj``. Source: the kernel's ``power/powercap``; AMD's processors are listed there as well.
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
    """Counts energy: ``joules`` returns what was used since some moment, and never falls; ``source`` is what counts."""

    source: str
    joules: Callable[[], float]


class _Rapl:
    """The processor packages' counters together. It must be read more often than a package's counter wraps around."""

    def __init__(self, root: Path) -> None:
        zones = [zone for zone in (root / _POWERCAP).glob("intel-rapl:*") if re.fullmatch(r"intel-rapl:\d+", zone.name)]
        packages = sorted(zone for zone in zones if text(zone / "name").startswith("package"))
        if not packages:
            raise UnreadableError(f"/{_POWERCAP} has no processor package: no RAPL, as in most guests")
        self._ranges = {package: number(package / "max_energy_range_uj") for package in packages}
        self._last = {package: number(package / "energy_uj") for package in packages}
        self._used = 0

    def joules(self) -> float:
        """Return the energy used since this counter was opened."""
        for package, last in self._last.items():
            now = number(package / "energy_uj")
            self._used += now - last if now >= last else now - last + self._ranges[package]
            self._last[package] = now
        return self._used / 1e6


@contextmanager
def opened(device_name: str, uuid: str | None = None, root: Path = host.ROOT) -> Iterator[Counter]:
    """Hold a device's counter open; ``uuid`` is the GPU's. Raises `UnreadableError` where it has none."""
    if device_name == "cpu":
        yield Counter("RAPL, all processor packages", _Rapl(root).joules)
        return
    with nvml.opened(device_name, uuid) as gpu:
        gpu.energy_joules()  # older boards lack it
        yield Counter("NVML's total energy counter", gpu.energy_joules)
