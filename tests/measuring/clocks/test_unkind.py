"""What real accelerators do to clocks: host costs, coarse timestamps, other processes, autograd, halved caches."""

import random

import pytest
from simulated.device import Costs
from simulated.speed import Speed
from simulated.workloads import Astray, Backward, Workload

from gapbench.measuring import schedule
from gapbench.measuring.clocks import ClockRefusedError

MIB = 2**20
ON_DEVICE = ("event_cold", "event_warm", "graph_warm", "graph_cold")
FINE, COARSE = 32e-9, 0.5e-6
CALLS = {
    "mean": (3e-6, 8e-6),
    "einsum": (5e-6, 20e-6),
    "library": (4e-6, 55e-6),
    "python": (3e-6, 500e-6),
    "slow": (200e-6, 2e-6),
}
"""Seconds of the kernel, and of the host beside the launch."""


@pytest.mark.parametrize("name", ["event_cold", "event_warm", "graph_warm"])
@pytest.mark.parametrize("resolution", [FINE, COARSE])
def test_a_contenders_batch_is_as_long_whoever_was_calibrated_before(bench, monkeypatch, name, resolution):
    """The delay that a slow contender needs was counted as the batch of the next, which then had a call or two."""
    lengths = {contender: [] for contender in CALLS}
    for seed in range(20):
        machine = bench(costs=Costs(resolution=resolution))
        monkeypatch.setattr(schedule, "monotonic", lambda machine=machine: machine.host.seconds)
        clock, _, _ = machine.clock(name)
        for contender in random.Random(seed).sample(sorted(CALLS), len(CALLS)):
            seconds, host = CALLS[contender]
            clock.select(sorted(CALLS).index(contender))
            count, _ = schedule.calibrate(clock, [Workload(machine.simulated, seconds, host=host)], 0.5e-3)
            lengths[contender].append(count)
    for contender, counts in lengths.items():
        assert max(counts) <= 1.2 * min(counts), contender
    assert min(lengths["mean"]) > 20


@pytest.mark.parametrize("name", ["event_cold", "event_warm"])
def test_a_contender_that_launches_slowly_does_not_hold_up_the_others(bench, name):
    machine = bench()
    clock, _, _ = machine.clock(name)
    slow, quick = (Workload(machine.simulated, 3e-6, host=host) for host in (500e-6, 2e-6))
    for contender, workload in enumerate((slow, quick)):
        clock.select(contender)
        clock.batch(workload, 50)
    clock.select(0)
    clock.batch(slow, 50)
    clock.select(1)
    before = machine.host.seconds
    clock.batch(quick, 50)
    assert clock.held_seconds < 5e-3
    assert machine.host.seconds - before < 10e-3


@pytest.mark.parametrize("name", ON_DEVICE)
@pytest.mark.parametrize("host", [2e-6, 20e-6, 55e-6])
def test_what_a_call_costs_its_caller_is_not_the_devices_time(bench, name, host):
    machine = bench(costs=Costs(resolution=FINE, context=0.4))
    clock, rotations, _ = machine.clock(name, MIB)
    calls = [Workload(machine.simulated, 3e-6, nbytes=MIB, host=host) for _ in range(rotations)]
    count = clock.whole(300, rotations)
    seconds, _ = clock.batch(calls, count)
    assert seconds / count == pytest.approx(calls[0].truth(cold=name.endswith("cold")), rel=0.01)


@pytest.mark.parametrize("name", ON_DEVICE)
def test_time_slices_of_another_process_do_not_lengthen_the_floor(bench, name):
    """One slice of 2 ms in 300 readings moved their mean by 7 µs, which was then taken off every call."""
    kind = Costs(outlier=2e-3, outlier_every=97)
    _, _, quiet = bench().clock(name)
    _, _, disturbed = bench(costs=kind).clock(name)
    assert disturbed.floor_seconds == pytest.approx(quiet.floor_seconds, abs=0.05e-6)


@pytest.mark.parametrize("name", ["event_cold", "event_warm", "graph_warm"])
def test_work_on_another_stream_that_ends_while_the_device_is_held_is_refused(bench, name):
    """100 µs here and 500 µs elsewhere: behind a delay of milliseconds, the other stream is done before ours begins."""
    machine = bench()
    clock, _, _ = machine.clock(name)
    astray = Astray(machine.simulated, 100e-6, 500e-6)
    machine.simulated.launch(astray.kernels[0])
    with pytest.raises(ClockRefusedError, match="on other streams and do not wait"):
        clock.verify([astray])
    clock.verify([Workload(machine.simulated, 100e-6, 500e-6)])


