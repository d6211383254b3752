"""Describe the machine of a run and its state, and warn about both; None, with a reason, is what cannot be read."""

import contextlib
import importlib.metadata
import itertools
import os
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gapbench.machine import device_lock
from gapbench.machine.devices import Cpu, device
from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.host import CpuTime
from gapbench.machine.telemetry.unreadable import Reasons
from gapbench.store.run import Environment, Gpu, Machine, Warning

PACKAGES = ("torch", "triton", "numpy", "pandas", "pytest-benchmark", "gapbench")
STEAL = 0.01  # largest share of stolen time without a warning: a verdict's margin is 1 %
MEMORY = 0.05  # smallest share of available memory without a warning: below, the kernel reclaims and swaps
TOPICS = ("load", "stolen time", "processor", "memory", "throttling", "GPUs")
_Remarks = Iterator[tuple[str, str]]  # what happened, and what to do


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a machine before or after a run; None is what cannot be read."""

    load: float | None = None  # average over the last minute
    cpu_time: CpuTime | None = None
    memory_available_bytes: int | None = None
    gpu_processes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # other computing processes, by GPU's UUID


def describe(device_name: str, device_uuid: str | None = None, root: Path = host.ROOT) -> Environment:
    """Return the machine and versions, with reasons for unreadable fields; ``root`` holds ``proc`` and ``sys``."""
    import psutil

    reasons = Reasons()
    cpu = device("cpu").describe()
    for name, key in {"cpu": "description", "cores": "cores"}.items():
        if cpu[key] is None:
            reasons.unreadable[name] = "neither py-cpuinfo nor psutil reports it"
    low, high = reasons.attempt("cpu_mhz_min", lambda: host.cpu_mhz_limits(root)) or (None, None)
    if low is None:
        reasons.unreadable["cpu_mhz_max"] = reasons.unreadable["cpu_mhz_min"]
    with nvml.every_gpu(reasons) as handles:
        gpus = tuple(Gpu(**gpu.describe(reasons, f"gpus.{index}.")) for index, gpu in enumerate(handles))
    measured = device(device_name)
    facts = {} if isinstance(measured, Cpu) else device_lock.facts(measured)
    reported = {name: value for name, value in facts.items() if value is not None}
    attempt = reasons.attempt
    machine = Machine(
        cpu=cpu["description"], cores=cpu["cores"], logical_cores=cpu["logical_cores"],
        usable_cores=len(host.usable_cpus()), smt=attempt("smt", lambda: host.smt(root)),
        governor=attempt("governor", lambda: host.governor(root)), cpu_mhz_min=low, cpu_mhz_max=high,
        cpu_mhz_current=attempt("cpu_mhz_current", lambda: host.cpu_mhz(root)),
        cgroup_cpus=attempt("cgroup_cpus", lambda: host.cpu_quota(root)),
        cgroup_memory_bytes=attempt("cgroup_memory_bytes", lambda: host.memory_limit(root)),
        virtualised=attempt("virtualised", lambda: host.virtualised(root)),
        # The kernel reports sizes of one cache; py-cpuinfo may add up all of them, or call the L2 cache L3.
        l2_bytes=attempt("l2_bytes", lambda: host.cache_bytes(2, root)),
        l3_bytes=attempt("l3_bytes", lambda: host.cache_bytes(3, root)),
        memory_bytes=psutil.virtual_memory().total, system=f"{platform.system()} {platform.release()}",
        **{"device_description": measured.describe()["description"], "device_uuid": device_uuid, **reported},
        device=device_name, gpus=gpus, unreadable=reasons.unreadable,
    )  # fmt: skip
    return Environment(machine, versions())


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of `PACKAGES` in this interpreter, None for what is not installed."""
    result: dict[str, str | None] = {"python": platform.python_version(), **dict.fromkeys(PACKAGES)}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            result[package] = importlib.metadata.version(package)
    return result


def load() -> tuple[float, ...]:
    """Return the load averages over 1, 5 and 15 minutes."""
    return tuple(round(value, 2) for value in os.getloadavg())


def snapshot(root: Path = host.ROOT) -> Snapshot:
    """Return the state of this machine now."""
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


def warnings(
    before: Snapshot, after: Snapshot | None, machine: Machine, throttles: Sequence[Any] = ()
) -> list[Warning]:
    """Return the warnings about a run, by `TOPICS`; ``after`` is None while it lasts, ``throttles`` has one a round."""
    snapshots = [before] if after is None else [before, after]
    checks = (
        _load(before, machine), _steal(before, after), _cpu(machine), _memory(snapshots, machine),
        _throttled(throttles), _gpus(snapshots, machine),
    )  # fmt: skip
    return [Warning(topic, *remark) for topic, remarks in zip(TOPICS, checks, strict=True) for remark in remarks]


def _load(before: Snapshot, machine: Machine) -> _Remarks:
    cores = machine.logical_cores or 1
    if before.load is not None and before.load > cores / 2:
        yield (
            f"the load was {before.load:.1f} on {cores} cores when the run began: other work slows batches down, which "
            "affects times more than ratios",
            "stop other work and run again",
        )


