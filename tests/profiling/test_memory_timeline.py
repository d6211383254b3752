from hypothesis import given
from hypothesis import strategies as st
from recorded import MEAN_OF_BFLOAT16, TEMPORARY_BYTES

from gapbench.profiling.sampling import peak, thinned, timeline


def test_the_peak_of_a_mean_is_its_copy_and_its_output():
    points = timeline(MEAN_OF_BFLOAT16)
    assert points[0] == (0.0, 0)
    assert peak(points) == TEMPORARY_BYTES + 4096
    assert points[-1][1] == 4096


def test_nothing_recorded_is_nothing():
    assert timeline([]) == []
    assert peak([]) == 0


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=300), st.integers(3, 40))
def test_thinning_keeps_the_peak_and_the_ends(values, most):
    points = [(float(at), value) for at, value in enumerate(values)]
    kept = thinned(points, most)
    assert len(kept) <= max(most, 1)
    assert peak(kept) == peak(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert kept == sorted(kept)
