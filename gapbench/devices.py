"""Devices: one class per family, saying what is there, how it is timed and what it is.

Nothing here initialises a device: workers do, after the fork.
"""

from dataclasses import dataclass
from typing import Any

from gapbench.errors import GapbenchError, unknown


@dataclass(frozen=True, slots=True)
class Cpu:
    """The host's processor: calls are complete when they return."""

    name: str = "cpu"
    clocks: tuple[str, ...] = ("host",)

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


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A device that `torch.accelerator` drives. It has no clocks yet, so it is listed and not measured."""

    name: str
    clocks: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return its marketing name, None where the backend does not tell."""
        import torch

        family, _, index = self.name.partition(":")
        module = getattr(torch, family, None)
        get_name = getattr(module, "get_device_name", lambda _index: None)
        return {"description": get_name(int(index))}


Device = Cpu | Accelerator


def available() -> list[Device]:
    """Return the devices of this machine, the CPU last. An accelerator is named as in ``cuda:0``."""
    import torch

    accelerators: list[Device] = []
    if torch.accelerator.is_available():
        family = torch.accelerator.current_accelerator()
        assert family is not None
        accelerators = [Accelerator(f"{family.type}:{i}") for i in range(torch.accelerator.device_count())]
    return [*accelerators, Cpu()]


def device(name: str) -> Device:
    """Return the device called ``name``: ``auto`` (the first that can be measured), ``cpu``, ``cuda``, ``cuda:1``.

    Raises `GapbenchError` for one that is not there (naming what is) or that cannot be measured yet.
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