def _steal(before: Snapshot, after: Snapshot | None) -> _Remarks:
    if not (after and before.cpu_time and after.cpu_time):
        return
    share = host.stolen_share(before.cpu_time, after.cpu_time)
    if share is not None and share > STEAL:
        yield (
            f"the hypervisor took {share:.1%} of the CPU time during the run, in spells: times are too long by about "
            "as much",
            "use a machine with dedicated cores, or a larger --budget",
        )


def _cpu(machine: Machine) -> _Remarks:
    governor, cores, quota = machine.governor, machine.usable_cores, machine.cgroup_cpus
    if governor and governor != "performance":
        yield (
            f"the CPU frequency governor is {governor}, so the clock follows the load",
            "set it with `sudo cpupower frequency-set --governor performance`",
        )
    if machine.smt:
        yield (
            "SMT is on, so a neighbour on the same core slows batches down",
            "leave the sibling threads idle, or switch SMT off with "
            "`echo off | sudo tee /sys/devices/system/cpu/smt/control`",
        )
    if quota and cores and quota < cores:
        yield (
            f"the cgroup may use {quota:g} of {cores} cores: once its quota is spent, every thread stops for tens of "
            "milliseconds",
            f"raise the container's CPU limit, or measure with at most {max(int(quota), 1)} threads",
        )


def _memory(snapshots: Sequence[Snapshot], machine: Machine) -> _Remarks:
    total, available = machine.memory_bytes, [snapshot.memory_available_bytes for snapshot in snapshots]
    least = min((nbytes for nbytes in available if nbytes is not None), default=None)
    if total and least is not None and least < MEMORY * total:
        yield (
            f"only {least / 2**20:,.0f} MiB of {total / 2**20:,.0f} MiB of memory were available: reclaiming and "
            "swapping slow batches down",
            "close other programs, or measure smaller shapes",
        )


def _throttled(throttles: Sequence[Any]) -> _Remarks:
    ignored = {"none", *nvml.CHOSEN}
    readable = (throttle.split(",") for throttle in throttles if isinstance(throttle, str))  # others are None or NaN
    named = [[cause for cause in causes if cause not in ignored] for causes in readable]
    if count := sum(map(bool, named)):
        causes = Counter(itertools.chain.from_iterable(named)).most_common()
        listed = ", ".join(f"{cause} in {times}" for cause, times in causes)
        yield (
            f"the GPU was throttled in {count} of {len(throttles)} rounds ({listed}): its clocks fell during batches",
            "lock a clock that it can keep with `sudo nvidia-smi --lock-gpu-clocks=MHZ`, or cool it, and run again",
        )


def _gpus(snapshots: Sequence[Snapshot], machine: Machine) -> _Remarks:
    if not str(machine.device).startswith("cuda"):
        return
    uuid = str(machine.device_uuid).removeprefix("GPU-")  # torch's has no prefix, and of a slice is the slice's own
    own = [gpu for gpu in machine.gpus if uuid in ("None", str(gpu.uuid).removeprefix("GPU-"))]
    for gpu in own or [gpu for gpu in machine.gpus if gpu.mig]:
        name = gpu.name or "the GPU"
        processes = (snapshot.gpu_processes.get(str(gpu.uuid), ()) for snapshot in snapshots)
        others = list(dict.fromkeys(itertools.chain.from_iterable(processes)))
        if others:
            yield (
                f"{len(others)} other {'process computes' if len(others) == 1 else 'processes compute'} on {name}, "
                f"{', '.join(others)}: kernels wait and share its bandwidth",
                "list them with `nvidia-smi`, stop them and run again",
            )
        if gpu.persistence is False:
            yield (
                f"persistence mode of {name} is off: the driver lets go of it between processes, so each takes 1 to "
                "3 s to start, and locked clocks are lost",
                "switch it on with `sudo nvidia-smi -pm 1`, or measure with gapbench tune",
            )
        if gpu.compute_mode not in (None, "default"):
            yield (
                f"the compute mode of {name} is {gpu.compute_mode}: two processes cannot use it at once, as sides that "
                "do not share one do",
                "set it with `sudo nvidia-smi --compute-mode=DEFAULT`",
            )
        if gpu.display:
            yield (
                f"{name} drives a display: drawing interrupts kernels, and takes memory and bandwidth",
                "measure without a desktop, or let another GPU drive it",
            )
        if gpu.mig:
            yield (
                f"{name} is divided by MIG: a slice is measured, which shares clocks and power with the others",
                "compare with the same slice only, or disable MIG with `sudo nvidia-smi -mig 0`",
            )
        for mode, now, pending in (("MIG", gpu.mig, gpu.mig_pending), ("ECC", gpu.ecc, gpu.ecc_pending)):
            if None not in (now, pending) and now != pending:
                yield (
                    f"{mode} of {name} is {'on' if now else 'off'} and will be "
                    f"{'on' if pending else 'off'} after its next reset, which changes its performance",
                    "reset it before runs that will be compared",
                )
