"""Read the state and the facts of NVIDIA GPUs through NVML, by the bindings of nvidia-ml-py.

Source: NVIDIA's NVML API reference. Each call may fail by itself, and then raises `UnreadableError`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

EVENT_REASONS: Mapping[int, str] = {
    0x001: "gpu_idle", 0x002: "applications_clocks_setting", 0x004: "sw_power_cap", 0x008: "hw_slowdown",
    0x010: "sync_boost", 0x020: "sw_thermal_slowdown", 0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown", 0x100: "display_clock_setting",
}  # fmt: skip
"""The reasons for the present clocks, by bit (NVML's clocks event reasons, formerly called throttle reasons)."""

IDLE = "gpu_idle"

CHOSEN = frozenset({IDLE, "applications_clocks_setting", "display_clock_setting"})
"""Reasons that are not throttling: the GPU was idle, or a user set the clocks."""

# The member of NVML's value union for a field, by NVML_VALUE_TYPE_*.
_UNION = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


_COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}


def event_reasons(mask: int) -> tuple[str, ...]:
    """Return the names of the bits in ``mask``, and the unknown bits of newer drivers as one number."""
    unknown = mask & ~sum(EVENT_REASONS)
    return tuple(name for bit, name in EVENT_REASONS.items() if mask & bit) + ((f"{unknown:#x}",) if unknown else ())


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; each method calls NVML, which takes tens of microseconds."""

    nvml: ModuleType
    handle: Any
    is_slice: bool = False
    """Whether a part of it is meant, by MIG: clocks and power are the whole's, its bandwidth is not."""

    def uuid(self) -> str:
        """Return ``GPU-`` and the UUID, which is the same in every process and container."""
        return str(_ask(self.nvml, "nvmlDeviceGetUUID", self.handle))

    def sm_clock_mhz(self) -> float:
        """Return the clock of the streaming multiprocessors."""
        return float(_ask(self.nvml, "nvmlDeviceGetClockInfo", self.handle, self.nvml.NVML_CLOCK_SM))

    def temperature_c(self) -> float:
        """Return the temperature of the die, by the deprecated call where drivers before 2025 lack the new one."""
        arguments = self.handle, self.nvml.NVML_TEMPERATURE_GPU
        try:
            return float(_ask(self.nvml, "nvmlDeviceGetTemperatureV", *arguments))
        except _MissingCallError:
            return float(_ask(self.nvml, "nvmlDeviceGetTemperature", *arguments))

    def power_w(self) -> float:
        """Return the instantaneous power (other calls return an average over a second on newer boards)."""
        name = "NVML_FI_DEV_POWER_INSTANT"
        (value,) = _ask(self.nvml, "nvmlDeviceGetFieldValues", self.handle, [getattr(self.nvml, name)])
        if value.nvmlReturn != self.nvml.NVML_SUCCESS:  # though the call as a whole succeeds
            raise UnreadableError(f"{name}: {self.nvml.NVMLError(value.nvmlReturn)}")
        return float(getattr(value.value, _UNION[value.valueType])) / 1000

    def memory_peak_gbps(self) -> float:
        """Return the memory's nominal peak in 10^9 bytes per second: highest clock x bus width x 2 transfers."""
        if self.is_slice:
            raise UnreadableError("it is a slice of a GPU, whose datasheet is the whole's")
        mhz = _ask(self.nvml, "nvmlDeviceGetMaxClockInfo", self.handle, self.nvml.NVML_CLOCK_MEM)
        bits = _ask(self.nvml, "nvmlDeviceGetMemoryBusWidth", self.handle)
        return float(2 * mhz * 1e6 * bits / 8 / 1e9)

    def event_reasons(self) -> tuple[str, ...]:
        """Return the present reasons, of `EVENT_REASONS`."""
        return event_reasons(_ask(self.nvml, "nvmlDeviceGetCurrentClocksEventReasons", self.handle))

    def processes(self) -> list[int]:
        """Return the ids, on the host and not in its containers, of the processes that compute on the GPU."""
        running = _ask(self.nvml, "nvmlDeviceGetComputeRunningProcesses_v3", self.handle)
        return sorted(process.pid for process in running)

    def other_processes(self) -> list[int]:
        """Return the ids of the processes that compute on the GPU, without this one."""
        return [pid for pid in self.processes() if pid != os.getpid()]

    def supported_sm_clocks(self) -> list[int]:
        """Return the SM clocks in MHz that it offers at its highest memory clock, in no order."""
        memory = _ask(self.nvml, "nvmlDeviceGetMaxClockInfo", self.handle, self.nvml.NVML_CLOCK_MEM)
        return list(_ask(self.nvml, "nvmlDeviceGetSupportedGraphicsClocks", self.handle, memory))

    def persistence(self) -> bool:
        """Return whether the driver keeps the GPU initialised while no process uses it."""
        return bool(_ask(self.nvml, "nvmlDeviceGetPersistenceMode", self.handle))

    def set_persistence(self, on: bool) -> None:
        """Switch persistence mode; root only."""
        _ask(self.nvml, "nvmlDeviceSetPersistenceMode", self.handle, int(on))

    def lock_sm_clock(self, mhz: int) -> None:
        """Lock the SM clock; root only."""
        _ask(self.nvml, "nvmlDeviceSetGpuLockedClocks", self.handle, mhz, mhz)

    def unlock_sm_clock(self) -> None:
        """Let the driver choose the SM clock again; root only."""
        _ask(self.nvml, "nvmlDeviceResetGpuLockedClocks", self.handle)

    def describe(self, reasons: Reasons, prefix: str) -> dict[str, Any]:
        """Return the facts for ``run.json``, and note reasons under ``prefix``; idle GPUs lower their PCIe link."""

        def ask(field: str, name: str, *arguments: Any) -> Any:
            return reasons.attempt(prefix + field, lambda: _ask(self.nvml, name, *arguments))

        cuda = ask("cuda", "nvmlSystemGetCudaDriverVersion_v2")
        memory = ask("memory_bytes", "nvmlDeviceGetMemoryInfo", self.handle)
        mig = ask("mig", "nvmlDeviceGetMigMode", self.handle) or (None, None)
        ecc = ask("ecc", "nvmlDeviceGetEccMode", self.handle) or (None, None)
        others = reasons.attempt(f"{prefix}other_processes", self.other_processes)
        limit = ask("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", self.handle)
        calls = {
            "name": ("nvmlDeviceGetName",),
            "sm_clock_max_mhz": ("nvmlDeviceGetMaxClockInfo", self.nvml.NVML_CLOCK_SM),
            "memory_clock_max_mhz": ("nvmlDeviceGetMaxClockInfo", self.nvml.NVML_CLOCK_MEM),
            "pcie_gen": ("nvmlDeviceGetCurrPcieLinkGeneration",),
            "pcie_gen_max": ("nvmlDeviceGetMaxPcieLinkGeneration",),
            "pcie_width": ("nvmlDeviceGetCurrPcieLinkWidth",),
            "pcie_width_max": ("nvmlDeviceGetMaxPcieLinkWidth",),
        }
        compute = ask("compute_mode", "nvmlDeviceGetComputeMode", self.handle)
        display = ask("display", "nvmlDeviceGetDisplayActive", self.handle)
        modes = zip(("mig", "mig_pending", "ecc", "ecc_pending", "display"), (*mig, *ecc, display), strict=True)
        return {
            "uuid": reasons.attempt(f"{prefix}uuid", self.uuid),
            "driver": ask("driver", "nvmlSystemGetDriverVersion"),
            "cuda": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            **{field: ask(field, name, self.handle, *arguments) for field, (name, *arguments) in calls.items()},
            "memory_bytes": getattr(memory, "total", None),
            "memory_used_bytes": getattr(memory, "used", None),
            **{field: None if mode is None else bool(mode) for field, mode in modes},
            "power_limit_w": None if limit is None else limit / 1000,
            "persistence": reasons.attempt(f"{prefix}persistence", self.persistence),
            "compute_mode": _COMPUTE_MODES.get(compute),
            "other_processes": None if others is None else len(others),
        }


