import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.virtual_time import HostTime

from gapbench.machine.telemetry.unreadable import UnreadableError
from gapbench.measuring import worker
from gapbench.measuring.clocks import base


class Stepping:
    """A counter of a device that draws ``watts``, which moves once in ``step`` seconds."""

    source = "a counter"

    def __init__(self, host, watts, step):
        self.host, self.watts, self.step = host, watts, step

    def joules(self):
        return self.host.seconds // self.step * self.step * self.watts


def measured(watts, step, seconds, phase=0.0):
    host, calls = HostTime(), 0
    host.spend(phase * step)

    def run(count):
        nonlocal calls
        calls += count
        host.spend(count * seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "perf_counter_ns", host.perf_counter_ns)
        return worker.joules_per_call(run, Stepping(host, watts, step)), host.seconds - phase * step


@given(st.floats(1, 1000), st.floats(1e-3, 0.1), st.floats(1e-6, 5e-3), st.floats(0, 1))
def test_a_counter_that_moves_in_steps_still_tells_the_energy_of_a_call(watts, step, seconds, phase):
    joules, taken = measured(watts, step, seconds, phase)
    assert joules == pytest.approx(watts * seconds, rel=0.04)  # a batch of a millisecond or a call at each end
    assert worker.WINDOW_SECONDS <= taken < 1


def test_a_counter_that_stands_still_is_a_reason():
    with pytest.raises(UnreadableError, match="a counter did not move in 2 s of work"):
        measured(100.0, 1e9, 1e-3)
