"""The host's processor."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from gapbench.devices.caches import Cached
from gapbench.telemetry import host
from gapbench.telemetry.unreadable import UnreadableError


@dataclass(frozen=True)
class Cpu(Cached):
    """The host's processor: calls are complete when they return.

    ``clocks`` are those that measure it unless others are asked for, ``runtime`` stands in for torch in tests.
    """

    runtime: Any = field(default=None, repr=False, compare=False)
    name: str = "cpu"
    clocks: tuple[str, ...] = ("host",)
    # An eighth is more than the caches above it hold, and little enough to survive neighbours in a shared one.
    _canary_share: ClassVar[int] = 8

    @property
    def selectable_clocks(self) -> tuple[str, ...]:
        """All clocks that can measure it."""
        return ("host", "host_cold")

    @property
    def uuid(self) -> str | None:
        """CPUs have none."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return its model and numbers of cores, None where they cannot be read."""
        import cpuinfo
        import psutil

        return {
            "description": cpuinfo.get_cpu_info().get("brand_raw"),
            "cores": psutil.cpu_count(logical=False),
            "logical_cores": psutil.cpu_count(),
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