def test_verifying_a_slow_call_takes_one_of_it(bench):
    machine = bench()
    clock, _, _ = machine.clock("event_warm")
    before = machine.host.seconds
    clock.verify([Workload(machine.simulated, 34e-3)])
    assert machine.host.seconds - before < 0.04


@pytest.mark.parametrize("idle", [20e-6, 200e-6])
def test_a_wait_that_varies_is_no_stray_work(bench, idle):
    """Waits for an idle device vary: what was short when the clock was prepared may be long later."""
    machine = bench()
    clock, _, _ = machine.clock("event_warm")
    machine.costs.synchronize = idle
    seconds, _ = clock.batch(Workload(machine.simulated, 3e-6), 50)
    assert seconds / 50 == pytest.approx(3e-6, rel=0.01)


@pytest.mark.parametrize("name", ON_DEVICE)
def test_autograd_can_be_captured_and_timed(bench, name):
    """It launches on the stream of its forward pass: the default stream, once, which no capture survives."""
    machine = bench()
    clock, rotations, _ = machine.clock(name)
    calls = [Backward(machine.simulated, 3e-6, nbytes=MIB) for _ in range(rotations)]
    count = clock.whole(300, rotations)
    seconds, _ = clock.batch(calls, count)
    assert seconds / count == pytest.approx(calls[0].truth(cold=name.endswith("cold")), rel=0.01)


@pytest.mark.parametrize("name", ON_DEVICE)
def test_the_clock_rate_is_read_in_front_of_each_batch(bench, name):
    """A change in mid-round shows in the batches after it, within the resolution of the events."""
    machine = bench(costs=Costs(resolution=COARSE))
    clock, rotations, _ = machine.clock(name)
    calls = [Workload(machine.simulated, 30e-6, nbytes=MIB) for _ in range(rotations)]
    count = clock.whole(50, rotations)
    rates = []
    for _ in range(2):
        clock.batch(calls, count)
        rates.append(clock.sm_clock_mhz)
        machine.speed.spells.append((machine.host.seconds, float("inf"), 0.6))
    nominal = machine.simulated.cycles_per_second / 1e6
    assert rates == pytest.approx([nominal, 0.6 * nominal], rel=0.01)


def test_a_device_that_cannot_count_cycles_has_no_clock_rate(bench):
    clock, _, _ = (machine := bench(family="xpu")).clock("event_warm")
    clock.batch(Workload(machine.simulated, 3e-6), 50)
    assert clock.sm_clock_mhz is None


def test_burning_in_ends_when_the_clocks_have_risen(bench):
    steady = bench()
    steady.clock("event_warm", burn_in_seconds=1.0)
    assert steady.host.seconds < 0.1
    rising = bench(speed=Speed(idle_speed=0.3, ramp_seconds=0.5))
    rising.clock("event_warm", burn_in_seconds=1.0)
    assert 0.45 < rising.host.seconds < 0.8


def test_a_cache_of_which_a_canary_sees_a_half(bench):
    """As on GPUs whose L2 is in two partitions, each of which keeps what its own processors read."""
    machine = bench(partitions=2)
    for name in ("event_cold", "graph_cold"):
        clock, rotations, _ = machine.clock(name)
        calls = [Workload(machine.simulated, 3e-6, nbytes=MIB) for _ in range(rotations)]
        count = clock.whole(300, rotations)
        seconds, _ = clock.batch(calls, count)
        assert seconds / count == pytest.approx(calls[0].truth(cold=True), rel=0.01)


def test_a_batch_that_fits_a_time_slice_is_right(bench):
    """Two processes share the device: longer batches count the other's slices, and their scatter shows it."""
    machine = bench(speed=Speed(shared=4e-3))
    clock, _, _ = machine.clock("event_warm")
    workload = Workload(machine.simulated, 10e-6)
    readings = [clock.batch(workload, 50)[0] / 50 for _ in range(20)]
    assert min(readings) == pytest.approx(10e-6, rel=0.01)
