"""A clock gives no number that is not what its name says."""

import pytest
from simulated.device import Costs
from simulated.workloads import Astray, Waiting, Workload

from gapbench.machine.devices import Cpu
from gapbench.measuring import clocks
from gapbench.measuring.clocks import ClockRefusedError, ClockUnsupportedError

MIB = 2**20
ON_DEVICE = ("event_cold", "event_warm", "graph_warm", "graph_cold")
COLD = ("host_cold", "event_cold", "graph_cold")


def refused(clock, calls, count=60):
    with pytest.raises(ClockRefusedError) as refusal:
        clock.batch(calls, count)
    assert refusal.value.status == "failed"
    return str(refusal.value)


@pytest.mark.parametrize("name", COLD)
def test_a_flush_that_does_not_reach_the_cache_proves_nothing_cold(bench, name):
    """The cache is larger than the device says, as the Infinity Cache of some GPUs and a hypervisor's answers are."""
    machine = bench()
    device, simulated = machine.device_of(name)
    simulated.cache.nbytes = 40 * MIB
    kind = type(device)
    small = type("Understated", (kind,), {"cache_bytes": 4 * MIB})(runtime=machine.runtime, name=device.name)
    clock = clocks.clock(name, small)
    clock.rotations(MIB)
    with pytest.raises(ClockUnsupportedError, match="nothing can be proved cold") as refusal:
        clock.prepare(0)
    assert refusal.value.status == "unsupported"


@pytest.mark.parametrize("name", COLD)
def test_a_flush_that_does_nothing_proves_nothing_cold(bench, name, monkeypatch):
    machine = bench()
    device, _ = machine.device_of(name)
    monkeypatch.setattr(type(device), "flush", lambda self: None)
    with pytest.raises(ClockUnsupportedError, match="nothing can be proved cold"):
        machine.clock(name)


def test_event_cold_without_its_flush_is_warm_and_refused(bench, monkeypatch):
    machine = bench()
    clock, _, _ = machine.clock("event_cold")
    monkeypatch.setattr(type(machine.accelerator), "flush", lambda self: None)
    assert "the canary was still in" in refused(clock, Workload(machine.simulated, 3e-6, nbytes=MIB))


@pytest.mark.parametrize("name", ["host_cold", "graph_cold"])
def test_the_same_input_over_and_over_is_warm_and_refused(bench, name):
    machine = bench()
    clock, rotations, _ = machine.clock(name)
    work = Workload(machine.device_of(name)[1], 3e-6, nbytes=MIB)
    if name == "host_cold":  # where a single reading may be an accident
        for _ in range(2):
            clock.batch([work] * rotations, rotations)
    assert "the canary was still in" in refused(clock, [work] * rotations, rotations)


@pytest.mark.parametrize("name", ["host_cold", "graph_cold"])
def test_fewer_inputs_than_exceed_the_cache_are_refused(bench, name):
    machine = bench()
    clock, rotations, _ = machine.clock(name)
    work = Workload(machine.device_of(name)[1], 3e-6, nbytes=MIB)
    assert f"1 inputs were rotated where {rotations} are needed" in refused(clock, work)


@pytest.mark.parametrize("name", ["event_cold", "event_warm", "graph_warm"])
def test_work_on_another_stream_is_caught(bench, name):
    machine = bench()
    clock, _, _ = machine.clock(name)
    assert "on another stream" in refused(clock, Astray(machine.simulated, 3e-6))


def test_work_on_another_stream_is_caught_in_a_graph_of_rotations(bench):
    machine = bench()
    clock, rotations, _ = machine.clock("graph_cold")
    message = refused(clock, [Astray(machine.simulated, 3e-6) for _ in range(rotations)], rotations)
    assert "on another stream" in message or "canary" in message


@pytest.mark.parametrize("name", ["event_cold", "event_warm"])
def test_work_on_another_stream_is_caught_even_if_some_is_on_the_timed_one(bench, name):
    machine = bench()
    clock, _, _ = machine.clock(name)
    assert "on other streams and do not wait" in refused(clock, Astray(machine.simulated, 3e-6, 400e-6))


@pytest.mark.parametrize("name", ["event_cold", "event_warm", "graph_warm"])
def test_a_call_that_launches_nothing_is_no_number(bench, name):
    clock, _, _ = bench(costs=Costs(resolution=0.5e-6)).clock(name)
    assert "or none at all" in refused(clock, lambda: "output")


@pytest.mark.parametrize("name", ["event_cold", "event_warm"])
def test_a_call_that_waits_for_the_device_lets_it_idle_between_the_events(bench, name):
    machine = bench()
    clock, _, _ = machine.clock(name)
    assert "wait for the device" in refused(clock, Waiting(machine.simulated, 3e-6))


@pytest.mark.parametrize("name", ["event_cold", "event_warm"])
def test_a_call_of_more_kernels_than_the_queue_holds_is_refused(bench, name):
    machine = bench(costs=Costs(queue=300))
    clock, _, _ = machine.clock(name)
    assert "more than its queue holds" in refused(clock, Workload(machine.simulated, *[50e-6] * 10))


def test_a_call_that_cannot_be_captured_is_refused_with_the_backends_reason(bench):
    machine = bench()
    clock, _, _ = machine.clock("graph_warm")
    message = refused(clock, Waiting(machine.simulated, 3e-6))
    assert message.startswith("cannot be captured in a graph: operation not permitted")


def test_graph_cold_leaves_tiny_inputs_to_event_cold(bench):
    clock = clocks.clock("graph_cold", bench().accelerator)
    with pytest.raises(ClockUnsupportedError, match="event_cold measures this case"):
        clock.rotations(4096)


def test_a_backend_without_graphs_says_so(bench):
    with pytest.raises(ClockUnsupportedError, match="npu:0 cannot be measured by graph_warm; it can by event_cold, "):
        clocks.clock("graph_warm", bench(family="npu").accelerator)


@pytest.mark.parametrize("name", [kind.name for kind in clocks.CLOCKS if not kind.name.startswith("host")])
def test_a_processor_has_no_events(name):
    with pytest.raises(ClockUnsupportedError, match="cpu cannot be measured by"):
        clocks.clock(name, Cpu())


def test_an_accelerator_is_not_timed_as_if_it_were_synchronous(bench):
    for name in ("host", "host_cold"):
        with pytest.raises(ClockUnsupportedError):
            clocks.clock(name, bench().accelerator)


@pytest.mark.parametrize(
    ("name", "nbytes", "remedy"),
    [
        ("host_cold", 16, "choose a larger --shape, or --clock host"),
        ("graph_cold", 512, "event_cold measures this case"),
    ],
)
def test_inputs_too_small_to_exceed_the_cache_are_unsupported_with_the_remedy(bench, name, nbytes, remedy):
    """On a host with an L3 of 300 MiB, 1.2 million inputs of 512 bytes were made, for two minutes."""
    with pytest.raises(ClockUnsupportedError, match=f"inputs of {nbytes} bytes exceed the cache only if .*{remedy}"):
        bench().clock(name, nbytes)
