import math

import numpy as np
import pytest
from frames import CASES, EMPTY, results, row, stored
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gapbench.analysis import cost_model
from gapbench.workloads.cases import Case

SHAPES = tuple(Case((n, 64, side, side)) for n, side in ((1, 2), (1, 7), (4, 14), (8, 28), (16, 56)))


def run(lines, shapes=SHAPES, **changes):
    """Return results in which each of ``lines`` takes exactly fixed seconds and the bytes at so many GB/s."""
    return stored(
        row(case, name, fixed + case.bytes_moved / gbps / 1e9, **changes)
        for name, (fixed, gbps) in lines.items()
        for case in shapes
    )


@given(st.floats(1e-7, 1e-3), st.floats(0.1, 5000), st.lists(st.floats(1e2, 1e9), min_size=3, max_size=30, unique=True))
def test_times_on_a_line_give_its_parameters_back(fixed, gbps, sizes):
    sizes = np.array(sizes)
    assume(sizes.max() / sizes.min() > 4)
    assume(len(np.unique(np.round(np.log(sizes), 1))) >= 3)
    slope = 1 / gbps / 1e9
    # both parts are felt somewhere: a thousandth of a time that is all bandwidth says little of the fixed cost
    assume(fixed > 0.01 * slope * sizes.min())
    assume(slope * sizes.max() > 0.01 * fixed)
    found_fixed, found_gbps, misfit = cost_model.line(sizes, fixed + sizes * slope)
    assert found_fixed.estimate == pytest.approx(fixed, rel=1e-4)
    assert found_gbps.estimate == pytest.approx(gbps, rel=1e-4)
    assert misfit < 1e-4


def test_intervals_of_noisy_times_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(300):
        sizes = np.exp(rng.uniform(np.log(1e4), np.log(1e8), 12))
        seconds = (5e-6 + sizes / 20e9) * np.exp(rng.normal(0, 0.1, 12))
        fixed, gbps, misfit = cost_model.line(sizes, seconds)
        held += [fixed.low <= 5e-6 <= fixed.high, gbps.low <= 20 <= gbps.high]
        assert 0.03 < misfit < 0.2
    assert (np.abs(held / 300 - 0.95) < 0.03).all()


@given(st.lists(st.tuples(st.floats(1e2, 1e9), st.floats(1e-9, 1e3)), min_size=3, max_size=20))
def test_whatever_the_times_costs_are_not_negative_and_intervals_hold_the_estimate(points):
    sizes, seconds = (np.array(column) for column in zip(*points, strict=True))
    assume(len(np.unique(sizes)) >= 3)
    fixed, gbps, misfit = cost_model.line(sizes, seconds)
    assert 0 <= fixed.low <= fixed.estimate <= fixed.high
    assert gbps.estimate > 0
    assert gbps.low is None or gbps.low <= gbps.estimate
    assert gbps.high is None or gbps.high >= gbps.estimate
    assert math.isfinite(misfit)


def test_the_fastest_lines_cross_where_arithmetic_says():
    result, refused = cost_model.fits(run({"cheap": (1e-6, 10), "wide": (5e-6, 100), "slow": (9e-6, 9)}))
    (crossing,) = cost_model.crossovers(result)
    assert not refused
    assert (crossing.below, crossing.above) == ("cheap", "wide")
    assert crossing.bytes == pytest.approx(4e-6 / (1 / 10e9 - 1 / 100e9), rel=1e-4)


def test_lines_that_cross_outside_of_what_was_measured_are_not_said_to_cross():
    result, _ = cost_model.fits(run({"cheap": (1e-6, 10), "wide": (1, 100)}))
    assert len(result) == 2
    assert not cost_model.crossovers(result)


def test_a_line_never_goes_through_what_differs_in_more_than_size():
    item = run({"a": (1e-6, 10)})
    for column, other in (("dtype", "float16"), ("threads", 2), ("clock", "graph_warm"), ("operation", "global_max")):
        mixed = item.copy()
        mixed.loc[mixed.index % 2 == 0, column] = other
        result, refused = cost_model.fits(mixed)
        assert len(result) + len(refused) == 2, column


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (SHAPES[:2], "2 sizes measured, a line needs 3"),
        (SHAPES[:1], "1 size measured"),
        (tuple(Case((1, c, 7, 7)) for c in (64, 65, 66, 90)), "span a factor 1.4, a line needs 4"),
        ((CASES[11],), "do not say how many bytes"),
    ],
)
def test_too_few_or_too_similar_sizes_are_refused_with_the_reason(shapes, reason):
    result, (refusal,) = cost_model.fits(stored([row(case, "a", 1e-5) for case in shapes]))
    assert not result
    assert reason in refusal.reason


@settings(max_examples=30)
@given(results())
def test_every_measured_implementation_is_fitted_or_refused(result):
    fits, refused = cost_model.fits(result)
    ok = result[(result["status"] == "ok") & result["seconds"].notna()]
    assert len(fits) + len(refused) == ok.groupby([*cost_model.CONTEXT, "implementation"], dropna=False).ngroups
    assert all(fit.sizes >= 3 and fit.largest / fit.smallest >= 4 for fit in fits)
    assert all(no.reason for no in refused)


def test_nothing_measured_is_nothing_fitted():
    assert cost_model.fits(EMPTY) == ([], [])
