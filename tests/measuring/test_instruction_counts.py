"""Counting work per call: what the harness adds is taken out, and a refusal has a reason."""

import mmap
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import counts, doctor, schedule
from gapbench.measuring.counts import Counter
from gapbench.measuring.protocol import Batches
from gapbench.measuring.schedule import Batch

SOFTWARE, PAGE_FAULTS = 1, 2  # an event that every Linux kernel counts


class Machine:
    """A counter and a clock whose batches add so many counts: for themselves, per call, and for the function."""

    uncounted_calls = 1
    sm_clock_mhz = None
    cold = False

    def __init__(self, batch, each):
        self.count, self._batch, self._each = 0, batch, each

    def read(self):
        return self.count

    def work(self, amount):
        def call():
            self.count += amount
            return torch.zeros(1)

        return call

    def at_copy(self, calls, copy):
        return calls

    def select(self, index):
        """Nothing to do."""

    def batch(self, calls, count):
        self.count += self._batch
        for _ in range(count + self.uncounted_calls):
            self.count += self._each
            calls[0]()
        return 1e-6 * count, torch.zeros(1)


@given(st.integers(0, 10**6), st.integers(0, 1000), st.integers(0, 10**6), st.integers(1, 500))
def test_the_harness_is_taken_out_whatever_it_costs(batch, each, work, count):
    machine = Machine(batch, each)
    counting = counts.Batches(machine, machine)
    before = counting.begin()
    machine.batch([machine.work(work)], count)
    assert counting.per_call(before, count) == pytest.approx(work, abs=1e-6 * (1 + work))


def test_batches_carry_the_counts_of_their_own_calls(monkeypatch):
    machine = Machine(5000, 40)
    machine.device_class = schedule.Cpu
    monkeypatch.setattr(counts, "instructions", lambda: machine)
    batches = Batches()
    calls = {0: [machine.work(100)], 1: [machine.work(106)]}
    steps = iter([Batch(turn, index, index, 0) for turn in range(3) for index in range(2)])
    schedule.run_turns(machine, steps, calls, {0: 7, 1: 9}, lambda _: None, batches, lambda *_: None)
    by_contender = dict(zip(batches.contender, batches.instructions, strict=True))
    assert by_contender == {0: pytest.approx(100), 1: pytest.approx(106)}


@pytest.mark.parametrize("cold", [False, True])
def test_without_a_counter_and_by_a_cold_clock_the_column_is_null(monkeypatch, cold):
    machine = Machine(5, 4)
    machine.device_class, machine.cold = schedule.Cpu, cold
    monkeypatch.setattr(counts, "instructions", lambda: machine if cold else None)
    batches = Batches()
    steps = iter([Batch(0, 0, 0, 0)])
    schedule.run_turns(machine, steps, {0: [machine.work(1)]}, {0: 7}, lambda _: None, batches, lambda *_: None)
    assert batches.instructions == [None]


def test_the_kernel_counts_for_this_thread():
    """By an event that virtual machines have too: every page that is touched for the first time is a fault."""
    counter = Counter(SOFTWARE, PAGE_FAULTS)
    pages = 64
    with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
        before = counter.read()
        for page in range(pages):
            memory[page * mmap.PAGESIZE] = 1
        assert counter.read() - before >= pages // 2  # a kernel may map several at once


def test_a_refusal_says_why(monkeypatch):
    monkeypatch.setattr(counts, "HARDWARE", 99)
    with pytest.raises(OSError, match="perf_event_open: "):
        Counter(99, 0)
    monkeypatch.setattr(counts.platform, "machine", lambda: "riscv64")
    assert counts.reason() == "perf events are not read on Linux riscv64"


def test_several_threads_are_not_counted(monkeypatch):
    monkeypatch.setattr(counts, "_instructions", lambda: "a counter")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert counts.instructions() is None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert counts.instructions() == "a counter"


def test_doctor_names_what_cannot_be_counted(monkeypatch):
    monkeypatch.setattr(counts, "reason", lambda: f"perf_event_open: {os.strerror(1)}")
    monkeypatch.setattr(doctor, "noise_floor", lambda *_: "not now")
    checks = {check.name: check for check in doctor.examine("cpu", 1.0)}
    assert checks["instructions"].status == "unknown"
    assert "Operation not permitted" in checks["instructions"].evidence
