"""What the machine's state says against a run's numbers."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapbench.machine.telemetry import host, nvml
from gapbench.machine.telemetry.host import CpuTime
from gapbench.store.run import Machine, Warning

STEAL = 0.01  # more stolen time than this share is warned of: a verdict's margin is 1 %
MEMORY = 0.05  # less available memory than this share is warned of: the kernel begins to reclaim and to swap


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What changes on a machine while a run lasts, taken before and after it; None is what cannot be read."""

    load: float | None = None  # average over the last minute
    cpu_time: CpuTime | None = None
    memory_available_bytes: int | None = None
    gpu_processes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # others that compute, by GPU's UUID


def warnings(
    before: Snapshot, after: Snapshot | None, machine: Machine, rounds: Sequence[Mapping[str, Any]] = ()
) -> list[Warning]:
    """Return what speaks against a run on ``machine``, topics in the order of `TOPICS`.

    ``after`` is None while the run lasts; ``rounds`` are the columns of `telemetry.between`, one mapping a round.
    """
    moments = [before] if after is None else [before, after]
    found = {
        "load": _load(before, machine),
        "stolen time": _steal(before, after),
        "processor": _cpu(machine),
        "memory": _memory(moments, machine),
        "throttling": _throttled(rounds),
        "GPUs": _gpus(moments, machine),
    }
    return [Warning(topic, *parts) for topic, said in found.items() for parts in said]


TOPICS = ("load", "stolen time", "processor", "memory", "throttling", "GPUs")  # what is looked at
_Said = Iterator[tuple[str, str]]  # what happened, and what to do


def _load(before: Snapshot, machine: Machine) -> _Said:
    cores = machine.logical_cores or 1
    if before.load is not None and before.load > cores / 2:
        yield (
            f"the load was {before.load:.1f} on {cores} cores when the run began: other work slows batches down, "
            "ratios less than times",
            "stop other work and run again",
        )


def _steal(before: Snapshot, after: Snapshot | None) -> _Said:
    if not (after and before.cpu_time and after.cpu_time):
        return
    share = host.stolen_share(before.cpu_time, after.cpu_time)
    if share is not None and share > STEAL:
        yield (
            f"the hypervisor took {share:.1%} of the CPU time during the run: times are too long by about as much, "
            "in spells",
            "use a machine with dedicated cores, or a larger --budget",
        )


def _cpu(machine: Machine) -> _Said:
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
            f"the cgroup may use {quota:g} of {cores} cores: once its quota is spent, every thread stands still for "
            "tens of milliseconds",
            f"raise the container's CPU limit, or measure with at most {max(int(quota), 1)} threads",
        )


def _memory(moments: Sequence[Snapshot], machine: Machine) -> _Said:
    total = machine.memory_bytes
    told = [moment.memory_available_bytes for moment in moments if moment.memory_available_bytes is not None]
    if total and told and (available := min(told)) < MEMORY * total:
        yield (
            f"only {available / 2**20:,.0f} MiB of {total / 2**20:,.0f} MiB of memory were available: reclaiming and "
            "swapping slow batches down",
            "close other programs, or measure smaller shapes",
        )


def _throttled(rounds: Sequence[Mapping[str, Any]]) -> _Said:
    throttles = [throttle for each in rounds if isinstance(throttle := each.get("throttle"), str)]  # NaN in a frame
    ignored = {"none", *nvml.CHOSEN}
    named = [[cause for cause in throttle.split(",") if cause not in ignored] for throttle in throttles]
    if count := sum(map(bool, named)):
        causes = Counter(itertools.chain.from_iterable(named))
        said = ", ".join(f"{cause} in {times}" for cause, times in causes.most_common())
        yield (
            f"the GPU was throttled in {count} of {len(rounds)} rounds ({said}): its clocks fell while it was timed",
            "lock a clock that it can keep with `sudo nvidia-smi --lock-gpu-clocks=MHZ`, or cool it, and run again",
        )


def _gpus(moments: Sequence[Snapshot], machine: Machine) -> _Said:
    if not str(machine.device).startswith("cuda"):
        return
    for gpu in machine.gpus:
        if machine.device_uuid not in (None, gpu.uuid):
            continue
        name = gpu.name or "the GPU"
        processes = (moment.gpu_processes.get(str(gpu.uuid), ()) for moment in moments)
        others = list(dict.fromkeys(itertools.chain.from_iterable(processes)))
        if others:
            yield (
                f"{len(others)} other {'process computes' if len(others) == 1 else 'processes compute'} on {name}, "
                f"{', '.join(others)}: kernels wait and share its bandwidth",
                "look at them with `nvidia-smi`, stop them and run again",
            )
        if gpu.mig:
            yield (
                f"{name} is divided by MIG: what is measured is a slice, and its clocks and power are shared with the "
                "others",
                "compare with the same slice only, or end it with `sudo nvidia-smi -mig 0`",
            )
        for mode, now, pending in (("MIG", gpu.mig, gpu.mig_pending), ("ECC", gpu.ecc, gpu.ecc_pending)):
            if None not in (now, pending) and now != pending:
                yield (
                    f"{mode} of {name} is {'on' if now else 'off'} and will be "
                    f"{'on' if pending else 'off'} after its next reset, which changes what it can do",
                    "reset it before runs that are to be compared",
                )
