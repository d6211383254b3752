"""Ceilings of the CPU, by loops that are compiled for it: no operation of torch's reads a nearer cache as fast.

Summing rows that lie in the L1 cache, torch reached 240 GB/s where a loop of wide loads reaches 510 (a Zen 5 core);
from the L2 cache on it is 5 to 12 % short. Each level is measured with data that fills a part of it and is much more
than the level before holds; memory with six times the last level: of less, a part may stay in it.

The best of many tries is the only estimate of a ceiling. Whatever else a machine does only slows a try down, so the
fastest is nearest to the truth. But one that was never seen again may be a fluke, and where none was quiet the best is
no ceiling: only a best that recurs counts.
"""

import contextlib
import ctypes
import itertools
import mmap
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gapbench.machine.telemetry import host
from gapbench.measuring.clocks import base
from gapbench.store.ceilings import MEMORY, Ceiling

KINDS = {"read": (0,), "copy": (1, 2), "write": (3, 4)}
"""The loops of `loops.c` by what they do: our own, and the C library's, which may write past the caches."""

_SOURCE = Path(__file__).with_name("loops.c")
_COMPILERS = ("gcc", "cc", "clang")
_STEP = 512
_SHARES = {"read": (0.25, 0.5), "copy": (0.5,), "write": (0.5,)}
_BEYOND = 6
_MOST_MEMORY = 2**30
_LEAST = 0.95
"""Of what one thread reaches: several that are slower were waiting for a core."""

_VISITS = 3
_MOST_SECONDS = 0.9
_DISPATCHES, _DISPATCH_TRIES = 200, 20


SHORTEST_TRY = 0.3e-3
"""Seconds of one try: what starting and ending it costs is below 1 % of that."""

_AGREEING = 3
_AGREEMENT = 0.04
_FEWEST = 2
"""Tries a visit, however long each takes: of memory, one takes some milliseconds."""

_VISIT_SECONDS = 4e-3

Loops = Callable[[int, int, int, int], object]
"""The compiled loops: the one with this ``number`` over ``nbytes`` of each thread's own part of a buffer, ``repeats``
times, by so many ``threads``; it returns when all are done."""


class UnmeasurableError(Exception):
    """A ceiling cannot be measured here; the message is the reason, with the remedy."""


@dataclass(slots=True)
class RepeatedMeasurement:
    """Work, done so many times, that moves ``nbytes`` each time, and what its tries have taken so far.

    A best below ``least`` (bytes per second) cannot be the truth, as where threads together are slower than one alone.
    """

    nbytes: int
    work: Callable[[int], object]
    repeats: int = 1
    least: float = 0.0
    rates: list[float] = field(default_factory=list)

    def go_on(self, seconds: float = _VISIT_SECONDS) -> None:
        """Try for so long, some times at least; tries that were too short to be told are made longer, and forgotten."""
        self.work(1)  # wakes threads that sleep
        began, tried = base.now(), 0
        while True:
            start = base.now()
            self.work(self.repeats)
            taken = base.now() - start
            if taken < SHORTEST_TRY:
                self.repeats = max(2 * self.repeats, int(self.repeats * 1.2 * SHORTEST_TRY / max(taken, 1e-9)))
                self.rates.clear()
                continue
            self.rates.append(self.repeats * self.nbytes / taken)
            tried += 1
            if tried >= _FEWEST and base.now() - began >= seconds:
                return

    @property
    def is_reproducible(self) -> bool:
        """Whether the best was nearly reached again, and again, and may be the truth."""
        best = sorted(self.rates)[-_AGREEING:]
        return len(best) == _AGREEING and best[0] >= max(self.least, best[-1] * (1 - _AGREEMENT))

    @property
    def gbps(self) -> float:
        """The best so far, in 10^9 bytes a second."""
        return max(self.rates, default=0.0) / 1e9