class _MissingCallError(UnreadableError):
    """The driver, or the bindings, are older than a call."""


def _ask(nvml: ModuleType, name: str, *arguments: Any) -> Any:
    call = getattr(nvml, name, None)
    if call is None:
        raise _MissingCallError(f"{name}: the installed nvidia-ml-py is older than this call")
    try:
        return call(*arguments)
    except nvml.NVMLError_FunctionNotFound:
        raise _MissingCallError(f"{name}: the installed driver is older than this call") from None
    except nvml.NVMLError as error:
        raise UnreadableError(f"{name}: {error}") from None


@contextmanager
def _started() -> Iterator[ModuleType]:
    import pynvml

    assert isinstance(pynvml, ModuleType)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        raise UnreadableError("there is no libnvidia-ml.so.1: no NVIDIA driver is installed") from None
    except pynvml.NVMLError as error:
        raise UnreadableError(f"NVML did not start: {error}") from None
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


@contextmanager
def opened(device_name: str, uuid: str | None) -> Iterator[Gpu]:
    """Hold NVML open, and yield the GPU with this UUID, with or without its prefix ``GPU-`` or ``MIG-``.

    None means the only GPU. For a MIG slice the whole GPU is yielded, which has clocks, power and temperature.
    """
    family = device_name.partition(":")[0]
    if family != "cuda":
        raise UnreadableError(f"NVML reads NVIDIA GPUs only, not {family}")
    with _started() as nvml:
        yield _find(nvml, uuid)


def _find(nvml: ModuleType, uuid: str | None) -> Gpu:
    if uuid is None:
        count = _ask(nvml, "nvmlDeviceGetCount")
        if count != 1:
            raise UnreadableError(f"there are {count} GPUs, and no UUID to tell which one is measured")
        return Gpu(nvml, _ask(nvml, "nvmlDeviceGetHandleByIndex", 0))
    for name in [uuid] if uuid.startswith(("GPU-", "MIG-")) else [f"GPU-{uuid}", f"MIG-{uuid}"]:
        try:
            handle = _ask(nvml, "nvmlDeviceGetHandleByUUID", name)
        except UnreadableError as error:
            reason = error
            continue
        if name.startswith("MIG-"):
            handle = _ask(nvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        return Gpu(nvml, handle, name.startswith("MIG-"))
    raise UnreadableError(f"NVML finds no GPU {uuid}: {reason}")


@contextmanager
def every_gpu(reasons: Reasons) -> Iterator[list[Gpu]]:
    """Hold NVML open and yield all its GPUs; none, with a noted reason, where NVML cannot be used."""
    with ExitStack() as stack:

        def listed() -> list[Gpu]:
            nvml = stack.enter_context(_started())
            count = _ask(nvml, "nvmlDeviceGetCount")
            return [Gpu(nvml, _ask(nvml, "nvmlDeviceGetHandleByIndex", index)) for index in range(count)]

        yield reasons.attempt("gpus", listed) or []
