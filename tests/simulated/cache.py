"""A cache of whole buffers: the least recently used goes first, and what was written costs its way back."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(eq=False)
class Buffer:
    """A piece of the device's memory."""

    nbytes: int


class Cache:
    """Says how much of each access the cache serves.

    Where it is in two ``partitions``, as an H100's, every line is kept in both: it holds half of what it says. One that
    is ``scan_resistant`` lets what does not fit pass by when it is read.
    """

    def __init__(self, nbytes: int, partitions: int = 1, scan_resistant: bool = False) -> None:
        self.nominal, self.nbytes, self._scan_resistant = nbytes, nbytes // partitions, scan_resistant
        self._resident: OrderedDict[Buffer, tuple[int, bool]] = OrderedDict()  # bytes, and whether they are dirty

    def access(self, buffer: Buffer, nbytes: int, write: bool) -> tuple[int, int, int]:
        """Go over the first ``nbytes`` in order; return bytes served, bytes from memory, and dirty bytes put out."""
        if self._scan_resistant and not write and nbytes > self.nbytes:
            return 0, nbytes, 0
        held, dirty = self._resident.pop(buffer, (0, False))
        # A buffer that does not fit pushes its own beginning out before its end is there.
        served = min(held, nbytes) if nbytes <= self.nbytes else 0
        written_back = held if dirty and not served else 0
        kept = min(max(held if served else 0, nbytes), self.nbytes)
        written_back += self._make_room(kept)
        self._resident[buffer] = (kept, write or (dirty and bool(served)))
        return served, nbytes - served, written_back

    def _make_room(self, nbytes: int) -> int:
        written_back = 0
        excess = sum(held for held, _ in self._resident.values()) + nbytes - self.nbytes
        while excess > 0:
            oldest, (held, dirty) = next(iter(self._resident.items()))
            gone = min(held, excess)
            excess -= gone
            written_back += gone if dirty else 0
            if gone == held:
                del self._resident[oldest]
            else:
                self._resident[oldest] = (held - gone, dirty)
        return written_back
