"""The simulated accelerator does what real ones do; the tests of clocks rest on it."""

import pytest

from simulated.cache import Buffer, Cache
from simulated.device import Costs, SimulatedDevice
from simulated.kernels import CACHE_BANDWIDTH, MEMORY_BANDWIDTH, Kernel
from simulated.runtime import SimulatedRuntime
from simulated.speed import Speed
from simulated.virtual_time import HostTime
from simulated.workloads import Workload

MIB = 2**20


@pytest.fixture
def device():
    return SimulatedDevice(HostTime())


def elapsed(device, launch, costs_seconds=0.0):
    runtime = SimulatedRuntime(device)
    before, after = (runtime.Event("cuda:0", enable_timing=True) for _ in range(2))
    before.record(device.current)
    launch()
    after.record(device.current)
    after.synchronize()
    return 1e-3 * before.elapsed_time(after)


def test_time_passes_by_work_alone():
    host = HostTime()
    assert host.perf_counter_ns() == host.perf_counter_ns() == 0
    host.spend(3e-6)
    host.wait_until(2e-6)
    assert host.perf_counter_ns() == 3000


def test_launching_costs_the_host_its_launch_and_waiting_the_rest(device):
    device.launch(Kernel(1e-3))
    assert device.host.seconds == pytest.approx(6e-6)
    device.synchronize()
    assert device.host.seconds == pytest.approx(6e-6 + 1e-3 + device.costs.synchronize)


def test_events_around_an_idle_device_count_the_launch(device):
    """The trap that a delay in front avoids: 3 µs of work read as 6 µs of launch and 3 of work."""
    assert elapsed(device, Workload(device, 3e-6)) == pytest.approx(6e-6 + 3e-6)


def test_an_empty_pair_of_events_shows_the_floor(device):
    device.launch(Kernel(1e-3))
    assert elapsed(device, lambda: None) == pytest.approx(device.costs.event)


def test_events_are_strict(device):
    runtime = SimulatedRuntime(device)
    plain, timed, other = (runtime.Event("cuda:0", enable_timing=enabled) for enabled in (False, True, True))
    with pytest.raises(ValueError, match="recorded"):
        timed.elapsed_time(other)
    for event in (plain, timed, other):
        event.record(device.current)
    with pytest.raises(ValueError, match="enable_timing"):
        plain.elapsed_time(other)
    with pytest.raises(RuntimeError, match="completed"):
        timed.elapsed_time(other)


def test_events_are_read_in_steps(device):
    device.costs.resolution = 0.5e-6
    seconds = elapsed(device, Workload(device, 3.3e-6))
    assert seconds / 0.5e-6 == pytest.approx(round(seconds / 0.5e-6))


def test_streams_run_beside_each_other(device):
    runtime = SimulatedRuntime(device)
    side = type(device.current)()
    device.streams.append(side)
    assert elapsed(device, lambda: device.launch(Kernel(1e-3), side)) < 0.1e-3
    runtime.accelerator.set_device_index(0)
    runtime.accelerator.synchronize(0)
    assert device.host.seconds > 1e-3


def test_a_full_queue_holds_the_host_up():
    device = SimulatedDevice(HostTime(), costs=Costs(queue=3))
    for _ in range(4):
        device.launch(Kernel(1.0))
    assert device.host.seconds == pytest.approx(1, rel=1e-3)


def test_a_cache_keeps_what_was_used_last():
    cache = Cache(10)
    first, second = Buffer(6), Buffer(6)
    assert cache.access(first, 6, write=False) == (0, 6, 0)
    assert cache.access(first, 6, write=False) == (6, 0, 0)
    assert cache.access(second, 6, write=False) == (0, 6, 0)
    assert cache.access(first, 6, write=False) == (4, 2, 0)  # its beginning had to go


def test_dirty_lines_cost_whoever_puts_them_out_and_reading_on_cleans_up():
    cache, sweep, victim = Cache(10), Buffer(20), Buffer(10)
    cache.access(sweep, 20, write=True)
    assert cache.access(victim, 10, write=False) == (0, 10, 10)
    cache.access(sweep, 20, write=True)
    assert cache.access(sweep, 20, write=False) == (0, 20, 10)
    assert cache.access(victim, 10, write=False) == (0, 10, 0)


def test_durations_depend_on_the_cache(device):
    workload = Workload(device, 1e-6, nbytes=MIB)
    device.launch(Kernel(1e-3))
    cold = elapsed(device, workload) - device.costs.event
    device.launch(Kernel(1e-3))
    warm = elapsed(device, workload) - device.costs.event
    assert cold == pytest.approx(workload.truth(cold=True)) == pytest.approx(1e-6 + MIB / MEMORY_BANDWIDTH)
    assert warm == pytest.approx(workload.truth(cold=False)) == pytest.approx(1e-6 + MIB / CACHE_BANDWIDTH)


def test_kernels_of_a_call_follow_each_other_after_their_gap(device):
    workload = Workload(device, 2e-6, 1.5e-6, gap=1e-6)
    device.launch(Kernel(1e-3))
    assert elapsed(device, workload) == pytest.approx(device.costs.event + 4.5e-6)


def test_speed_rises_with_work_and_falls_in_spells():
    speed = Speed(idle_speed=0.4, ramp_seconds=1.0, spells=[(5, 6, 0.5)])
    assert speed.at(0) == pytest.approx(0.4)
    speed.work(0.5)
    assert speed.at(0) == pytest.approx(0.7)
    speed.work(10)
    assert (speed.at(4), speed.at(5.5), speed.at(6)) == (1, 0.5, 1)


def test_a_graph_is_launched_as_one_and_captures_its_own_stream_only(device):
    runtime = SimulatedRuntime(device)
    graph, own = runtime.cuda.CUDAGraph(), runtime.Stream("cuda:0")
    with runtime.cuda.graph(graph, stream=own):
        for _ in range(10):
            device.launch(Kernel(2e-6))
        with pytest.raises(RuntimeError, match="capturing"):
            device.synchronize()
    device.launch(Kernel(1e-3))
    assert elapsed(device, graph.replay) == pytest.approx(device.costs.event + device.costs.graph + 20e-6)
