"""Writes to a local disk that a power cut cannot undo, and the lock of a folder that dies with its process.

A file comes whole or not at all: it is written beside its place, forced to the disk, and put in place; then its folder
is forced too, or the name could still be lost. Files of interrupted writes end with `PART`.
"""

import contextlib
import errno
import fcntl
import os
import secrets
from pathlib import Path
from weakref import WeakValueDictionary

PART = ".part"


def write(path: str, content: bytes, *, new: bool = False) -> None:
    """Write a file; it is on the disk when this returns.

    Raises `FileExistsError` where ``new`` is asked and there is one, even if another process makes it at this moment;
    `OSError` for what the disk refuses, and nothing half-written is left then.
    """
    part = f"{path}.{secrets.token_hex(4)}{PART}"
    try:
        with Path(part).open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _link(part, path)
        else:
            Path(part).replace(path)
    finally:
        with contextlib.suppress(OSError):
            Path(part).unlink()
    sync(Path(path).parent)


def _link(part: str, path: str) -> None:
    """Give a file the name ``path``, unless that is taken: renaming would replace what is there."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if Path(path).exists():  # a file system without hard links: as good as it gets
            raise FileExistsError(errno.EEXIST, "there is one already", path) from error
        Path(part).replace(path)


def make_folder(path: str) -> None:
    """Create a folder and those above it; their names are on the disk when this returns."""
    missing = [Path(path)]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    Path(path).mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Force the names in a folder to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network disks have no such thing
            raise
    finally:
        os.close(descriptor)


class FolderLock:
    """The right to write to a folder, of this process alone; given back when released, or by any kind of death."""

    def __init__(self, folder: str) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise
        except OSError:  # a file system without locks: exclusive names are what is left
            pass

    def release(self) -> None:
        """Give it back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = release


_locks: "WeakValueDictionary[str, FolderLock]" = WeakValueDictionary()


def lock_folder(folder: str) -> FolderLock:
    """Lock a folder; twice is the same lock. Raises `BlockingIOError` if another process has it."""
    folder = os.path.realpath(folder)
    lock = _locks.get(folder)
    if lock is None:
        lock = _locks[folder] = FolderLock(folder)
    return lock
