"""The files of a store, on a local disk or behind any other fsspec URL: whole reads, whole writes, one listing.

Object stores have no rename, no locks and no folders. They must offer two things: a written object appears as a whole,
and an object that must be new is refused where one exists (S3's ``If-None-Match``).
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from gapbench.errors import GapbenchError
from gapbench.store import durable_io

_AT_ONCE = 16  # concurrent requests: an object store answers each in 10 to 100 ms, however many there are

_FOLDERLESS = frozenset(["s3", "gs", "gcs", "az", "abfs", "oss"])
"""Protocols without folders: making one there would create a bucket by mistake."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Files:
    """The files at a URL. Raises `GapbenchError`, with the reason, for what cannot be read or written."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.fs, root = fsspec.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise GapbenchError(f"cannot open the store {url!r}: {error}") from error
        self.root = str(root).rstrip("/")
        self.local = isinstance(self.fs, LocalFileSystem)

    def path(self, *parts: str) -> str:
        """Return the path of a file or folder of the store."""
        return "/".join([self.root, *parts])

    def require(self) -> None:
        """Raise `GapbenchError` where nothing exists at the URL."""
        if not self.exists(self.root):
            raise GapbenchError(f"there is no store {self.url!r}; name another with --store URL")

    def read(self, *parts: str) -> bytes | None:
        """Return a file's content, None if there is no such file."""
        with self._explained("read from"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            # without a start, s3fs requests the size before it requests the file
            return bytes(self.fs.cat_file(self.path(*parts), start=0))
        return None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``function`` of each item, in order, computed in a thread per core, or in more over a network."""
        with ThreadPoolExecutor(os.cpu_count() if self.local else _AT_ONCE) as pool:
            yield from pool.map(function, items)

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file, atomically: a reader sees the old content or the new one."""
        with self._explained("write to"):
            if self.local:
                durable_io.write(path, content)
            else:
                self.fs.pipe_file(path, content)

    def create_file(self, path: str, content: bytes) -> None:
        """Write a whole file that must be new. Raises `FileExistsError` where it exists."""
        with self._explained("write to"):
            if self.local:
                durable_io.write(path, content, new=True)
                return
            if self.exists(path):  # some object stores ignore mode="create"
                raise FileExistsError(path)
            self.fs.pipe_file(path, content, mode="create")

    def make_folder(self, path: str) -> None:
        """Create a folder, where the store has folders."""
        with self._explained("write to"):
            if self.local:
                durable_io.make_folder(path)
            elif _FOLDERLESS.isdisjoint([self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol):
                self.fs.makedirs(path, exist_ok=True)

    def exists(self, path: str) -> bool:
        """Tell whether a file exists, or a folder with files in it."""
        with self._explained("read from"):
            self.fs.invalidate_cache()
            return bool(self.fs.exists(path))

    def folders(self) -> list[str]:
        """Return the names of the folders of the store, sorted."""
        return sorted(name for name, kind in self._list(self.root) if kind != "file")

    def files(self, name: str) -> list[str]:
        """Return all files below a folder of the store, relative to it, sorted."""
        folder = self.path(name)
        with self._explained("read from"):
            self.fs.invalidate_cache()
            return sorted(str(path).removeprefix(folder).lstrip("/") for path in self.fs.find(folder))

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted."""
        return sorted(name for name, kind in self._list(folder) if kind == "file")

    def _list(self, folder: str) -> list[tuple[str, str]]:
        with self._explained("read from"):
            self.fs.invalidate_cache()  # others write here too
            try:
                entries = self.fs.ls(folder, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = ((str(entry["name"]).rstrip("/"), str(entry["type"])) for entry in entries)
        return [(name.rsplit("/", 1)[-1], kind) for name, kind in names if name != folder.rstrip("/")]

    def is_link(self, path: str) -> bool:
        """Tell whether a folder is a symbolic link."""
        with self._explained("read from"):
            return bool(self.local and self.fs.info(path).get("islink"))

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with its content; neither need exist, as object stores have no empty folders."""
        with self._explained("remove from"), contextlib.suppress(FileNotFoundError):
            self.fs.rm(path, recursive=True)

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (GapbenchError, FileExistsError):
            raise
        except Exception as error:
            # clients of object stores raise their own errors: no credentials, no such host, ...
            if self.local and not isinstance(error, OSError):
                raise
            raise GapbenchError(f"cannot {what} the store {self.url}: {error}") from error
