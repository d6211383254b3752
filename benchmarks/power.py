"""A disk that loses power: what has not been forced to it is lost, in whatever part and order is worst.

Files that were not synced are cut at a random length, and names that were given in folders that were not synced are
taken back, each with even odds. Files that were removed stay removed.
"""

import os
import random
import stat
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from gapbench.store import durable_io


class PowerCut(BaseException):
    """The machine is off."""


class Disk:
    """Counts the steps of `gapbench.store.durable_io`, and goes off before step ``off``."""

    def __init__(self, off: float, rng: random.Random) -> None:
        self.steps = 0
        self.is_off = False
        self._off, self._rng = off, rng
        self._synced: set[str] = set()
        self._names: list[tuple[Path, bytes | None]] = []  # given in folders that were not synced since
        self._unsynced: set[Path] = set()

    def _step(self) -> None:
        if self.steps == self._off:
            self.is_off = True
            raise PowerCut
        self.steps += 1

    def fsync(self, descriptor: int) -> None:
        """Force a file, or the names in a folder, to the disk."""
        self._step()
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            self._names = [one for one in self._names if one[0].parent != path]
        else:
            self._synced.add(str(path))

    def _name(self, part: str, path: Path, old: bytes | None) -> None:
        self._names.append((path.resolve(), old))
        (self._unsynced.discard if str(Path(part).resolve()) in self._synced else self._unsynced.add)(path.resolve())

    def link(self, part: str, path: str) -> None:
        """Give a file another name."""
        self._step()
        os.link(part, path)
        self._name(part, Path(path), None)

    def replace(self, part: Path, path: str) -> None:
        """Put a file in the place of another."""
        self._step()
        old = Path(path).read_bytes() if Path(path).exists() else None
        self._name(str(part), Path(path), old)
        os.rename(part, path)  # noqa: PTH104 - Path's own leads here

    def lose(self, root: Path) -> None:
        """Do to the files below ``root`` what the power cut does."""
        parts = {path for path in root.rglob(f"*{durable_io.PART}") if str(path.resolve()) not in self._synced}
        for path in sorted(parts | self._unsynced):
            if path.exists():
                os.truncate(path, self._rng.randrange(path.stat().st_size + 1))
        for path, old in reversed(self._names):
            if not path.exists() or self._rng.random() < 0.5:
                continue
            if old is None:
                path.unlink()
            else:
                path.write_bytes(old)

    @contextmanager
    def plugged_in(self):
        """Put this disk below the store."""
        with (
            mock.patch.object(durable_io.os, "fsync", self.fsync),
            mock.patch.object(durable_io, "_link", self.link),
            mock.patch.object(Path, "replace", lambda part, path: self.replace(part, path)),
            mock.patch.object(Path, "unlink", lambda path: self.is_off or os.remove(path)),  # noqa: PTH107
        ):
            yield self
