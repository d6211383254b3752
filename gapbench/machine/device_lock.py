"""One run a device: a lock for each physical device of a machine, held by who measures on it (docs/reliability.md).

The lock is an flock on a file in a folder that all users of the machine share. The kernel takes it back when its holder
ends, however that happens, so no lock is ever stale; what the file says of a holder is for messages only.
"""

import contextlib
import fcntl
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

from gapbench.errors import GapbenchError, RefusedError
from gapbench.machine.devices import Accelerator, Cpu, Device
from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.unreadable import Reasons

SHARED = (Path("/run/lock"), Path("/tmp"))  # noqa: S108 - what lies there is opened with care
"""Where locks lie unless another folder is named: the first that every user may write to."""

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a link would lead elsewhere, a pipe would block
_LONGEST = 200

_PATIENCE = 120.0
_ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from gapbench.machine.devices import device
print(device(sys.argv[2]).uuid or "")
"""


class Lock:
    """The right to measure on a device, of this process and not its children; given back on exit or when it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def take(
    device: Device, command: str, folder: Path | None = None, waiting: Callable[[str], None] | None = None
) -> Lock:
    """Take the lock of ``device`` that lies in ``folder``; ``command`` is what others are told of us.

    Where another process has it, ``waiting`` is told so in a sentence, and this waits for that one to end. Without
    ``waiting``, raises `RefusedError`. Raises `GapbenchError` if there can be no lock in ``folder``.
    """
    path = (folder or _shared()) / f"gapbench-{re.sub('[^A-Za-z0-9.-]', '_', identity(device))}.lock"
    try:
        descriptor = _opened(path)
    except OSError as error:
        raise GapbenchError(
            f"cannot lock {device.name} by {path}: {error.strerror}; fix that, or set GAPBENCH_LOCKS to a folder that "
            "all who measure on this machine can write to"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy = f"{device.name} is being measured on by {_holder(descriptor)}"
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
    with contextlib.suppress(OSError):  # who may only read the file holds the lock all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, written.encode(), 0)
    return Lock(descriptor)


def _shared() -> Path:
    usable = (folder for folder in SHARED if folder.is_dir() and folder.stat().st_mode & stat.S_IWOTH)
    return next(usable, None) or Path(tempfile.gettempdir())


def _opened(path: Path) -> int:
    """Open a plain file that all users may lock, making it where there is none. Raises `OSError`."""
    try:  # without O_CREAT, which the kernel refuses for another user's file in a sticky folder
        descriptor = _existing(path)
    except FileNotFoundError:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN, 0o666)
            os.fchmod(descriptor, 0o666)  # whatever the umask
        except FileExistsError:  # somebody else was faster
            descriptor = _existing(path)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise OSError(0, "it is not a file of its own")
    return descriptor


def _existing(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | _OPEN)
    except PermissionError:
        return os.open(path, os.O_RDONLY | _OPEN)


def _holder(descriptor: int) -> str:
    """Return who has the lock, in words; what a process left that is dead does not count."""
    for _ in range(10):  # a holder says who it is just after it has the lock
        try:
            holder = json.loads(os.pread(descriptor, 4096, 0))
            with contextlib.suppress(PermissionError):  # it is another user's, and lives
                os.kill(int(holder["pid"]), 0)
            words = f"process {int(holder['pid'])} ({holder['command']}) since {holder['since']}"
            return "".join(letter if letter.isprintable() else "?" for letter in words[: 2 * _LONGEST])
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError, ProcessLookupError):
            time.sleep(0.05)
    return "another process, which does not say who it is"


def identity(device: Device) -> str:
    """Return what is the same for this physical device in every process: its UUID, without the driver's prefix.

    ``cuda:0`` is another GPU in a process with another CUDA_VISIBLE_DEVICES, or under another driver's order. The
    processors of a machine are one device, ``cpu``. An accelerator whose backend has no UUIDs is known by its name.
    """
    if isinstance(device, Cpu):
        return device.name
    uuid = _of_the_only_gpu() if device.family == "cuda" else None
    return (uuid or _asked(device) or device.name).removeprefix("GPU-").removeprefix("MIG-")


def _of_the_only_gpu() -> str | None:
    """Return the UUID of the machine's GPU, as NVML knows it; None where there are several, or slices."""
    reasons = Reasons()
    with nvml.every_gpu(reasons) as gpus:
        described = [gpu.describe(reasons, "") for gpu in gpus]
    return described[0]["uuid"] if len(described) == 1 and not described[0]["mig"] else None


def _asked(device: Accelerator) -> str | None:
    """Ask a process of its own, which initialises the device and ends."""
    command = [sys.executable, "-P", "-c", _ASK, str(Path(__file__).parents[2]), device.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):  # it cannot be initialised now: measuring will say why
        return None
    return done.stdout.strip() or None
