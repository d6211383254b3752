"""The limits that control groups set on this process: CPU quota and memory, versions 1 and 2.

A group is bound by its ancestors too, so the tightest limit between it and the root of the mount counts. In a container
the group's own path may not exist under the mount; the mount's root is then the container's group.
Sources: cgroups(7); the kernel's ``admin-guide/cgroup-v1``, ``admin-guide/cgroup-v2`` and ``scheduler/sched-bwc``.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from gapbench.telemetry.host import ROOT
from gapbench.telemetry.unreadable import UnreadableError, text

Limit = TypeVar("Limit", int, float)

_UNLIMITED = 2**62
"""Version 1 writes "no limit" as the largest multiple of a page, which depends on the page's size."""


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
        found = [limit(folder) for folder in folders]
    except (UnreadableError, ValueError, ZeroDivisionError):
        # a group's path may name a user or a job, so the reason does not quote it
        reason = f"the {controller} limit of this process's cgroup, or of one above it, cannot be read as a number"
        raise UnreadableError(reason) from None
    return min((one for one in found if one is not None), default=None)


def _folders(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's group and its ancestors under the controller's mount."""
    mount, group = _place(root, controller)
    if not mount.is_dir():
        raise UnreadableError(f"no cgroup file system with a {controller} controller is mounted at /sys/fs/cgroup")
    parts = PurePosixPath(group).parts[1:]
    return [folder for depth in range(len(parts) + 1) if (folder := mount.joinpath(*parts[:depth])).is_dir()]


def _place(root: Path, controller: str) -> tuple[Path, str]:
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
