"""What a profile says of a device, on the simulated one."""

from simulated.device import SimulatedDevice
from simulated.runtime import SimulatedRuntime
from simulated.virtual_time import HostTime
from simulated.workloads import Waiting, Workload

from gapbench.machine.devices import Cuda
from gapbench.measuring.clocks import base
from gapbench.profiling import job


def test_the_profilers_time_stands_beside_the_clocks(monkeypatch):
    """CUPTI gives a kernel without what an event pair adds, so the three are shown together, or why one is not."""
    simulated = SimulatedDevice(HostTime())
    monkeypatch.setattr(base, "perf_counter_ns", simulated.host.perf_counter_ns)
    target = Cuda("cuda", SimulatedRuntime(simulated))
    note = job._beside_clocks(Workload(simulated, 20e-6, nbytes=2**20), 20.2e-6, target)
    assert note == (
        "its kernels are busy for 20.20 µs a call by the profiler, warm; 20.21 µs by event_warm; 20.52 µs by event_cold"
    )
    refused = job._beside_clocks(Waiting(simulated, 20e-6), 20e-6, target)
    assert "event_cold refuses: the host was not done with launching" in refused
