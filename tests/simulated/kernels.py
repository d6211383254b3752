"""Kernels, and what they take by nature."""

from dataclasses import dataclass

from simulated.cache import Buffer, Cache

CACHE_BANDWIDTH = 5e12
MEMORY_BANDWIDTH = 2e12
"""Bytes per second."""


@dataclass(frozen=True)
class Kernel:
    """One kernel: ``seconds`` at full speed beside its memory accesses, after the device was idle for ``gap``.

    ``nbytes`` limits each access to a buffer's beginning.
    """

    seconds: float = 0.0
    reads: tuple[Buffer, ...] = ()
    writes: tuple[Buffer, ...] = ()
    gap: float = 0.0
    nbytes: int | None = None

    def duration(self, cache: Cache) -> float:
        """Return its seconds at full speed, and leave in the cache what it leaves there."""
        seconds = self.seconds
        for buffers, write in ((self.reads, False), (self.writes, True)):
            for buffer in buffers:
                nbytes = buffer.nbytes if self.nbytes is None else self.nbytes
                served, missed, written_back = cache.access(buffer, nbytes, write)
                seconds += served / CACHE_BANDWIDTH + (missed + written_back) / MEMORY_BANDWIDTH
        return seconds

    def truth(self, cold: bool) -> float:
        """Return its seconds, gap included, if nothing or everything that it reads is in the cache."""
        bandwidth = MEMORY_BANDWIDTH if cold else CACHE_BANDWIDTH
        return self.gap + self.seconds + sum(buffer.nbytes for buffer in self.reads) / bandwidth
