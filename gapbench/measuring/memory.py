"""The host's memory as a condition of what is measured: what the allocator is told, and what page faults a call takes.

Whether a temporary of some megabytes meets mapped memory or page faults is otherwise drawn anew by every process: it
made times scatter by 30 %, and half of a bfloat16 mean of 1.6 MB is page faults. So the condition has a name
(`records.MEMORY`) and is stored with every row.

Workers are forked from few processes, so each would begin with the same heap, and where temporaries lie changed a mean
in bfloat16 by 20 %, the same way in every round, between two commits that differed in the length of a table: every
worker shuffles its heap.
"""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage

from gapbench.store.records import KEPT_TUNABLES

_TUNABLES: Mapping[str, str] = {"kept": KEPT_TUNABLES, "fresh": "glibc.malloc.mmap_threshold=131072"}
"""glibc's settings (its manual, Memory Allocation Tunables): keep what is freed and ask for huge pages; or map every
block of 128 KiB or more anew, which is where glibc itself begins before it adapts."""

_OTHER_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")
_BLOCKS = 64
_SMALLEST, _LARGEST = 1 << 8, 1 << 20


def setting(memory: str) -> str:
    """Return the value of ``GLIBC_TUNABLES`` that makes the condition called ``memory``."""
    return _TUNABLES[memory]


def variables(memory: str, inherited: str | None = None) -> dict[str, str]:
    """Return the environment variables of workers for the condition ``memory``.

    ``inherited`` is the caller's own ``GLIBC_TUNABLES``, whose other settings stay.
    """
    ours = {one.partition("=")[0] for one in KEPT_TUNABLES.split(":")}
    own = [one for one in (inherited or "").split(":") if one.partition("=")[0] not in ours]
    return {"GLIBC_TUNABLES": ":".join([*filter(None, own), setting(memory)])}


def other_allocator(preloaded: str, maps: Path = Path("/proc/self/maps")) -> str | None:
    """Return which allocator workers have instead of glibc's, whose settings then do nothing; None for glibc.

    ``preloaded`` is the value of ``LD_PRELOAD`` that workers inherit.
    """
    named = next((name for name in _OTHER_ALLOCATORS if name in preloaded), None)
    if named is None and maps.is_file():
        loaded = maps.read_text(errors="replace")
        named = next((name for name in _OTHER_ALLOCATORS if f"lib{name}" in loaded), None)
    if named is None and platform.libc_ver()[0] != "glibc":
        named = "musl or another C library"
    return named


def page_faults() -> int:
    """Return the minor page faults of this process so far."""
    return getrusage(RUSAGE_SELF).ru_minflt


def shuffle_heap(rng: Random) -> Sequence[bytearray]:
    """Allocate blocks of 256 B to 1 MB, evenly over orders of magnitude; free half, return the rest (about 4 MB)."""
    sizes = [int(_SMALLEST * (_LARGEST / _SMALLEST) ** rng.random()) for _ in range(_BLOCKS)]
    blocks = [bytearray(size) for size in sizes]
    return rng.sample(blocks, _BLOCKS // 2)
