"""Whole rounds on the simulated accelerator: real inputs and oracle, simulated kernels and time."""

import numpy as np
import pytest
from simulated.cache import Buffer
from simulated.kernels import Kernel

from gapbench.implementations import Implementation
from gapbench.measuring import prepared, rounds, schedule
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.plan import HERE
from gapbench.measuring.prepared import CaseTask
from gapbench.measuring.protocol import RoundFailure
from gapbench.measuring.rounds import Assignment
from gapbench.workloads.cases import Case

CASE = Case((1, 4, 128, 128))
CLOCKS = ("event_cold", "event_warm", "graph_warm", "graph_cold", "host_call")
SECONDS = {"mean": 3e-6, "twice": 6e-6}


class Launching:
    """Right answers from the CPU, time from the simulated device: one kernel that reads a buffer for each input."""

    def __init__(self, simulated, seconds, wait=False):
        self._simulated = simulated
        self._seconds = seconds
        self._wait = wait
        self._buffers = {}

    def __call__(self, x):
        buffer = self._buffers.setdefault(x.data_ptr(), Buffer(x.numel() * x.element_size()))
        self._simulated.launch(Kernel(self._seconds, reads=(buffer,)))
        if self._wait:
            self._simulated.synchronize()
        return x.mean((2, 3), keepdim=True)


@pytest.fixture
def measure(bench, monkeypatch, begun):
    def run(entries, waits=()):
        made = bench(cache_bytes=8 * 2**20)
        functions = {name: Launching(made.simulated, SECONDS[name], name in waits) for name in SECONDS}
        monkeypatch.setattr(rounds, "device", lambda _name: made.accelerator)
        monkeypatch.setattr(schedule, "monotonic", lambda: made.host.seconds)
        monkeypatch.setattr(prepared.operations, "taken", functions.__contains__)
        monkeypatch.setattr(
            prepared.operations,
            "load",
            lambda spec: Implementation(spec, "test", "", "", lambda _case: functions[spec]),
        )
        # A simulated graph replays time, not arithmetic: its outputs do not follow new content.
        monkeypatch.setattr(rounds._Inputs, "replace", lambda _inputs: None)
        current = CurrentContender.create()
        loaded, reply = prepared.prepare(CaseTask(CASE, tuple(SECONDS), (HERE,), (0, 1), 7), current)
        assert not reply.rejected
        examiner, _ = begun(loaded.task, rounds.seeds(7), stressed=False)
        assignment = Assignment(entries, 7, slice_seconds=0.02, batch_seconds=1e-4)
        return rounds.measure(loaded, assignment, current, examiner)

    return run


def median(result, clock, contender):
    batches = result.batches[clock]
    return np.median([s for s, c in zip(batches.seconds_per_call, batches.contender, strict=True) if c == contender])


def test_every_clock_times_every_contender_in_one_round_and_names_its_numbers(measure):
    result = measure(dict.fromkeys(CLOCKS, (0, 1)))
    assert set(result.batches) == set(CLOCKS)
    for clock in ("event_cold", "event_warm", "graph_warm", "graph_cold"):
        assert median(result, clock, 0) == pytest.approx(SECONDS["mean"], rel=0.05)
        assert median(result, clock, 1) == pytest.approx(SECONDS["twice"], rel=0.05)


def test_what_the_clocks_found_out_about_themselves_is_reported(measure):
    result = measure(dict.fromkeys(CLOCKS, (0, 1)))
    assert result.preparations["event_warm"]["floor_seconds"] > 0
    assert result.preparations["host_call"]["launch_seconds"] > 0
    cold = result.preparations["event_cold"]
    assert cold["cold_canary_seconds"] > cold["warm_canary_seconds"]
    assert all(slowdown == pytest.approx(1, abs=0.05) for slowdown in result.slowdowns.values())


def test_a_clock_times_only_those_that_it_does_not_refuse(measure):
    result = measure({"event_warm": (0,), "host_call": (0, 1)})
    assert set(result.batches["event_warm"].contender) == {0}
    assert set(result.batches["host_call"].contender) == {0, 1}


def test_a_contender_that_a_clock_refuses_is_named_with_the_clock(measure):
    failure = measure({"event_warm": (0, 1), "host_call": (0, 1)}, waits=("twice",))
    assert isinstance(failure, RoundFailure)
    assert (failure.contender, failure.clock) == (1, "event_warm")
    assert failure.status == "failed"


def test_all_that_the_clocks_of_a_round_refuse_is_told_at_once(measure):
    """Each refusal cost a round of its own, and a process."""
    failure = measure(dict.fromkeys(("event_warm", "event_cold", "host_call"), (0, 1)), waits=("mean", "twice"))
    refused = {(one.clock, one.contender) for one in (failure, *failure.more)}
    assert refused == {(clock, index) for clock in ("event_warm", "event_cold") for index in (0, 1)}
    assert not any(one.more for one in failure.more)
