import itertools
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.virtual_time import HostTime

from gapbench.machine.telemetry.host import DataCache
from gapbench.measuring import ceilings
from gapbench.measuring.ceilings import cpu
from gapbench.measuring.clocks import base

KIB, MIB = 2**10, 2**20
CACHES = [DataCache(1, 48 * KIB, 1), DataCache(2, MIB, 1), DataCache(3, 32 * MIB, 8)]
TRUTH = {"L1": 500e9, "L2": 250e9, "L3": 120e9, "memory": 40e9}
OF_LOOP = (1.0, 0.8, 0.9, 0.5, 0.7)
"""Bytes per second of one thread's reading, and what share of it each loop reaches."""


class Machine:
    """A processor whose threads do not slow each other down, but for memory, which they share."""

    def __init__(self, host, noise=lambda: 1.0):
        self.host, self.noise, self.written = host, noise, 0

    def __call__(self, loop, nbytes, repeats, threads):
        whole = nbytes * threads
        if loop >= 3:
            self.written = max(self.written, whole)
        assert whole <= self.written, "memory that was never written is one page of zeros"
        if whole > 32 * MIB:
            rate = TRUTH["memory"]
        else:
            level = "L1" if nbytes <= 48 * KIB else "L2" if nbytes <= MIB else "L3"
            rate = threads * TRUTH[level]
        self.host.spend((1e-6 + repeats * whole / (rate * OF_LOOP[loop])) * self.noise())


@pytest.fixture
def host(monkeypatch):
    host = HostTime()
    monkeypatch.setattr(base, "perf_counter_ns", host.perf_counter_ns)
    return host


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_each_level_is_recovered_with_the_faster_loop_of_each_kind(host, threads):
    results = list(cpu.measured(cpu.levels(CACHES, threads, 8), threads, Machine(host)))
    assert len(results) == 12
    for result in results:
        share = {"read": 1.0, "copy": 0.9, "write": 0.7}[result.kind]
        together = 1 if result.level == "memory" else threads
        assert result.gbps == pytest.approx(together * TRUTH[result.level] * share / 1e9, rel=0.01), result
        assert (result.threads, result.device) == (threads, "cpu")


def test_it_takes_less_than_a_second(host):
    list(cpu.measured(cpu.levels(CACHES, 1, 8), 1, Machine(host)))
    assert host.seconds < 1  # virtual


def test_where_nothing_recurs_there_is_no_ceiling_and_a_reason(host):
    slower_and_slower = itertools.accumulate(itertools.repeat(1.05), operator.mul)
    results = list(cpu.measured(cpu.levels(CACHES, 1, 8), 1, Machine(host, lambda: next(slower_and_slower))))
    assert [result.gbps for result in results] == [None] * 12
    assert all("not reproducible" in result.reason for result in results)


def test_threads_that_wait_for_each_other_have_no_ceiling(host):
    class Busy(Machine):
        def __call__(self, loop, nbytes, repeats, threads):
            super().__call__(loop, nbytes, repeats, threads)
            self.host.spend(4e-3 * (threads > 1))  # a barrier where the other thread has no core

    results = list(cpu.measured(cpu.levels(CACHES, 2, 2), 2, Busy(host)))
    assert [result.gbps for result in results if result.level != "memory"] == [None] * 9


@given(st.integers(1, 64), st.integers(1, 128))
def test_threads_have_caches_of_their_own_as_far_as_there_are_any(threads, usable):
    *caches, memory = cpu.levels(CACHES, threads, usable)
    assert memory.nbytes is None
    for level, cache in zip(caches, CACHES, strict=True):
        assert cache.nbytes <= level.nbytes <= threads * cache.nbytes
        assert level.nbytes <= -(-usable // cache.sharers) * cache.nbytes
    assert memory.shares["read"][0] >= 2 * caches[-1].nbytes


def test_without_a_compiler_there_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu.shutil, "which", lambda name: None)
    with pytest.raises(cpu.UnmeasurableError, match="install gcc"):
        cpu.load(tmp_path, KIB)
    (only,) = ceilings.measure("cpu", [1])
    assert only["gbps"] is None
    assert "install gcc" in only["reason"]


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\necho 'unsupported option -fopenmp' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(cpu.shutil, "which", lambda name: str(compiler))
    with pytest.raises(cpu.UnmeasurableError, match="unsupported option -fopenmp"):
        cpu.load(tmp_path, KIB)


def test_more_threads_than_cpus_are_refused(monkeypatch):
    monkeypatch.setattr(cpu, "load", lambda folder, nbytes: lambda *_: None)
    monkeypatch.setattr(cpu.host, "data_caches", lambda: CACHES)
    monkeypatch.setattr(cpu.host, "usable_cpus", lambda: frozenset({0}))
    only, *_ = cpu.measure([4])
    assert only.reason == "4 threads on 1 CPUs take turns; ceilings need a CPU for each"
    monkeypatch.setattr(cpu.host, "data_caches", list)
    with pytest.raises(cpu.UnmeasurableError, match="cannot be read"):
        cpu.measure([1])


def test_the_compiled_loops_read_all_that_they_are_told_to(tmp_path):
    """An or of all bytes: a single bit that is set anywhere must arrive, unless the loop left it out."""
    loops = cpu.load(tmp_path, 4096)
    loops(3, 4096, 1, 1)
    assert loops(0, 4096, 3, 1) == 0
    start = loops.__closure__[[name == "start" for name in loops.__code__.co_freevars].index(True)].cell_contents
    for position in (0, 511, 512, 4095):
        byte = cpu.ctypes.c_ubyte.from_address(start + position)
        byte.value = 1
        assert loops(0, 4096, 1, 1) != 0
        assert loops(0, 2048, 1, 2) != 0
        byte.value = 0
    first = cpu.ctypes.c_ubyte.from_address(start)
    for copying, writing in ((1, 3), (2, 4)):
        first.value = 7
        loops(copying, 4096, 1, 1)
        assert cpu.ctypes.c_ubyte.from_address(start + 2048).value == 7
        loops(writing, 4096, 1, 1)
        assert loops(0, 4096, 1, 1) == 0
