"""What clocks need to know and to do about a device's caches, through torch alone: sizes, flushing, a canary."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

UNKNOWN_CACHE = 256 * 2**20
"""Bytes assumed of a last-level cache whose size cannot be read: larger than nearly all there are. Whether it was
large enough, the canary tells."""

UNKNOWN_CANARY = 4 * 2**20
"""Bytes of a canary for such a cache: few enough for nearly all there are."""

_LINE = 128
"""Bytes; GPUs have lines of 128, most CPUs of 64."""


class Sweep:
    """A buffer that, swept over, leaves nothing else in a cache half its size."""

    def __init__(self, runtime: Any, device: str, nbytes: int) -> None:
        self._buffer = runtime.zeros(nbytes // 4, device=device)

    def __call__(self) -> None:
        """Write all, then read all: what was dirty is written back, so whoever comes next does not pay for it."""
        self._buffer.zero_()
        self._buffer.sum()

    def fill(self, nbytes: float) -> None:
        """Write about ``nbytes``: work of known length, to keep a device busy. 0 bytes are no work at all."""
        while (elements := min(int(nbytes) // 4, self._buffer.numel())) > 0:
            self._buffer[:elements].zero_()
            nbytes -= 4 * elements


def reader(runtime: Any, device: str, nbytes: int) -> Callable[[], object]:
    """Return a call that touches every cache line of ``nbytes``, in random order.

    A sweep in order is prefetched, and then takes hardly longer from memory than from a cache; in random order it took
    8 times as long (4 MiB in an L3 of 32 MiB, one CPU).
    """
    lines = nbytes // _LINE
    column = runtime.zeros((lines, _LINE // 4), device=device)[:, 0]
    order = runtime.randperm(lines, generator=runtime.Generator().manual_seed(0)).to(device)
    return lambda: column.index_select(0, order)


class Cached(ABC):
    """What devices do about their caches, through torch or, in tests, through the ``runtime`` that stands in for it."""

    name: str
    runtime: Any
    _canary_share: ClassVar[int]
    """Into so many parts the last-level cache is divided, of which a canary is one."""

    @property
    @abstractmethod
    def cache_bytes(self) -> int | None:
        """Size of the last-level cache, None where it cannot be read or the backend does not tell."""

    @property
    def torch(self) -> Any:
        """The library that drives the device."""
        if self.runtime is not None:
            return self.runtime
        import torch

        return torch

    @cached_property
    def _sweep(self) -> Sweep:
        return Sweep(self.torch, self.name, 2 * (self.cache_bytes or UNKNOWN_CACHE))

    def flush(self) -> None:
        """Do, or queue, what leaves nothing that was in the caches there, and no dirty lines either."""
        self._sweep()

    def canary(self) -> Callable[[], object]:
        """Return a call that reads a part of the last-level cache's size, fast only if the cache still holds it."""
        nbytes = self.cache_bytes // self._canary_share if self.cache_bytes else UNKNOWN_CANARY
        return reader(self.torch, self.name, nbytes)
