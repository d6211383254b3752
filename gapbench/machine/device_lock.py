"""Lock each physical device of a machine, so that one run measures on it (docs/reliability.md).

The lock is an flock on a file in a folder that all users of the machine share. The kernel releases it when its holder
ends in any way, so no lock is ever stale; the file's content about its holder is for messages only.
"""

import contextlib
import fcntl
import functools
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine.devices import Accelerator, Cpu, Device
from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.unreadable import Reasons

SHARED = (Path("/run/lock"), Path("/tmp"))  # noqa: S108 - files there are opened with care
"""Folders for locks unless another one is named; the first that every user may write to is used."""

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a link would lead elsewhere, a pipe would block
_LONGEST = 200

_TIMEOUT = 120.0
_ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from gapbench.machine.devices import device
print(json.dumps(device(sys.argv[2]).facts()))
"""


class Lock(contextlib.AbstractContextManager["Lock"]):
    """The lock of a device, held by this process and not its children; released on exit or when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def take(
    device: Device, command: str, folder: Path | None = None, waiting: Callable[[str], None] | None = None
) -> Lock:
    """Take the lock of ``device`` in ``folder``; ``command`` describes this process to others.

    While another process has it, calls ``waiting`` with a sentence and waits for that process; without ``waiting``,
    raises `RefusedError`. Raises `GapbenchError` if ``folder`` cannot have locks.
    """
    path = (folder or shared_folder()) / f"gapbench-{re.sub('[^A-Za-z0-9.-]', '_', identity(device))}.lock"
    try:
        descriptor = _opened(path)
    except OSError as error:
        raise GapbenchError(
            f"cannot lock {device.name} by {path}: {error.strerror}; fix that, or set GAPBENCH_LOCKS to a folder that "
            "all users who measure on this machine can write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy = f"{device.name} is in use by {_holder(descriptor)}"
        try:
            if waiting is None:
                raise RefusedError(f"{busy}; run again when that has ended") from None
            waiting(busy)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    written = json.dumps({"pid": os.getpid(), "command": command[:_LONGEST], "since": now})
    with contextlib.suppress(OSError):  # a process that may only read the file still holds the lock
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, written.encode(), 0)
    return Lock(descriptor)


def shared_folder() -> Path:
    """Return the folder of locks where no other is named."""
    usable = (folder for folder in SHARED if folder.is_dir() and folder.stat().st_mode & stat.S_IWOTH)
    return next(usable, None) or Path(tempfile.gettempdir())


def _opened(path: Path) -> int:
    """Open a plain file that all users may lock, creating it if missing. Raises `OSError`."""
    try:  # without O_CREAT, which the kernel refuses for another user's file in a sticky folder
        descriptor = _existing(path)
    except FileNotFoundError:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o666)
            os.fchmod(descriptor, 0o666)  # independent of the umask
        except FileExistsError:  # another process was faster
            descriptor = _existing(path)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise OSError(0, "it is not a plain file with one link")
    return descriptor


def _existing(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | _OPEN)
    except PermissionError:
        return os.open(path, os.O_RDONLY | _OPEN)


def _holder(descriptor: int) -> str:
    """Return the lock's holder in words, unless the file's content is of a dead process."""
    for _ in range(10):  # a holder writes the file just after taking the lock
        try:
            holder = json.loads(os.pread(descriptor, 4096, 0))
            with contextlib.suppress(PermissionError):  # another user's process, which is alive
                os.kill(int(holder["pid"]), 0)
            words = f"process {int(holder['pid'])} ({holder['command']}) since {holder['since']}"
            return "".join(letter if letter.isprintable() else "?" for letter in words[: 2 * _LONGEST])
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, ProcessLookupError):
            time.sleep(0.05)
    return "an unknown process"


def identity(device: Device) -> str:
    """Return the identity of a physical device in every process: its UUID, without the driver's prefix.

    ``cuda:0`` is another GPU in a process with another CUDA_VISIBLE_DEVICES or order.
    """
    if isinstance(device, Cpu):
        return device.name
    uuid = _of_the_only_gpu() if device.family == "cuda" else None
    return (uuid or facts(device).get("device_uuid") or device.name).removeprefix("GPU-").removeprefix("MIG-")


def _of_the_only_gpu() -> str | None:
    """Return the UUID of the machine's only GPU by NVML; None where there are several GPUs, or slices."""
    reasons = Reasons()
    with nvml.every_gpu(reasons) as gpus:
        described = [gpu.describe(reasons, "") for gpu in gpus]
    return described[0]["uuid"] if len(described) == 1 and not described[0]["mig"] else None


@functools.cache
def facts(device: Accelerator) -> dict[str, Any]:
    """Return `Accelerator.facts` from a process that initialises the device and ends; nothing where that fails."""
    command = [sys.executable, "-P", "-c", _ASK, str(Path(__file__).parents[2]), device.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
        reported: dict[str, Any] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):  # measuring will report why it cannot be initialised
        return {}
    return reported
