"""The host as Linux tells of it: CPU time, frequency, governor, SMT, caches, and the limits of control groups.

Sources: proc(5) for ``/proc``; the kernel's ABI documents for ``/sys/devices/system/cpu``; cgroups(7) and the kernel's
``admin-guide/cgroup-v1``, ``admin-guide/cgroup-v2`` and ``scheduler/sched-bwc``. ``root`` is the folder that holds
``proc`` and ``sys``, the file system's own by default. What cannot be read raises `UnreadableError`.
"""

import contextlib
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from gapbench.machine.telemetry.unreadable import UnreadableError, number, text

Limit = TypeVar("Limit", int, float)

ROOT = Path("/")

_CPU = "sys/devices/system/cpu"

_UNLIMITED = 2**62
"""Version 1 of cgroups writes "no limit" as the largest multiple of a page, which depends on the page's size."""

_KIB = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Time since boot, in jiffies, in which CPUs had work to do, and the part of it that was stolen.

    Steal is what a hypervisor gave to others while this machine's CPU had something to run, so ``busy`` includes it.
    Idle time says nothing of a worker and is left out.
    """

    busy: int
    steal: int


def usable_cpus() -> frozenset[int]:
    """Return the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def process(pid: int, root: Path = ROOT) -> str:
    """Return a process as people look for it: its id, and its name where that can be read."""
    try:
        name = text(root / f"proc/{pid}/comm")
    except UnreadableError:
        return str(pid)
    return f"{pid} ({''.join(letter if letter.isprintable() else '?' for letter in name)})"


def cpu_time(cpus: Collection[int], root: Path = ROOT) -> CpuTime:
    """Return the time of ``cpus`` together, from ``/proc/stat``."""
    times = [time for cpu, time in parse_stat(text(root / "proc/stat")).items() if cpu in cpus]
    if not times:
        raise UnreadableError("/proc/stat tells of none of the CPUs that this process may run on")
    return CpuTime(sum(time.busy for time in times), sum(time.steal for time in times))


def parse_stat(content: str) -> dict[int, CpuTime]:
    """Return each CPU's time from the text of ``/proc/stat``."""
    times = {}
    for cpu, fields in re.findall(r"^cpu(\d+)[ \t]+(.*)$", content, re.MULTILINE):
        try:
            # The kernel counts guest and guest_nice, which may follow, in user and nice already.
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields.split()[:8])
        except ValueError:
            raise UnreadableError(f"/proc/stat does not tell steal time: cpu{cpu} {fields[:60]}") from None
        times[int(cpu)] = CpuTime(user + nice + system + irq + softirq + steal, steal)
    return times


def stolen_share(before: CpuTime, after: CpuTime) -> float | None:
    """Return the share (0 to 1) of busy time that was stolen; None below a jiffy, and where counters ran backwards."""
    busy, steal = after.busy - before.busy, after.steal - before.steal
    return min(steal / busy, 1.0) if busy > 0 and steal >= 0 else None


def current_cpu(root: Path = ROOT) -> int:
    """Return the CPU that this thread runs on, from ``/proc/self/stat``."""
    fields = text(root / "proc/self/stat").rpartition(")")[2].split()  # the name in front may hold spaces
    try:
        return int(fields[36])
    except (IndexError, ValueError):
        raise UnreadableError("/proc/self/stat does not tell the CPU") from None


def cpu_mhz(cpu: int, root: Path = ROOT) -> float:
    """Return the present frequency of ``cpu`` in MHz.

    Where there is no cpufreq, ``/proc/cpuinfo`` counts only if it is measured (APERF/MPERF): a guest without these
    counters is shown a constant, which would look like a clock that never drops.
    """
    try:
        return number(root / _CPU / f"cpu{cpu}/cpufreq/scaling_cur_freq") / 1000
    except UnreadableError as error:
        no_driver = error
    for block in text(root / "proc/cpuinfo").split("\n\n"):
        info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if info.get("processor") == str(cpu):
            break
    else:
        raise UnreadableError(f"/proc/cpuinfo does not tell of CPU {cpu}")
    if "aperfmperf" not in info.get("flags", "").split():
        nominal = f" (nominal: {info['cpu MHz']} MHz)" if "cpu MHz" in info else ""
        raise UnreadableError(f"{no_driver}, and no APERF/MPERF counters in /proc/cpuinfo{nominal}")
    try:
        return float(info["cpu MHz"])
    except (KeyError, ValueError):
        raise UnreadableError(f"{no_driver}, and no frequency in /proc/cpuinfo") from None


def cpu_mhz_limits(root: Path = ROOT) -> tuple[float, float]:
    """Return the lowest and the highest frequency that the hardware offers, in MHz, over all CPUs."""
    low = [number(path) for path in _cpufreq(root, "cpuinfo_min_freq")]
    high = [number(path) for path in _cpufreq(root, "cpuinfo_max_freq")]
    return min(low) / 1000, max(high) / 1000


def governor(root: Path = ROOT) -> str:
    """Return the frequency governor; where CPUs differ, all of them joined by commas."""
    return ",".join(sorted({text(path) for path in _cpufreq(root, "scaling_governor")}))


