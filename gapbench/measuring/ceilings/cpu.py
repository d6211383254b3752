"""Measure the ceilings of the CPU by loops that are compiled for it; docs/measuring.md compares them with torch's.

Each level is measured with data that fills a part of it and exceeds the previous level by far. Other work only slows a
try down, so the best of many counts, where others come near it.
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
"""The numbers of the loops in `loops.c` by kind: gapbench's own, and the C library's, which may bypass the caches."""

_SOURCE = Path(__file__).with_name("loops.c")
_COMPILERS = ("gcc", "cc", "clang")
_STEP = 512
_SHARES = {"read": (0.25, 0.5), "copy": (0.5,), "write": (0.5,)}
_BEYOND = 6
_MOST_MEMORY = 2**30
_LEAST = 0.95  # least rate of several threads, as a share of one thread's: slower threads were waiting for a core
_VISITS = 3
_MOST_SECONDS = 0.9
_DISPATCHES, _DISPATCH_TRIES = 200, 20

SHORTEST_TRY = 0.3e-3  # least seconds of a try: starting and ending it takes below 1 % of that
_AGREEING = 3
_AGREEMENT = 0.04
_FEWEST = 2  # least tries a visit; a try of memory takes some milliseconds
_VISIT_SECONDS = 4e-3

Loops = Callable[[int, int, int, int], object]
"""Called as ``loops(number, nbytes, repeats, threads)``: runs a compiled loop ``repeats`` times over ``nbytes`` of each
thread's own part of a buffer, and returns when all threads are done."""


class UnmeasurableError(Exception):
    """A ceiling cannot be measured here; the message is the reason, with the remedy."""


@dataclass(slots=True)
class RepeatedMeasurement:
    """Tries of ``work(repeats)``, of ``nbytes`` each, and their ``rates`` (bytes/s), invalid below ``least``."""

    nbytes: int
    work: Callable[[int], object]
    repeats: int = 1
    least: float = 0.0
    rates: list[float] = field(default_factory=list)

    def visit(self, seconds: float = _VISIT_SECONDS) -> None:
        """Try for ``seconds``, at least `_FEWEST` times; tries that are too short are discarded, and made longer."""
        self.work(1)  # wakes threads that sleep
        began, tried = base.now(), 0
        while tried < _FEWEST or base.now() - began < seconds:
            start = base.now()
            self.work(self.repeats)
            elapsed = base.now() - start
            if elapsed < SHORTEST_TRY:
                self.repeats = max(2 * self.repeats, int(self.repeats * 1.2 * SHORTEST_TRY / max(elapsed, 1e-9)))
                self.rates.clear()
                tried = 0
            else:
                self.rates.append(self.repeats * self.nbytes / elapsed)
                tried += 1

    @property
    def is_reproducible(self) -> bool:
        """Whether the best three tries agree within `_AGREEMENT`, and are valid."""
        best = sorted(self.rates)[-_AGREEING:]
        return len(best) == _AGREEING and best[0] >= max(self.least, best[-1] * (1 - _AGREEMENT))

    @property
    def gbps(self) -> float:
        """The best rate so far, in 10^9 bytes per second."""
        return max(self.rates, default=0.0) / 1e9


