"""Where a run is measured: the machine and its state, and versions. What cannot be read is None, with the reason."""

import importlib.metadata
import os
import platform
from pathlib import Path

from gapbench.machine.devices import device
from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.machine_warnings import Snapshot
from gapbench.machine.telemetry.machine_warnings import warnings as warnings
from gapbench.machine.telemetry.unreadable import Reasons
from gapbench.store.run import Environment, Gpu, Machine

PACKAGES = ("torch", "triton", "numpy", "pandas", "pytest-benchmark", "gapbench")


def describe(device_name: str, device_uuid: str | None = None, root: Path = host.ROOT) -> Environment:
    """Return the machine and the versions that code runs with here, each None with its reason in ``unreadable``.

    ``device_uuid`` says which of the machine's GPUs is measured, where that is known; ``root`` is the folder that holds
    ``proc`` and ``sys``.
    """
    import psutil

    reasons = Reasons()
    cpu = device("cpu").describe()
    for name, field in {"cpu": "description", "cores": "cores"}.items():
        if cpu[field] is None:
            reasons.unreadable[name] = "neither py-cpuinfo nor psutil tells"
    low, high = reasons.attempt("cpu_mhz_min", lambda: host.cpu_mhz_limits(root)) or (None, None)
    if low is None:
        reasons.unreadable["cpu_mhz_max"] = reasons.unreadable["cpu_mhz_min"]
    with nvml.every_gpu(reasons) as handles:
        gpus = tuple(Gpu(**gpu.describe(reasons, f"gpus.{index}.")) for index, gpu in enumerate(handles))
    machine = Machine(
        cpu=cpu["description"],
        cores=cpu["cores"],
        logical_cores=cpu["logical_cores"],
        usable_cores=len(host.usable_cpus()),
        smt=reasons.attempt("smt", lambda: host.smt(root)),
        governor=reasons.attempt("governor", lambda: host.governor(root)),
        cpu_mhz_min=low,
        cpu_mhz_max=high,
        cpu_mhz_current=reasons.attempt("cpu_mhz_current", lambda: host.cpu_mhz(host.current_cpu(root), root)),
        cgroup_cpus=reasons.attempt("cgroup_cpus", lambda: host.cpu_quota(root)),
        cgroup_memory_bytes=reasons.attempt("cgroup_memory_bytes", lambda: host.memory_limit(root)),
        virtualised=reasons.attempt("virtualised", lambda: host.virtualised(root)),
        # The kernel's sizes are those of one cache; py-cpuinfo may add up all, or call the L2 cache L3.
        l2_bytes=reasons.attempt("l2_bytes", lambda: host.cache_bytes(2, root)),
        l3_bytes=reasons.attempt("l3_bytes", lambda: host.cache_bytes(3, root)),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.release()}",
        device=device_name,
        device_description=device(device_name).describe()["description"],
        device_uuid=device_uuid,
        gpus=gpus,
        unreadable=reasons.unreadable,
    )
    return Environment(machine, versions())


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of `PACKAGES` in this interpreter, None for what is not installed."""

    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def load() -> tuple[float, ...]:
    """Return the load averages over 1, 5 and 15 minutes."""
    return tuple(round(value, 2) for value in os.getloadavg())


def snapshot(root: Path = host.ROOT) -> Snapshot:
    """Return what changes on this machine while a run lasts: to be taken before and after it."""
    import psutil

    reasons, processes = Reasons(), {}
    with nvml.every_gpu(reasons) as gpus:
        for gpu in gpus:
            uuid, others = reasons.attempt("uuid", gpu.uuid), reasons.attempt("others", gpu.other_processes)
            if uuid is not None and others is not None:
                processes[uuid] = [host.process(pid, root) for pid in others]
    return Snapshot(
        load=load()[0],
        cpu_time=reasons.attempt("cpu_time", lambda: host.cpu_time(host.usable_cpus(), root)),
        memory_available_bytes=psutil.virtual_memory().available,
        gpu_processes=processes,
    )
