import inspect
import time

import pytest
import torch

from gapbench.machine import devices
from gapbench.measuring import clocks
from gapbench.measuring.clocks import base, host


def test_every_clock_has_a_name_of_its_own_and_lies_in_its_family_s_file():
    assert len({kind.name for kind in clocks.CLOCKS}) == len(clocks.CLOCKS)
    for kind in clocks.CLOCKS:
        assert kind.name.partition("_")[0] in inspect.getmodule(kind).__name__.rpartition(".")[2]


def test_every_clock_of_a_device_exists():
    for device in devices.available():
        for name in device.clocks:
            assert clocks.clock(name, device).name == name
        assert set(device.clocks) <= set(clocks.selectable(device))


def test_every_clock_is_some_devices():
    some = {*clocks.selectable(devices.Cpu()), *clocks.selectable(devices.Cuda("cuda"))}
    assert some == {kind.name for kind in clocks.CLOCKS}


def test_host_reports_the_wall_time_of_exactly_the_calls(monkeypatch):
    now = 0

    def call():
        nonlocal now
        now += 250
        return torch.zeros(1)

    def read():
        return now

    monkeypatch.setattr(base, "perf_counter_ns", read)
    seconds, output = clocks.clock("host").batch(call, 40)
    assert seconds == pytest.approx(40 * 250e-9)
    assert now == 41 * 250  # one call to warm the caches, which is not counted
    assert torch.equal(output, torch.zeros(1))


def test_host_does_not_follow_a_replaced_time_module(monkeypatch):
    monkeypatch.setattr(time, "perf_counter_ns", lambda: 0)
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    assert host.Host(devices.Cpu()).batch(lambda: torch.ones(100).sum(), 10)[0] > 0


@pytest.mark.parametrize("first", [0, 2, 7])
def test_calls_are_cycled_through_in_order_from_any_of_them(first):
    calls = [lambda number=number: number for number in range(5)]
    made = [call() for call in base.cycled(calls, 12, first)]
    assert made == [(first + position) % 5 for position in range(12)]


def test_host_cold_runs_on_this_machine():
    """With real tensors and this machine's caches: it gives a time, or refuses because of its canary."""
    cpu = devices.Cpu()
    clock = clocks.clock("host_cold", cpu)
    case_bytes = 4 * 2**20
    inputs = [torch.zeros(case_bytes // 4) for _ in range(clock.rotations(case_bytes))]
    assert len(inputs) * case_bytes > 2 * (cpu.cache_bytes or 0)
    refused = ""
    try:
        clock.prepare()
        seconds, output = clock.batch([x.sum for x in inputs], 3)
    except clocks.ClockError as refusal:  # a neighbour may keep the cache busy
        refused = str(refusal)
    else:
        assert seconds > 0
        assert output == 0
    assert not refused or "canary" in refused


@pytest.mark.parametrize("count", [1, 3, 40])
def test_host_stays_on_one_input_at_a_place_and_has_another_at_the_next(count):
    made = []
    calls = [lambda number=number: made.append(number) or torch.zeros(1) for number in range(4)]
    clock = clocks.clock("host")
    turns = []
    for place in range(8):
        made.clear()
        clock.batch(clock.at_place(calls, place), count)
        turns.append(set(made))
        assert len(made) == count + clock.uncounted_calls
    assert all(len(inputs) == 1 for inputs in turns)
    assert turns[:4] == turns[4:]
    assert set.union(*turns) == {0, 1, 2, 3}


def test_a_cold_clock_cycles_through_all_inputs_at_every_place():
    calls = [lambda number=number: number for number in range(4)]
    assert [clocks.clock("host_cold").at_place(calls, place) for place in range(3)] == [calls] * 3


@pytest.mark.parametrize(("megabytes", "places"), [(0, 4), (1, 4), (16, 4), (20, 3), (64, 1), (900, 1)])
def test_host_has_fewer_places_for_large_inputs(megabytes, places):
    assert clocks.clock("host").rotations(megabytes << 20) == places
