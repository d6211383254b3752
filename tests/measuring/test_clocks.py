import inspect
import time

import pytest
import torch

from gapbench import devices
from gapbench.measuring import clocks
from gapbench.measuring.clocks import host


def test_every_clock_has_a_name_and_a_file_of_that_name():
    for kind in clocks.CLOCKS:
        assert inspect.getmodule(kind).__name__.rpartition(".")[2] == kind.name
        assert isinstance(clocks.clock(kind.name), kind)


def test_every_clock_of_a_device_exists():
    for device in devices.available():
        for name in device.clocks:
            assert clocks.clock(name).name == name


def test_host_reports_the_wall_time_of_exactly_the_calls(monkeypatch):
    now = 0

    def call():
        nonlocal now
        now += 250
        return torch.zeros(1)

    def read():
        return now

    monkeypatch.setattr(host, "perf_counter_ns", read)
    seconds, output = host.Host().batch(call, 40)
    assert seconds == pytest.approx(40 * 250e-9)
    assert now == 40 * 250
    assert torch.equal(output, torch.zeros(1))


def test_host_does_not_follow_a_replaced_time_module(monkeypatch):
    monkeypatch.setattr(time, "perf_counter_ns", lambda: 0)
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    assert host.Host().batch(lambda: torch.ones(100).sum(), 10)[0] > 0
