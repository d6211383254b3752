"""Are the ceilings the machine's? Each read ceiling of the CPU beside an independent loop, compiled by numba.

    python benchmarks/ceilings.py [THREADS…]

Prints, for each level and number of threads (1 by default), what gapbench measures, what the loop reaches, and the
ratio; they should agree within 5 % where a level's ceiling is reached by a plain loop. The loop is STREAM-like: a
float32 sum that a compiler vectorises by itself, over data of several sizes that the level holds. Both take turns,
and the best of all turns counts; a machine without other work gives the truest numbers.
"""

import sys
import time
from collections import defaultdict

import numba
import numpy as np

from gapbench.machine.telemetry import host
from gapbench.measuring.ceilings import cpu

TURNS = 4
SECONDS = 0.1
SHARES = (0.25, 0.4, 0.5, 0.6, 0.75, 0.9)


@numba.njit(fastmath=True, parallel=False, nogil=True)
def read(x, repeats):
    total = np.float32(0)
    for repeat in range(repeats):
        part = np.float32(0)
        for i in range(x.size):
            part += x[i]
        total += part * np.float32(repeat)  # no repeat may be left out
    return total


@numba.njit(fastmath=True, parallel=True)
def read_together(parts, repeats):
    totals = np.zeros(len(parts), np.float32)
    for thread in numba.prange(len(parts)):
        totals[thread] = read(parts[thread], repeats)
    return totals


def aligned(threads, elements):
    """Return ones, each row at the beginning of a cache line: wide loads that cross two are half as fast."""
    room = np.ones(threads * elements + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + threads * elements].reshape(threads, elements)


def best(nbytes, threads):
    """Return the GB/s of the loop on data of ``nbytes``, which as many threads share."""
    elements = nbytes // threads // 1024 * 256
    parts = aligned(threads, elements)
    together = read_together if threads > 1 else lambda parts, repeats: read(parts[0], repeats)
    repeats = max(1, 16 * 2**20 // (4 * elements))
    together(parts, 1)
    fastest, deadline = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        together(parts, repeats)
        fastest = min(fastest, time.perf_counter() - start)
    return parts.nbytes * repeats / fastest / 1e9


def main():
    caches, usable = host.data_caches(), len(host.usable_cpus())
    print("level   threads  gapbench GB/s  numba GB/s  ratio")
    for threads in map(int, sys.argv[1:] or ["1"]):
        numba.set_num_threads(threads)
        ours, theirs = defaultdict(float), defaultdict(float)
        levels = cpu.levels(caches, threads, usable)
        for _ in range(TURNS):
            for one in cpu.measure([threads]):
                if one.kind == "read" and one.gbps:
                    ours[one.level] = max(ours[one.level], one.gbps)
            for level in levels:
                sizes = [int(share * level.nbytes) for share in SHARES] if level.nbytes else level.shares["read"]
                nearer = max((one.nbytes for one in levels[: levels.index(level)]), default=0)
                for nbytes in sizes:
                    if nbytes >= 4 * nearer:  # of less, the level before could hold a good part
                        theirs[level.name] = max(theirs[level.name], best(nbytes, threads))
        for level in levels:
            mine, other = ours[level.name], theirs[level.name]
            said = f"{mine / other:.3f}" if mine and other else "not measured"
            print(f"{level.name:<7} {threads:>7}  {mine:>13.1f}  {other:>10.1f}  {said}")


if __name__ == "__main__":
    main()
