"""Every clock recovers what is true of the simulated machine, to 1 %."""

import itertools

import pytest
from simulated.device import Costs
from simulated.speed import Speed
from simulated.workloads import Workload

from gapbench.measuring import clocks

MIB = 2**20
EVERY = tuple(kind.name for kind in clocks.CLOCKS)
OF_ACCELERATORS = tuple(name for name in EVERY if not name.startswith("host"))
ON_EVENTS = tuple(name for name in EVERY if name.startswith("event"))


def truth(name, bench, workload):
    """Return the seconds of one call that a clock of this name should report."""
    if name == "host_call":
        return bench.costs.launch * len(workload.kernels)
    between = bench.costs.between_kernels * len(workload.kernels) if name == "event_warm" else 0.0
    return workload.truth(cold=name.endswith("_cold")) + between


def measured(name, bench, *seconds, nbytes=MIB, gap=0.0, count=300, **parts):
    """Return the clock's seconds per call, and the truth."""
    clock, rotations, _ = bench.clock(name, nbytes, **parts)
    simulated = bench.device_of(name)[1]
    calls = [Workload(simulated, *seconds, nbytes=nbytes, gap=gap) for _ in range(rotations)]
    count = clock.whole(count, rotations)
    taken, output = clock.batch(calls, count)
    assert output == "output"
    return taken / count, truth(name, bench, calls[0])


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("microseconds", [3, 4.25, 100])
def test_a_kernel(bench, name, microseconds):
    seconds, true = measured(name, bench(), microseconds * 1e-6)
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("name", EVERY)
def test_a_kernel_shorter_than_its_launch_of_which_nothing_is_counted(bench, name):
    machine = bench(costs=Costs(launch=6e-6))
    seconds, true = measured(name, machine, 3e-6, nbytes=0 if "cold" not in name else MIB // 8)
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("name", [*OF_ACCELERATORS, "host_call"])
def test_two_kernels_with_a_gap_from_the_first_start_to_the_last_end(bench, name):
    seconds, true = measured(name, bench(), 2e-6, 1.5e-6, gap=1e-6)
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("microseconds", [2.5, 2.75, 2.9])
def test_an_event_resolution_of_half_a_microsecond(bench, name, microseconds):
    machine = bench(costs=Costs(resolution=0.5e-6))
    seconds, true = measured(name, machine, microseconds * 1e-6, nbytes=MIB // 4, count=1000)
    assert seconds == pytest.approx(true, rel=0.01)


def test_an_event_resolution_that_all_calls_meet_at_the_same_phase(bench):
    """From one timed call to the next it takes a multiple of the resolution: all would be misread alike."""
    machine = bench()
    before, after = machine.accelerator.event(), machine.accelerator.event()
    machine.accelerator.delay(1e-3)
    before.record()
    machine.accelerator.flush()
    after.record()
    flush = before.seconds_until(after) - machine.costs.event
    resolution, call = 0.5e-6, 2.75e-6
    two_events = resolution + resolution - (flush + call) % resolution
    machine = bench(costs=Costs(resolution=resolution, event=two_events / 2))
    seconds, true = measured("event_cold", machine, call, nbytes=0, count=1000)
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("name", OF_ACCELERATORS)
@pytest.mark.parametrize("floor", [0.0, 0.7e-6, 4e-6])
def test_events_and_graphs_that_cost_time_themselves(bench, name, floor):
    machine = bench(costs=Costs(event=floor, graph=2 * floor))
    _, _, prepared = machine.clock(name)
    assert prepared.floor_seconds == pytest.approx(3 * floor if name.startswith("graph") else floor, rel=0.02, abs=1e-9)
    seconds, true = measured(name, machine, 3e-6)
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("name", OF_ACCELERATORS)
def test_time_between_kernels_is_the_streams_and_not_the_graphs(bench, name):
    machine = bench(costs=Costs(between_kernels=0.8e-6))
    seconds, true = measured(name, machine, 3e-6)
    if name == "event_cold":
        true += machine.costs.between_kernels  # from the event to the kernel, and from it to the next event
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("name", OF_ACCELERATORS)
def test_clocks_that_have_to_rise_first(bench, name):
    machine = bench(speed=Speed(idle_speed=0.3, ramp_seconds=0.8))
    seconds, true = measured(name, machine, 3e-6, burn_in_seconds=1.0)
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("name", OF_ACCELERATORS)
def test_a_throttled_spell_is_flagged_and_not_dropped(bench, name):
    machine = bench()
    clock, rotations, _ = machine.clock(name)
    calls = [Workload(machine.simulated, 3e-6, nbytes=MIB) for _ in range(rotations)]
    count = clock.whole(300, rotations)
    true = truth(name, machine, calls[0])

    def batch_takes(seconds_per_call, slowdown):
        seconds, _ = clock.batch(calls, count)
        assert seconds / count == pytest.approx(seconds_per_call, rel=0.01)
        assert clock.slowdown == pytest.approx(slowdown, rel=0.03)  # a flag, not a measurement

    batch_takes(true, 1)
    machine.speed.spells.append((machine.host.seconds, machine.host.seconds + 1, 0.6))
    batch_takes(true / 0.6, 1 / 0.6)
    machine.speed.spells.clear()
    batch_takes(true, 1)


@pytest.mark.parametrize("name", ON_EVENTS)
def test_a_backend_that_has_nothing_but_streams_and_events(bench, name):
    machine = bench(family="npu", cache_bytes=64 * MIB)
    assert machine.accelerator.cache_bytes is None
    seconds, true = measured(name, machine, 3e-6)
    assert seconds == pytest.approx(true, rel=0.01)


def test_host_call_on_a_backend_that_has_nothing_but_streams_and_events(bench):
    seconds, true = measured("host_call", bench(family="npu"), 3e-6)
    assert seconds == pytest.approx(true, rel=0.01)


@pytest.mark.parametrize("kernels", [1, 3])
def test_host_call_counts_launches_and_neither_the_work_nor_a_full_queue(bench, kernels):
    machine = bench(costs=Costs(queue=200))
    seconds, true = measured("host_call", machine, *[500e-6] * kernels, count=400)
    assert true == pytest.approx(kernels * 6e-6)
    assert seconds == pytest.approx(true, rel=0.01)


def test_host_call_reports_the_smallest_launch_beside_it(bench):
    _, _, prepared = bench(costs=Costs(launch=4.5e-6)).clock("host_call")
    assert prepared.launch_seconds == pytest.approx(4.5e-6, rel=0.01)


def test_contenders_do_not_warm_each_others_caches(bench):
    """Batches of contenders alternate: what one left in the cache is nothing to the next, however short its batch."""
    for name in OF_ACCELERATORS:
        machine = bench(costs=Costs(event=0.0, graph=0.0))
        clock, rotations, _ = machine.clock(name)
        sides = [[Workload(machine.simulated, 3e-6, nbytes=MIB) for _ in range(rotations)] for _ in range(2)]
        count = clock.whole(4, rotations)
        for calls in itertools.chain(*[sides] * 2):
            seconds, _ = clock.batch(calls, count)
            assert seconds / count == pytest.approx(truth(name, machine, calls[0]), rel=0.01), name
            machine.accelerator.flush()


@pytest.mark.parametrize("name", OF_ACCELERATORS)
def test_the_number_of_calls_may_change_from_batch_to_batch(bench, name):
    machine = bench()
    clock, rotations, _ = machine.clock(name)
    calls = [Workload(machine.simulated, 3e-6, nbytes=MIB) for _ in range(rotations)]
    for wanted in (300, 900, 300):
        count = clock.whole(wanted, rotations)
        seconds, _ = clock.batch(calls, count)
        assert seconds / count == pytest.approx(truth(name, machine, calls[0]), rel=0.01)


def test_contenders_share_the_rotation_of_host_cold(bench):
    """Every batch is much shorter than a rotation, and none meets inputs that the one before has just read."""
    machine = bench()
    clock, rotations, _ = machine.clock("host_cold")
    calls = [Workload(machine.runtime.cpu, 3e-6, nbytes=MIB) for _ in range(rotations)]
    for _ in range(4 * rotations):
        seconds, _ = clock.batch(calls, 3)
        assert seconds / 3 == pytest.approx(calls[0].truth(cold=True), rel=0.01)


def test_a_descheduled_host_costs_another_try_and_no_error(bench):
    """A host that stops for longer than the delay lets the device idle between the events: that try is not used."""
    machine = bench()
    clock, _, _ = machine.clock("event_warm")
    workload = Workload(machine.simulated, 3e-6)
    stops = iter([0.02])

    def call():
        machine.host.spend(next(stops, 0.0))
        return workload()

    seconds, _ = clock.batch(call, 50)
    assert seconds / 50 == pytest.approx(3e-6, rel=0.01)
    assert next(stops, None) is None


def test_host_is_warm_though_another_contender_has_displaced_its_input(bench):
    machine = bench()
    cpu = machine.runtime.cpu
    mine, other = Workload(cpu, 10e-6, nbytes=4 * MIB), Workload(cpu, 10e-6, nbytes=cpu.cache.nbytes)
    clock, _, _ = machine.clock("host")
    for _ in range(2):
        clock.batch(other, 1)
        seconds, _ = clock.batch(mine, 1)
    assert mine.truth(cold=True) > 1.1 * mine.truth(cold=False)
    assert seconds == pytest.approx(mine.truth(cold=False), rel=0.01)
