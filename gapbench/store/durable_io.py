"""Writes to a local disk that survive a power cut, and a folder's lock that ends with its process.

A file is written under another name, flushed to the disk and renamed; then its folder is flushed too, or the name could
still be lost. Files of interrupted writes end with `PART`.
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
    """Write a file atomically; it is on the disk when this returns, or an `OSError` leaves nothing of it.

    Raises `FileExistsError` where it must be ``new`` and exists, even if another process is creating it.
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
    """Rename a file to ``path``. Raises `FileExistsError` where that exists, which a plain rename would replace."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if Path(path).exists():  # the best check where a file system has no hard links
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
        Path(part).replace(path)


def make_folder(path: str) -> None:
    """Create a folder and its parents; their names are on the disk when this returns."""
    missing = [Path(path)]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    Path(path).mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the file system supports it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # as some network disks answer
            raise
    finally:
        os.close(descriptor)


class FolderLock:
    """An exclusive lock of a folder, held until released or until the process ends in any way."""

    def __init__(self, folder: str) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise
        except OSError:  # a file system without locks: only the exclusive names of rounds protect
            pass

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = release


_locks: "WeakValueDictionary[str, FolderLock]" = WeakValueDictionary()


def lock_folder(folder: str) -> FolderLock:
    """Lock a folder; a second call returns the same lock. Raises `BlockingIOError` if another process holds it."""
    folder = os.path.realpath(folder)
    lock = _locks.get(folder)
    if lock is None:
        lock = _locks[folder] = FolderLock(folder)
    return lock