def best_of(measurements: Iterable[RepeatedMeasurement], visits: int, most_seconds: float) -> None:
    """Visit all in turn, which shares spells of noise, ``visits`` times; irreproducible ones until ``most_seconds``."""
    unfinished = list(measurements)
    deadline = base.now() + most_seconds
    for number in itertools.count(1):
        for measurement in unfinished:
            measurement.visit()
        if number >= visits:
            unfinished = [measurement for measurement in unfinished if not measurement.is_reproducible]
        if not unfinished or base.now() >= deadline:
            return


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the memory: its size for several threads on cores of their own, and sizes of data to measure it by."""

    name: str
    nbytes: int | None
    shares: dict[str, tuple[int, ...]]


def measure(threads: Sequence[int]) -> list[Ceiling]:
    """Return the ceilings for each number of threads. Raises `UnmeasurableError` where none can be measured."""
    caches = host.data_caches()
    usable = len(host.usable_cpus())
    if not caches:
        raise UnmeasurableError("the sizes of the CPU's caches cannot be read")
    by_threads = {count: levels(caches, count, usable) for count in threads if count <= usable}
    needed = max((max(level.shares["read"]) for group in by_threads.values() for level in group), default=0)
    with tempfile.TemporaryDirectory() as folder:
        loops = load(Path(folder), needed)
    ceilings: list[Ceiling] = []
    for count in threads:
        if count in by_threads:
            ceilings += measured(by_threads[count], count, loops)
        else:
            reason = f"{count} threads on {usable} CPUs take turns; ceilings need a CPU for each"
            ceilings.append(Ceiling(None, "read", "cpu", count, reason=reason))
    reason = "an operating system reports neither channels nor speed"
    ceilings.append(Ceiling(MEMORY, "datasheet", "cpu", reason=reason))
    element = torch.zeros(1)
    dispatch = min(base.timed(itertools.repeat(element.zero_, _DISPATCHES))[0] for _ in range(_DISPATCH_TRIES))
    return [*ceilings, Ceiling(None, "dispatch", "cpu", seconds=dispatch / _DISPATCHES)]


def levels(caches: Sequence[host.DataCache], threads: int, usable: int) -> list[Level]:
    """Return the levels for ``threads`` on cores of their own, nearest first."""
    result = []
    for cache in caches:
        nbytes = cache.nbytes * min(threads, -(-usable // cache.sharers))
        sizes = {kind: tuple(int(share * nbytes) for share in shares) for kind, shares in _SHARES.items()}
        result.append(Level(f"L{cache.level}", nbytes, sizes))
    beyond = min(_BEYOND * max(nbytes, 16 * 2**20), max(_MOST_MEMORY, 2 * nbytes))
    return [*result, Level(MEMORY, None, dict.fromkeys(_SHARES, (beyond,)))]


def measured(levels: Sequence[Level], threads: int, loops: Loops) -> Iterator[Ceiling]:
    """Yield the ceilings of each level for ``threads``, by kind."""
    # Memory that was never written is one page of zeros; the thread that writes it first determines its node.
    loops(KINDS["write"][0], levels[-1].shares["write"][0] // threads // _STEP * _STEP, 1, threads)
    groups: list[tuple[Level, str, list[RepeatedMeasurement]]] = []
    for level, (kind, numbers) in itertools.product(levels, KINDS.items()):
        tries = [_measurement(loops, number, level, size, threads) for number in numbers for size in level.shares[kind]]
        groups.append((level, kind, tries))
    # Most times are compared with reading, so it is tried twice as often.
    reading = [measurement for _, kind, group in groups for measurement in group if kind == "read"]
    best_of([*reading, *(measurement for *_, group in groups for measurement in group)], _VISITS, _MOST_SECONDS)
    for level, kind, group in groups:
        best = max(group, key=lambda measurement: measurement.gbps)
        if best.is_reproducible:
            yield Ceiling(level.name, kind, "cpu", threads, level.nbytes, best.gbps)
        else:
            reason = "the best of many tries was not reproducible: other work was running; stop it and run again"
            yield Ceiling(level.name, kind, "cpu", threads, level.nbytes, reason=reason)


def _measurement(loops: Loops, number: int, level: Level, nbytes: int, threads: int) -> RepeatedMeasurement:
    part = nbytes // threads // (2 * _STEP) * 2 * _STEP  # its halves are whole steps
    # Threads that wait for a core would make any try seem long enough, so a single thread determines the repeats.
    alone = RepeatedMeasurement(part, lambda repeats: loops(number, part, repeats, 1))
    alone.visit(0.0)
    unlimited = threads == 1 or level.nbytes is None  # one thread's part of the data may fit a cache
    least = 0.0 if unlimited else _LEAST * max(alone.rates)
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
        message = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise UnmeasurableError(f"{Path(compiler).name} could not compile the loops that measure ceilings: {message}")
    run = ctypes.CDLL(str(library)).run
    run.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    run.restype = ctypes.c_uint64
    # Its threads touch it first. In huge pages where possible, whose addresses are translated faster.
    buffer = mmap.mmap(-1, nbytes + mmap.PAGESIZE)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            buffer.madvise(mmap.MADV_HUGEPAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))

    def loops(number: int, nbytes: int, repeats: int, threads: int) -> object:
        assert threads * nbytes <= len(buffer)
        return run(number, start, nbytes, repeats, threads)

    return loops
