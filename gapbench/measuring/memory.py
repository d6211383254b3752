"""Control the host's memory as a condition of measurements: allocator settings, page faults, and heap placement.

Temporaries in mapped memory made times scatter by 30 %, so the condition has a name (`records.MEMORY`). The layout of a
heap changed a mean by 20 %, so each worker shuffles its own.
"""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from resource import RUSAGE_SELF, getrusage

from gapbench.store.records import KEPT_TUNABLES

_TUNABLES: Mapping[str, str] = {"kept": KEPT_TUNABLES, "fresh": "glibc.malloc.mmap_threshold=131072"}
"""glibc's settings (its manual, Memory Allocation Tunables): keep freed memory and request huge pages; or map every
block of 128 KiB or more anew, glibc's initial threshold before it adapts."""

_OTHER_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")
_BLOCKS = 64
_SMALLEST, _LARGEST = 1 << 8, 1 << 20


def variables(memory: str, inherited: str | None = None) -> dict[str, str]:
    """Return workers' variables for the condition ``memory``; other tunables in ``inherited`` GLIBC_TUNABLES stay."""
    ours = {tunable.partition("=")[0] for tunable in KEPT_TUNABLES.split(":")}
    others = [tunable for tunable in (inherited or "").split(":") if tunable.partition("=")[0] not in ours]
    return {"GLIBC_TUNABLES": ":".join([*filter(None, others), _TUNABLES[memory]])}


def other_allocator(preloaded: str, maps: Path = Path("/proc/self/maps")) -> str | None:
    """Return the allocator of workers, None if it is glibc's; ``preloaded`` is the LD_PRELOAD that they inherit."""
    named = next((name for name in _OTHER_ALLOCATORS if name in preloaded), None)
    if named is None and maps.is_file():
        loaded = maps.read_text(errors="replace")
        named = next((name for name in _OTHER_ALLOCATORS if f"lib{name}" in loaded), None)
    if named is None and platform.libc_ver()[0] != "glibc":
        named = "musl or another C library"
    return named


def page_faults() -> int:
    """Return the number of minor page faults of this process so far."""
    return getrusage(RUSAGE_SELF).ru_minflt


def shuffle_heap(rng: Random) -> Sequence[bytearray]:
    """Allocate blocks of 256 B to 1 MB, log-uniformly; free half of them, return the rest (about 4 MB)."""
    sizes = [int(_SMALLEST * (_LARGEST / _SMALLEST) ** rng.random()) for _ in range(_BLOCKS)]
    blocks = [bytearray(size) for size in sizes]
    return rng.sample(blocks, _BLOCKS // 2)
