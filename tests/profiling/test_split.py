import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.profiling.split import OUTSIDE, PARTS, Observed, fixed, split

seconds = st.floats(1e-7, 1.0)
shares = st.floats(0.01, 1.0)
NAMES = ("aten::mean", "aten::copy_", "aten::empty", "aten::view", OUTSIDE)


@st.composite
def observed(draw, busy=False):
    own = draw(st.dictionaries(st.sampled_from(NAMES), seconds, min_size=1))
    whole, profiled = draw(seconds), sum(own.values())
    return Observed(
        seconds=whole,
        on_core=whole * draw(shares),
        profiled_seconds=profiled,
        profiled_on_core=profiled * draw(shares),
        own=own,
        beneath={name: draw(st.integers(0, 9)) for name in own},
        calls={name: draw(st.integers(1, 9)) for name in own if name != OUTSIDE},
        faults=draw(st.integers(0, 30_000)),
        profiled_faults=draw(st.integers(0, 30_000)),
        busy_seconds=draw(st.floats(0, 2.0)) if busy else None,
    )


@given(observed(), st.none() | observed(), st.floats(0, 2e-6))
def test_shares_of_any_two_profiles_add_up_to_the_measured_time(case, one_element, cost):
    result = split(case, one_element, cost)
    assert tuple(result.parts) == PARTS
    assert sum(map(result.share, PARTS)) == pytest.approx(100, abs=1e-6)
    assert min(result.parts[part] for part in PARTS if part != "unexplained") >= -1e-12
    assert 0 <= result.fault_seconds <= result.parts["allocation"] + 1e-12


@given(observed(busy=True))
def test_on_an_accelerator_everything_is_explained(case):
    result = split(case, None)
    assert sum(map(result.share, PARTS)) == pytest.approx(100, abs=1e-6)
    assert result.parts["unexplained"] == 0
    assert min(result.parts.values()) >= -1e-9
    assert result.parts["kernel"] == min(case.busy_seconds, case.seconds)


@given(observed())
def test_what_is_fixed_is_all_of_the_measured_time_on_a_core(case):
    parts = fixed(case)
    assert sum(parts) == pytest.approx(case.on_core)
    assert min(parts) >= 0


def synthetic(python, dispatch, allocation, kernel, per_event=0.4e-6, faults=0.0, cost=0.0, off_core=0.0):
    """Return the profile of three nested events, with ``per_event`` added by the profiler around each."""
    alone = python + dispatch + allocation + kernel + faults * cost
    own = {
        OUTSIDE: python + per_event,
        "aten::mean": dispatch + 2 * per_event,
        "aten::empty": allocation,
        "aten::sum": kernel + faults * cost,
    }
    beneath = {OUTSIDE: 1, "aten::mean": 2, "aten::empty": 0, "aten::sum": 0}
    profiled = sum(own.values())
    return Observed(
        seconds=alone + off_core,
        on_core=alone,
        profiled_seconds=profiled,
        profiled_on_core=profiled,
        own=own,
        beneath=beneath,
        faults=faults,
        profiled_faults=faults,
    )


@given(st.floats(1e-7, 1e-5), st.floats(1e-7, 1e-5), st.floats(0, 1e-6), st.floats(0, 1e-2), st.integers(0, 9999))
def test_known_parts_are_recovered_whatever_the_profiler_adds(python, dispatch, allocation, kernel, faults):
    cost = 1.2e-6
    case = synthetic(python, dispatch, allocation, kernel, faults=faults, cost=cost, off_core=3e-6)
    result = split(case, synthetic(python, dispatch, allocation, 0.0), cost)
    expected = {
        "python": python,
        "dispatch": dispatch,
        "allocation": allocation + faults * cost,
        "kernel": kernel,
        "gaps": 3e-6,
        "unexplained": 0.0,
    }
    assert result.parts == pytest.approx(expected, abs=1e-9)
    assert result.fault_seconds == pytest.approx(faults * cost, abs=1e-9)


def test_faults_that_only_the_measured_calls_had_are_allocation_all_the_same():
    case = Observed(10e-3, 10e-3, 4e-3, 4e-3, {"aten::copy_": 4e-3, OUTSIDE: 0.0}, faults=5000, profiled_faults=0)
    item = Observed(1e-6, 1e-6, 1e-6, 1e-6, {"aten::copy_": 1e-6, OUTSIDE: 0.0})
    assert split(case, item, 1.2e-6).parts["allocation"] == pytest.approx(6e-3)


def test_growth_outside_of_operators_is_the_kernel_where_it_is_most_of_all_growth():
    item = Observed(2e-6, 2e-6, 2e-6, 2e-6, {"aten::view": 1e-6, OUTSIDE: 1e-6})
    numba = split(Observed(9e-6, 9e-6, 9e-6, 9e-6, {"aten::view": 1e-6, OUTSIDE: 8e-6}), item)
    assert numba.parts["kernel"] == pytest.approx(7e-6)
    eager = split(Observed(9e-6, 9e-6, 9e-6, 9e-6, {"aten::sum": 5e-6, OUTSIDE: 4e-6}), item)
    assert eager.parts["python"] == pytest.approx(4e-6)


def test_what_is_called_more_often_is_dispatched_more_often_and_its_events_are_paid():
    """Use a mean of 16 slices: 16 times the operators, each with 0.4 µs of the profiler, and no kernel."""
    each, own = 0.4e-6, 1e-6

    def slices(count):
        alone = 1e-6 + count * own
        profiled = alone + count * each
        return Observed(
            alone, alone, profiled, profiled, {"aten::mean": count * own, OUTSIDE: 1e-6 + count * each},
            beneath={OUTSIDE: count, "aten::mean": 0}, calls={"aten::mean": count},
        )  # fmt: skip

    result = split(slices(16), slices(1))
    assert result.parts["dispatch"] == pytest.approx(16 * own)
    assert result.parts["kernel"] == pytest.approx(0, abs=1e-12)
    assert result.parts["python"] == pytest.approx(1e-6)
    assert result.parts["unexplained"] == pytest.approx(0, abs=1e-12)


def test_without_one_element_all_operators_are_kernel():
    result = split(Observed(9e-6, 9e-6, 9e-6, 9e-6, {"aten::sum": 8e-6, OUTSIDE: 1e-6}), None)
    assert result.parts["kernel"] == pytest.approx(8e-6)
    assert result.parts["dispatch"] == 0
