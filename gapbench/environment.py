"""Where and how a run was measured, as flat fields of ``run.json``. What cannot be read is None."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from gapbench.devices import device

_PACKAGES = ("torch", "triton", "numpy", "pandas", "pytest-benchmark", "gapbench")


def describe(device_name: str) -> dict[str, Any]:
    """Return the fields ``machine``, ``versions`` and ``git`` of ``run.json``."""
    return {"machine": _machine(device_name), "versions": _versions(), "git": git()}


def _machine(device_name: str) -> dict[str, Any]:
    import psutil

    cpu = device("cpu").describe()
    return {
        "cpu": cpu["description"],
        "cores": cpu["cores"],
        "logical_cores": cpu["logical_cores"],
        "l2_bytes": cpu["l2_bytes"],
        "l3_bytes": cpu["l3_bytes"],
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release()}",
        "device": device_name,
        "device_description": device(device_name).describe()["description"],
        "gpus": [],
    }


def _versions() -> dict[str, str | None]:
    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}


def git(folder: Path | None = None) -> dict[str, Any] | None:
    """Return commit, branch, subject and whether the tree is dirty (with a hash of the difference).

    None where ``folder`` (the current one by default) is in no repository or has no commit.
    """

    def ask(*arguments: str) -> str | None:
        command = ["git", *arguments]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.rstrip("\n")

    commit = ask("rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    difference = ask("diff", "HEAD") or ""
    untracked = ask("status", "--porcelain") or ""
    dirty = bool(difference or untracked)
    digest = hashlib.sha256(f"{untracked}\n{difference}".encode()).hexdigest()[:12]
    return {
        "commit": commit,
        "branch": ask("rev-parse", "--abbrev-ref", "HEAD"),
        "subject": ask("log", "-1", "--format=%s"),
        "dirty": dirty,
        "diff_hash": digest if dirty else None,
    }


def load() -> list[float]:
    """Return the load averages over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def load_warnings(before: list[float]) -> list[str]:
    """Return what the load says against this run's numbers, each with its remedy."""
    cores = os.cpu_count() or 1
    if before[0] > cores / 2:
        return [
            f"the load was {before[0]:.1f} on {cores} cores when the run began: other work slows batches down; "
            "ratios suffer less than times; stop other work and run again"
        ]
    return []