def _cpufreq(root: Path, name: str) -> list[Path]:
    paths = list((root / _CPU).glob(f"cpu[0-9]*/cpufreq/{name}"))
    if not paths:
        raise UnreadableError(f"no /{_CPU}/cpu*/cpufreq/{name}: no cpufreq driver, as in most guests")
    return paths


def smt(root: Path = ROOT) -> bool:
    """Tell whether cores run several threads, as far as the kernel sees: a hypervisor may hide it."""
    return number(root / _CPU / "smt/active") != 0


def virtualised(root: Path = ROOT) -> bool:
    """Tell whether a hypervisor is beneath, by the flag that x86 processors show to guests."""
    flags = next(iter(re.findall(r"^flags\s*:(.*)$", text(root / "proc/cpuinfo"), re.MULTILINE)), None)
    if flags is None:
        raise UnreadableError("/proc/cpuinfo has no flags: not an x86 processor")
    return "hypervisor" in flags.split()


@dataclass(frozen=True, slots=True)
class DataCache:
    """A cache that holds data: its level, its size in bytes, and how many CPUs share one such cache."""

    level: int
    nbytes: int
    sharers: int


def data_caches(root: Path = ROOT) -> list[DataCache]:
    """Return the caches that CPU 0 has or shares, nearest first; those that cannot be read are left out."""
    caches = []
    for level in range(1, 5):
        with contextlib.suppress(UnreadableError, ValueError):
            sharers = int(text(_cache(level, root) / "shared_cpu_map").replace(",", ""), 16).bit_count()
            caches.append(DataCache(level, cache_bytes(level, root), sharers))
    return caches


def cache_bytes(level: int, root: Path = ROOT) -> int:
    """Return the size of the data cache of ``level`` that CPU 0 has or shares, in bytes."""
    folder = _cache(level, root)
    size = re.fullmatch(r"(\d+)([KMG])", text(folder / "size"))
    if not size:
        raise UnreadableError(f"{folder / 'size'} holds {text(folder / 'size')[:40]!r}, not a size")
    return int(size[1]) * _KIB[size[2]]


def _cache(level: int, root: Path) -> Path:
    for index in sorted((root / _CPU / "cpu0/cache").glob("index[0-9]*")):
        if number(index / "level") == level and text(index / "type") != "Instruction":
            return index
    raise UnreadableError(f"/{_CPU}/cpu0/cache tells of no cache of level {level}")


# What follows reads the limits of control groups, versions 1 and 2. A group is bound by its ancestors too, so the
# tightest limit between it and the root of the mount counts. In a container the group's own path may not exist under
# the mount; the mount's root is then the container's group.


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many CPUs' worth of time per second this process may use, None where no quota is set."""
    return _tightest(root, "cpu", _quota)


def memory_limit(root: Path = ROOT) -> int | None:
    """Return how many bytes of memory this process's group may use, None where no limit is set."""
    return _tightest(root, "memory", _memory)


def _quota(folder: Path) -> float | None:
    if (folder / "cpu.max").exists():
        quota, _, period = text(folder / "cpu.max").partition(" ")
    elif (folder / "cpu.cfs_quota_us").exists():
        quota, period = text(folder / "cpu.cfs_quota_us"), text(folder / "cpu.cfs_period_us")
    else:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _memory(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (folder / name).exists():
            limit = text(folder / name)
            return None if limit == "max" or int(limit) >= _UNLIMITED else int(limit)
    return None


def _tightest(root: Path, controller: str, limit: Callable[[Path], Limit | None]) -> Limit | None:
    folders = _folders(root, controller)
    try:
        limits = [limit(folder) for folder in folders]
    except (UnreadableError, ValueError, ZeroDivisionError):
        # a group's path may name a user or a job, so the reason does not quote it
        reason = f"the {controller} limit of this process's cgroup, or of one above it, cannot be read as a number"
        raise UnreadableError(reason) from None
    return min((each for each in limits if each is not None), default=None)


def _folders(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's group and its ancestors under the controller's mount."""
    mount, group = _mount(root, controller)
    if not mount.is_dir():
        raise UnreadableError(f"no cgroup file system with a {controller} controller is mounted at /sys/fs/cgroup")
    parts = PurePosixPath(group).parts[1:]
    return [folder for depth in range(len(parts) + 1) if (folder := mount.joinpath(*parts[:depth])).is_dir()]


def _mount(root: Path, controller: str) -> tuple[Path, str]:
    """Return the controller's mount and the group's path in it; version 1 where it holds the controller."""
    mounts = root / "sys/fs/cgroup"
    unified = None
    content = text(root / "proc/self/cgroup")
    for controllers, group in re.findall(r"^\d+:([^:\n]*):(/.*)$", content, re.MULTILINE):
        if controller in controllers.split(","):
            joined = mounts / controllers
            return (joined if joined.is_dir() else mounts / controller), group
        if not controllers:
            unified = group
    if unified is None:
        raise UnreadableError(f"/proc/self/cgroup tells of no group for {controller}")
    hybrid = mounts / "unified"
    return (hybrid if hybrid.is_dir() else mounts), unified