def best_of(all_tries: Iterable[RepeatedMeasurement], visits: int, most_seconds: float) -> None:
    """Try all in turns, so that a spell of noise meets no one alone.

    Those whose best does not recur after so many ``visits`` get more, until ``most_seconds`` have passed.
    """
    open_ = list(all_tries)
    deadline = base.now() + most_seconds
    for visit in itertools.count(1):
        for one in open_:
            one.go_on()
        if visit >= visits:
            open_ = [one for one in open_ if not one.is_reproducible]
        if not open_ or base.now() >= deadline:
            return


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the memory: what so many threads of their own cores have of it together, and data to measure it by."""

    name: str
    nbytes: int | None
    shares: dict[str, tuple[int, ...]]


def measure(threads: Sequence[int]) -> list[Ceiling]:
    """Return the ceilings for each number of threads. Raises `UnmeasurableError` where there is none to be had."""
    caches = host.data_caches()
    usable = len(host.usable_cpus())
    if not caches:
        raise UnmeasurableError("the sizes of the CPU's caches cannot be read")
    by_threads = {count: levels(caches, count, usable) for count in threads if count <= usable}
    needed = max((max(one.shares["read"]) for some in by_threads.values() for one in some), default=0)
    with tempfile.TemporaryDirectory() as folder:
        loops = load(Path(folder), needed)
    found: list[Ceiling] = []
    for count in threads:
        if count in by_threads:
            found += measured(by_threads[count], count, loops)
        else:
            reason = f"{count} threads on {usable} CPUs take turns; ceilings need a CPU for each"
            found.append(Ceiling(None, "read", "cpu", count, reason=reason))
    found.append(Ceiling(MEMORY, "datasheet", "cpu", reason="an operating system tells neither channels nor speed"))
    one = torch.zeros(1)
    dispatch = min(base.timed(itertools.repeat(one.zero_, _DISPATCHES))[0] for _ in range(_DISPATCH_TRIES))
    return [*found, Ceiling(None, "dispatch", "cpu", seconds=dispatch / _DISPATCHES)]


def levels(caches: Sequence[host.DataCache], threads: int, usable: int) -> list[Level]:
    """Return the levels that ``threads`` see which run on cores of their own, nearest first."""
    found = []
    for cache in caches:
        nbytes = cache.nbytes * min(threads, -(-usable // cache.sharers))
        sizes = {kind: tuple(int(share * nbytes) for share in shares) for kind, shares in _SHARES.items()}
        found.append(Level(f"L{cache.level}", nbytes, sizes))
    beyond = min(_BEYOND * max(nbytes, 16 * 2**20), max(_MOST_MEMORY, 2 * nbytes))
    return [*found, Level(MEMORY, None, dict.fromkeys(_SHARES, (beyond,)))]


def measured(some: Sequence[Level], threads: int, loops: Loops) -> Iterator[Ceiling]:
    """Yield what each level gives to ``threads``, by kind."""
    # Memory that was never written is one page of zeros; whoever writes it first decides where it lies.
    loops(KINDS["write"][0], some[-1].shares["write"][0] // threads // _STEP * _STEP, 1, threads)
    tries = {
        (level.name, kind): [
            _tries(loops, number, level, size, threads) for number in numbers for size in level.shares[kind]
        ]
        for level in some
        for kind, numbers in KINDS.items()
    }
    reading = [one for (_, kind), alike in tries.items() for one in alike if kind == "read"]
    # Most times are held against reading, so it is tried twice as often.
    best_of([*reading, *(one for alike in tries.values() for one in alike)], _VISITS, _MOST_SECONDS)
    for level in some:
        for kind in KINDS:
            best = max(tries[level.name, kind], key=lambda one: one.gbps)
            if best.is_reproducible:
                yield Ceiling(level.name, kind, "cpu", threads, level.nbytes, best.gbps)
            else:
                reason = "the best of many tries did not recur: other work was on the machine; run again when it rests"
                yield Ceiling(level.name, kind, "cpu", threads, level.nbytes, reason=reason)


def _tries(loops: Loops, number: int, level: Level, nbytes: int, threads: int) -> RepeatedMeasurement:
    part = nbytes // threads // (2 * _STEP) * 2 * _STEP  # halves of it are whole steps
    # Threads that wait for a core would make any try seem long enough, so one alone says how many repeats are.
    alone = RepeatedMeasurement(part, lambda repeats: loops(number, part, repeats, 1))
    alone.go_on(0.0)
    shares_all = threads == 1 or level.nbytes is None  # a part of what fills memory may fit a cache
    least = 0.0 if shares_all else _LEAST * max(alone.rates)
    return RepeatedMeasurement(
        part * threads, lambda repeats: loops(number, part, repeats, threads), alone.repeats, least
    )


def load(folder: Path, nbytes: int) -> Loops:
    """Compile the loops into ``folder``, which may then be removed, and bind them to a buffer of ``nbytes``."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise UnmeasurableError("ceilings of the CPU need a C compiler; install gcc")
    library = folder / "loops.so"
    command = [compiler, "-O2", "-march=native", "-fopenmp", "-shared", "-fPIC", str(_SOURCE), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise UnmeasurableError(f"{Path(compiler).name} could not compile the loops that measure ceilings: {said}")
    run = ctypes.CDLL(str(library)).run
    run.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    run.restype = ctypes.c_uint64
    # Not touched before its threads do; in huge pages where there are such, whose addresses are found faster.
    buffer = mmap.mmap(-1, nbytes + mmap.PAGESIZE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            buffer.madvise(mmap.MADV_HUGEPAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))

    def loops(number: int, nbytes: int, repeats: int, threads: int) -> object:
        assert threads * nbytes <= len(buffer)
        return run(number, start, nbytes, repeats, threads)

    return loops
