"""Read facts about a Linux host: CPU time, frequency, governor, SMT, caches, and the limits of control groups.

Sources: proc(5) for ``/proc``; the kernel's ABI documents for ``/sys/devices/system/cpu``; cgroups(7) and the kernel's
``admin-guide/cgroup-v2``. ``root`` is the folder that holds ``proc`` and ``sys``, the file system's own by default.
What cannot be read raises `UnreadableError`.
"""

import contextlib
import itertools
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean

from gapbench.machine.telemetry.unreadable import UnreadableError, number, text

ROOT = Path("/")

_CPU = "sys/devices/system/cpu"

_KIB = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU time since boot, in jiffies: ``busy`` without idle time, and the part that a hypervisor gave to others."""

    busy: int
    steal: int


def usable_cpus() -> frozenset[int]:
    """Return the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


@cache
def near_cpus(pci_address: str, root: Path = ROOT) -> frozenset[int]:
    """Return the CPUs nearest to a PCI device such as 0000:1b:00.0. Raises `UnreadableError`."""
    ranges = text(root / "sys/bus/pci/devices" / pci_address / "local_cpulist").split(",")
    ends = [[*map(int, part.split("-"))] for part in ranges]
    return frozenset(cpu for first, *last in ends for cpu in range(first, (last or [first])[0] + 1))


def process(pid: int, root: Path = ROOT) -> str:
    """Return a process's id, with its name where that can be read."""
    try:
        name = text(root / f"proc/{pid}/comm")
    except UnreadableError:
        return str(pid)
    return f"{pid} ({''.join(letter if letter.isprintable() else '?' for letter in name)})"


def cpu_time(cpus: Collection[int], root: Path = ROOT) -> CpuTime:
    """Return the total time of ``cpus``, from ``/proc/stat``."""
    times = [time for cpu, time in parse_stat(text(root / "proc/stat")).items() if cpu in cpus]
    if not times:
        raise UnreadableError("/proc/stat has no line for a CPU that this process may run on")
    return CpuTime(sum(time.busy for time in times), sum(time.steal for time in times))


def parse_stat(content: str) -> dict[int, CpuTime]:
    """Return each CPU's time from the text of ``/proc/stat``."""
    times = {}
    for cpu, fields in re.findall(r"^cpu(\d+)[ \t]+(.*)$", content, re.MULTILINE):
        try:
            # The kernel counts guest and guest_nice, which may follow, in user and nice already.
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields.split()[:8])
        except ValueError:
            raise UnreadableError(f"/proc/stat has no steal time: cpu{cpu} {fields[:60]}") from None
        times[int(cpu)] = CpuTime(user + nice + system + irq + softirq + steal, steal)
    return times


def stolen_share(before: CpuTime, after: CpuTime) -> float | None:
    """Return the stolen share (0 to 1) of busy time; None below a jiffy, and where counters decreased."""
    busy, steal = after.busy - before.busy, after.steal - before.steal
    return min(steal / busy, 1.0) if busy > 0 and steal >= 0 else None


def cpu_mhz(root: Path = ROOT) -> float:
    """Return the present frequency in MHz, the mean of all CPUs; that of ``/proc/cpuinfo`` may be nominal in guests."""
    return fmean(map(number, _cpufreq(root, "scaling_cur_freq"))) / 1000


def cpu_mhz_limits(root: Path = ROOT) -> tuple[float, float]:
    """Return the lowest and the highest frequency of the hardware, in MHz, over all CPUs."""
    low, high = (map(number, _cpufreq(root, name)) for name in ("cpuinfo_min_freq", "cpuinfo_max_freq"))
    return min(low) / 1000, max(high) / 1000


def governor(root: Path = ROOT) -> str:
    """Return the frequency governor; where CPUs differ, all governors joined by commas."""
    return ",".join(sorted({text(path) for path in _cpufreq(root, "scaling_governor")}))


