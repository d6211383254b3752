"""NVIDIA GPUs through NVML, as the bindings of nvidia-ml-py offer it: state now, and facts that last.

Source: NVIDIA's NVML API reference. Only calls that it does not deprecate are used, but for one (see `temperature_c`).
Every call may fail alone (no permission in a container, not supported on a board or a MIG slice, a driver older than
the call): the failing one raises `UnreadableError` with NVML's answer, the others still tell.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

EVENT_REASONS: Mapping[int, str] = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""Why clocks are where they are (NVML's clocks event reasons, once called throttle reasons), by bit."""

IDLE = "gpu_idle"

CHOSEN = frozenset({IDLE, "applications_clocks_setting", "display_clock_setting"})
"""The reasons that are nobody's fault: nothing ran, or somebody set the clocks. All others are throttling."""

# The member of NVML's value union that holds a field, by NVML_VALUE_TYPE_*.
_UNION = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


def event_reasons(mask: int) -> tuple[str, ...]:
    """Return the names of the bits in ``mask``; bits that newer drivers added are named by their number."""
    unknown = mask & ~sum(EVENT_REASONS)
    return tuple(name for bit, name in EVENT_REASONS.items() if mask & bit) + ((f"{unknown:#x}",) if unknown else ())


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: each method asks NVML anew, in tens of microseconds."""

    nvml: ModuleType
    handle: Any
    is_slice: bool = False
    """Whether a part of it is meant, by MIG: clocks and power are the whole's, its bandwidth is not."""

    def uuid(self) -> str:
        """Return the name that stays the same in every process and container, as in ``GPU-`` and a UUID."""
        return str(_ask(self.nvml, "nvmlDeviceGetUUID", self.handle))

    def sm_clock_mhz(self) -> float:
        """Return the clock of the streaming multiprocessors."""
        return float(_ask(self.nvml, "nvmlDeviceGetClockInfo", self.handle, self.nvml.NVML_CLOCK_SM))

    def temperature_c(self) -> float:
        """Return the temperature of the die.

        Drivers and bindings of before 2025 lack the versioned call: only there the one that it replaced is used.
        """
        arguments = self.handle, self.nvml.NVML_TEMPERATURE_GPU
        try:
            return float(_ask(self.nvml, "nvmlDeviceGetTemperatureV", *arguments))
        except _MissingCallError:
            return float(_ask(self.nvml, "nvmlDeviceGetTemperature", *arguments))

    def power_w(self) -> float:
        """Return the power drawn at this instant (other calls give an average over a second on newer boards)."""
        return self._field("NVML_FI_DEV_POWER_INSTANT") / 1000

    def energy_joules(self) -> float:
        """Return the energy used since the driver was loaded."""
        return self._field("NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION") / 1000

    def memory_peak_gbps(self) -> float:
        """Return the memory's peak by its datasheet: highest clock x bus width x two transfers a clock."""
        if self.is_slice:
            raise UnreadableError("it is a slice of a GPU, whose datasheet is the whole's")
        mhz = _ask(self.nvml, "nvmlDeviceGetMaxClockInfo", self.handle, self.nvml.NVML_CLOCK_MEM)
        bits = _ask(self.nvml, "nvmlDeviceGetMemoryBusWidth", self.handle)
        return float(2 * mhz * 1e6 * bits / 8 / 1e9)

    def event_reasons(self) -> tuple[str, ...]:
        """Return the reasons of `EVENT_REASONS` that hold now."""
        return event_reasons(_ask(self.nvml, "nvmlDeviceGetCurrentClocksEventReasons", self.handle))

    def other_processes(self) -> list[int]:
        """Return the ids of the processes that compute on the GPU, but for this one.

        They are the machine's: in a container the same number may be another process, or none.
        """
        running = _ask(self.nvml, "nvmlDeviceGetComputeRunningProcesses_v3", self.handle)
        return sorted(process.pid for process in running if process.pid != os.getpid())

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

    def _field(self, name: str) -> float:
        (value,) = _ask(self.nvml, "nvmlDeviceGetFieldValues", self.handle, [getattr(self.nvml, name)])
        if value.nvmlReturn != self.nvml.NVML_SUCCESS:  # the call as a whole succeeds even so
            raise UnreadableError(f"{name}: {self.nvml.NVMLError(value.nvmlReturn)}")
        return float(getattr(value.value, _UNION[value.valueType]))

    def describe(self, reasons: Reasons, prefix: str) -> dict[str, Any]:
        """Return the facts that outlast a run, for ``run.json``; reasons are noted under ``prefix`` and the field.

        The PCIe link's present generation and width fall while the GPU rests, hence the maxima beside them.
        """

        def ask(field: str, name: str, *arguments: Any) -> Any:
            return reasons.attempt(prefix + field, lambda: _ask(self.nvml, name, *arguments))

        cuda = ask("cuda", "nvmlSystemGetCudaDriverVersion_v2")
        memory = ask("memory_bytes", "nvmlDeviceGetMemoryInfo", self.handle)
        mig = ask("mig", "nvmlDeviceGetMigMode", self.handle)
        ecc = ask("ecc", "nvmlDeviceGetEccMode", self.handle)
        others = reasons.attempt(f"{prefix}other_processes", self.other_processes)
        limit = ask("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", self.handle)
        sm, mem = self.nvml.NVML_CLOCK_SM, self.nvml.NVML_CLOCK_MEM
        return {
            "uuid": reasons.attempt(f"{prefix}uuid", self.uuid),
            "name": ask("name", "nvmlDeviceGetName", self.handle),
            "driver": ask("driver", "nvmlSystemGetDriverVersion"),
            "cuda": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            "sm_clock_max_mhz": ask("sm_clock_max_mhz", "nvmlDeviceGetMaxClockInfo", self.handle, sm),
            "memory_clock_max_mhz": ask("memory_clock_max_mhz", "nvmlDeviceGetMaxClockInfo", self.handle, mem),
            "memory_bytes": None if memory is None else memory.total,
            "memory_used_bytes": None if memory is None else memory.used,
            "pcie_gen": ask("pcie_gen", "nvmlDeviceGetCurrPcieLinkGeneration", self.handle),
            "pcie_gen_max": ask("pcie_gen_max", "nvmlDeviceGetMaxPcieLinkGeneration", self.handle),
            "pcie_width": ask("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth", self.handle),
            "pcie_width_max": ask("pcie_width_max", "nvmlDeviceGetMaxPcieLinkWidth", self.handle),
            "mig": None if mig is None else bool(mig[0]),
            "mig_pending": None if mig is None else bool(mig[1]),
            "ecc": None if ecc is None else bool(ecc[0]),
            "ecc_pending": None if ecc is None else bool(ecc[1]),
            "power_limit_w": None if limit is None else limit / 1000,
            "persistence": reasons.attempt(f"{prefix}persistence", self.persistence),
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
    """Hold NVML open, and give its bindings."""
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
    """Hold NVML open, and give the GPU with this UUID, with or without its ``GPU-`` or ``MIG-``.

    None means the only one there is. An index would not do: CUDA_VISIBLE_DEVICES and CUDA's own order make CUDA's
    indices differ from NVML's. Of a MIG slice it is the whole GPU that is given, which is what has clocks, power and
    temperature.
    """
    family = device_name.partition(":")[0]
    if family != "cuda":
        raise UnreadableError(f"NVML reads NVIDIA GPUs, and {family} is none")
    with _started() as nvml:
        yield _find(nvml, uuid)


def _find(nvml: ModuleType, uuid: str | None) -> Gpu:
    if uuid is None:
        count = _ask(nvml, "nvmlDeviceGetCount")
        if count != 1:
            raise UnreadableError(f"there are {count} GPUs and no UUID says which of them is measured")
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
    raise UnreadableError(f"NVML knows no GPU {uuid}: {reason}")


@contextmanager
def every_gpu(reasons: Reasons) -> Iterator[list[Gpu]]:
    """Hold NVML open and give all GPUs that it lists, none (after noting why) where it cannot be used."""
    with ExitStack() as stack:

        def listed() -> list[Gpu]:
            nvml = stack.enter_context(_started())
            count = _ask(nvml, "nvmlDeviceGetCount")
            return [Gpu(nvml, _ask(nvml, "nvmlDeviceGetHandleByIndex", index)) for index in range(count)]

        yield reasons.attempt("gpus", listed) or []
