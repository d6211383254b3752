"""The host's processor."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gapbench.devices import caches
from gapbench.telemetry import host
from gapbench.telemetry.unreadable import UnreadableError


@dataclass(frozen=True)
class Cpu:
    """The host's processor: calls are complete when they return.

    ``clocks`` are those that measure it unless others are asked for, ``runtime`` stands in for torch in tests.
    """

    runtime: Any = field(default=None, repr=False, compare=False)
    name: str = "cpu"
    clocks: tuple[str, ...] = ("host",)

    @property
    def selectable_clocks(self) -> tuple[str, ...]:
        """All clocks that can measure it."""
        return ("host", "host_cold")

    @property
    def uuid(self) -> str | None:
        """CPUs have none."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return its model, logical cores and cache sizes in bytes (None where they cannot be read)."""
        import cpuinfo
        import psutil

        info = cpuinfo.get_cpu_info()
        return {
            "description": info.get("brand_raw"),
            "cores": psutil.cpu_count(logical=False),
            "logical_cores": psutil.cpu_count(),
            "l2_bytes": info.get("l2_cache_size"),
            "l3_bytes": info.get("l3_cache_size"),
        }

    def synchronize(self) -> None:
        """Wait for all that was launched: nothing, here."""

    @property
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache, None where it cannot be read."""
        for level in (4, 3, 2):
            try:
                return host.cache_bytes(level)
            except UnreadableError:
                continue
        return None

    @cached_property
    def _sweep(self) -> caches.Sweep:
        return caches.Sweep(self._torch, self.name, 2 * (self.cache_bytes or caches.UNKNOWN_CACHE))

    def flush(self) -> None:
        """Leave nothing that was in the caches there, and no dirty lines either."""
        self._sweep()

    def canary(self) -> Callable[[], object]:
        """Return a call that reads a part of the last-level cache's size, fast only if the cache still holds it."""
        # An eighth is more than the caches above it hold, and little enough to survive neighbours in a shared one.
        nbytes = self.cache_bytes // 8 if self.cache_bytes else caches.UNKNOWN_CANARY
        return caches.reader(self._torch, self.name, nbytes)

    @property
    def _torch(self) -> Any:
        if self.runtime is not None:
            return self.runtime
        import torch

        return torch