def _cpufreq(root: Path, name: str) -> list[Path]:
    paths = list((root / _CPU).glob(f"cpu[0-9]*/cpufreq/{name}"))
    if not paths:
        raise UnreadableError(f"no /{_CPU}/cpu*/cpufreq/{name}: no cpufreq driver, as in most guests")
    return paths


def smt(root: Path = ROOT) -> bool:
    """Tell whether cores run several threads, according to the kernel; a hypervisor may hide it."""
    return number(root / _CPU / "smt/active") != 0


def virtualised(root: Path = ROOT) -> bool:
    """Tell whether this is a virtual machine, by the flag of x86 processors for guests."""
    flags = next(iter(re.findall(r"^flags\s*:(.*)$", text(root / "proc/cpuinfo"), re.MULTILINE)), None)
    if flags is None:
        raise UnreadableError("/proc/cpuinfo has no flags: not an x86 processor")
    return "hypervisor" in flags.split()


@dataclass(frozen=True, slots=True)
class DataCache:
    """A data cache: its level, its size in bytes, and how many CPUs share it."""

    level: int
    nbytes: int
    sharers: int


def data_caches(root: Path = ROOT) -> list[DataCache]:
    """Return the data caches of CPU 0, nearest first, except unreadable ones."""
    caches = []
    for level in range(1, 5):
        with contextlib.suppress(UnreadableError, ValueError):
            sharers = int(text(_cache(level, root) / "shared_cpu_map").replace(",", ""), 16).bit_count()
            caches.append(DataCache(level, cache_bytes(level, root), sharers))
    return caches


def cache_bytes(level: int, root: Path = ROOT) -> int:
    """Return the size of CPU 0's data cache of ``level``, in bytes."""
    folder = _cache(level, root)
    size = re.fullmatch(r"(\d+)([KMG])", text(folder / "size"))
    if not size:
        raise UnreadableError(f"{folder / 'size'} holds {text(folder / 'size')[:40]!r}, not a size")
    return int(size[1]) * _KIB[size[2]]


def _cache(level: int, root: Path) -> Path:
    for index in sorted((root / _CPU / "cpu0/cache").glob("index[0-9]*")):
        if number(index / "level") == level and text(index / "type") != "Instruction":
            return index
    raise UnreadableError(f"/{_CPU}/cpu0/cache has no cache of level {level}")


# Below are the limits of control groups (version 2). A group is bound by its ancestors too, so the least limit between
# it and the root of the mount counts. In a container the group's own path may not exist under the mount; the mount's
# root is then the container's group.


def cpu_quota(root: Path = ROOT) -> float | None:
    """Return how many CPUs this process's group may use, None where no quota is set."""
    return _tightest(root, "cpu.max")


def memory_limit(root: Path = ROOT) -> int | None:
    """Return how many bytes of memory this process's group may use, None where no limit is set."""
    limit = _tightest(root, "memory.max")
    return None if limit is None else int(limit)


def _tightest(root: Path, file: str) -> float | None:
    """Return the least limit of this process's group and its ancestors; None where none has one."""
    group = re.fullmatch(r"0::/+(.*)", text(root / "proc/self/cgroup"))  # version 1 adds lines
    mount = root / "sys/fs/cgroup"
    if group is None or not mount.is_dir():
        raise UnreadableError("not all control groups are of version 2 and mounted at /sys/fs/cgroup")
    folder = mount / group[1]
    ancestors = itertools.takewhile(lambda parent: parent != mount.parent, (folder, *folder.parents))
    try:
        limits = [_limit(text(ancestor / file)) for ancestor in ancestors if (ancestor / file).exists()]
    except (UnreadableError, ValueError, ZeroDivisionError):
        # A group's path may name a user or a job, so the reason does not quote it.
        reason = f"{file} of this process's control group, or of one above it, cannot be read as a number"
        raise UnreadableError(reason) from None
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(content: str) -> float | None:
    limit, *periods = content.split()
    if limit == "max":
        return None
    return int(limit) / int(periods[0]) if periods else int(limit)
