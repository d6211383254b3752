"""The kernels, run by Triton's interpreter: every one of them, with every tile that plans draw."""

import math

import interpreting
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import AVERAGING

from gapbench.implementations.triton import plans
from gapbench.implementations.triton.plans import FORWARD, Chip, Geometry, Plan
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case

H100 = Chip()


def plans_for(case, kernel, chip=H100, index=0):
    """Return the forward and the backward plan of a kernel, None for the dispatcher's, at one place of the lists."""
    geometry = Geometry.of(case)
    forward = FORWARD[kernel](geometry, chip) if kernel else plans.forward_plans(geometry, chip)
    backward = plans.backward_plans(geometry, chip, kernel)
    return forward[index % len(forward)], backward[index % len(backward)]


WINDOWS = {
    "row_looped": [1025, 1147, 2048],
    "split_two_pass": [16, 49, 257, 512],
    "split_single_pass": [16, 49, 257, 512],
}
"""Windows that a kernel is for, where not every one will do."""


@st.composite
def workloads(draw, kernel):
    """Draw a case that a kernel is for, a GPU, and one of the plans for them."""
    window = draw(st.sampled_from(WINDOWS.get(kernel, [1, 2, 3, 7, 16, 31, 49, 64, 65, 225, 512])))
    layout = draw(st.sampled_from(["contiguous"] if kernel == "flat" else list(LAYOUTS)))
    if kernel and kernel.startswith("split") and layout == "contiguous":
        window = max(window, 256)
    factors = [size for size in range(1, window + 1) if window % size == 0]
    first = draw(st.sampled_from(factors))
    spatial = draw(st.sampled_from([(window,), (first, window // first), (1, first, window // first)]))
    budget = 2**14 // window
    c = min(draw(st.sampled_from([1, 2, 3, 17, 64, 65, 131])), max(budget, 1))
    n = min(draw(st.sampled_from([1, 2, 5])), max(budget // c, 1))
    case = Case(
        (n, c, *spatial),
        dtype=draw(st.sampled_from(list(DTYPES))),
        layout=layout,
        pass_=draw(st.sampled_from(["forward", "backward"])),
    )
    chip = Chip(units=draw(st.sampled_from([1, 4, 16])), lanes=draw(st.sampled_from([32, 64])))
    return case, *plans_for(case, kernel, chip, draw(st.integers(0, 11)))


@pytest.mark.parametrize("kernel", [None, *FORWARD], ids=str)
def test_averages_and_differentiates_every_shape_layout_and_dtype(interpreted, kernel):
    @settings(max_examples=14, deadline=None)
    @given(workload=workloads(kernel), seed=st.integers(0, 2**31))
    def check(workload, seed):
        assert interpreted(interpreting.judge, *workload, seed) is None

    check()


@pytest.mark.parametrize("pass_", ["forward", "backward"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 67, 7, 7), (2, 5, 37, 31)], ids=["short", "long"])
def test_partial_tiles(interpreted, shape, layout, pass_):
    case = Case(shape, dtype="bfloat16", layout=layout, pass_=pass_)
    assert interpreted(interpreting.judge, case, *plans_for(case, None), 0) is None


@pytest.mark.parametrize("kernel", FORWARD)
def test_reads_every_element_once_and_writes_every_average_once(interpreted, kernel):
    for layout in ["contiguous"] if kernel == "flat" else LAYOUTS:
        window = {"row_looped": (41, 27), "split_two_pass": (20, 20), "split_single_pass": (20, 20)}.get(kernel, (7, 7))
        case = Case((2, 67, *window), dtype="float16", layout=layout)
        first, *second = interpreted(interpreting.traffic, case, *plans_for(case, kernel, Chip(units=16)))
        assert first.reads["x"] == {1: case.elements}
        assert [launch.strays for launch in (first, *second)] == [0] * (1 + len(second))
        last = second[0] if second else first
        assert last.writes["y"] == {1: case.n * case.c}
        if second:  # float32 partial sums, each written once and read once
            assert first.writes["y"] == second[0].reads["x"]
            assert set(first.writes["y"]) == {1}


@pytest.mark.parametrize("kernel", ["row_persistent", "column", "flat"])
def test_writes_every_gradient_element_once(interpreted, kernel):
    for layout in ["contiguous"] if kernel == "flat" else LAYOUTS:
        case = Case((2, 67, 7, 7), dtype="float16", layout=layout, pass_="backward")
        (launch,) = interpreted(interpreting.traffic, case, *plans_for(case, kernel))
        assert launch.writes["out"] == {1: case.elements}
        assert launch.reads["out"] == {0: case.elements}
        assert launch.strays == 0


@pytest.mark.parametrize("kernel", FORWARD)
def test_the_order_of_programs_and_earlier_calls_leave_no_trace(interpreted, kernel):
    case = Case((2, 9, 37, 31) if kernel != "flat" else (5, 67, 7, 7))
    if kernel == "row_persistent":
        case = Case((2, 9, 31, 31))
    usual, *shuffled = interpreted(interpreting.in_many_orders, case, *plans_for(case, kernel, Chip(units=16)))
    assert all(torch.equal(usual, other) for other in shuffled)


@pytest.mark.parametrize("kernel", ["split_two_pass", "split_single_pass"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_stale_partial_sums_would_show(interpreted, kernel, layout):
    """Those of an equal input are right by accident: inputs alternate, and what was not written is NaN."""
    case = Case((2, 9, 37, 31), layout=layout)
    for poisoned, alone in interpreted(
        interpreting.with_poisoned_memory, case, *plans_for(case, kernel, Chip(units=16))
    ):
        assert torch.equal(poisoned, alone)


# layouts that no case describes


def test_views_whose_spatial_dimensions_do_not_collapse(interpreted):
    x = torch.rand(2, 3, 5, 8)[..., ::2]
    y = interpreted(interpreting.average, x, *plans_for(Case((2, 3, 5, 4)), "row_persistent"))
    torch.testing.assert_close(y, x.mean((2, 3), keepdim=True))


@pytest.mark.parametrize("kernel", ["row_persistent", "column", "flat"])
def test_expanded_views(interpreted, kernel):
    case = Case((4, 6, 5, 5))
    for shape in [(4, 1, 5, 5), (1, 6, 5, 5), (4, 6, 1, 1)]:
        x = torch.rand(shape).expand(case.shape)
        y = interpreted(interpreting.average, x, *plans_for(case, kernel))
        torch.testing.assert_close(y, x.mean((2, 3), keepdim=True))


@pytest.mark.parametrize("kernel", FORWARD)
def test_any_strides_are_right_with_any_plan(interpreted, kernel):
    made_for = Case((2, 6, 37, 31) if kernel not in ("row_persistent", "flat") else (2, 6, 15, 15))
    plan = plans_for(made_for, kernel, Chip(units=4))
    for dims in [(0, 1, 2, 3), (0, 2, 3, 1), (2, 3, 0, 1), (3, 1, 2, 0)]:
        x = torch.rand([made_for.shape[dim] for dim in dims]).permute([dims.index(dim) for dim in range(4)])
        y, gradient = interpreted(interpreting.average_and_gradient, x, *plan)
        torch.testing.assert_close(y, x.mean((2, 3), keepdim=True))
        torch.testing.assert_close(gradient, (y / x[0, 0].numel()).expand(x.shape))


# nothing, and much


@pytest.mark.parametrize("shape", [(0, 3, 7, 7), (2, 0, 7), (0, 0, 1, 1, 1)])
def test_nothing_averages_to_nothing(interpreted, shape):
    for pass_ in AVERAGING:
        case = Case(shape, pass_=pass_)
        assert interpreted(interpreting.judge, case, *plans_for(case, None), 0) is None


def test_empty_windows_average_to_nan_like_mean(interpreted):
    case = Case((2, 3, 0, 7), dtype="float16")
    y = interpreted(interpreting.average, torch.ones(case.shape, dtype=torch.float16), *plans_for(case, None))
    assert y.shape == (2, 3, 1, 1)
    assert y.dtype == torch.float16
    assert y.isnan().all()


FAR = 2**30 + 8

FAR_APART = {
    "images": ((FAR, 49, 1), (4, 3, 49)),
    "channels": ((1, FAR, 4), (1, 4, 49)),
    "positions": ((2, 1, FAR // 16), (2, 2, 70)),
}
"""Strides and sizes that put elements more than 2^31 apart: a 32-bit product of them would wrap around."""


@pytest.mark.parametrize("far", FAR_APART)
@pytest.mark.parametrize(
    "plan",
    [
        Plan("row_persistent", 2, 128, 4),
        Plan("row_looped", 1, 16, 4),
        Plan("column", 2, 16, 4),
        Plan("split_two_pass", 2, 16, 4, parts=2),
        Plan("split_single_pass", 2, 16, 4, parts=2),
    ],
    ids=lambda plan: plan.kernel,
)
def test_averages_what_lies_billions_of_elements_apart(interpreted, plan, far):
    y, expected = interpreted(interpreting.averages_far_apart, plan, *FAR_APART[far])
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("far", FAR_APART)
def test_writes_gradients_billions_of_elements_apart(interpreted, far):
    got, expected = interpreted(interpreting.spreads_far_apart, Plan("spread_row", 2, 16, 4), *FAR_APART[far])
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("plan", "backward"),
    [
        (Plan("row_persistent", 32, 64, 4), False),
        (Plan("flat", 32, 64, 4), False),
        (Plan("spread_row", 32, 64, 4), True),
        (Plan("spread_flat", 32, 64, 4), True),
    ],
    ids=lambda value: getattr(value, "kernel", ""),
)
def test_the_last_program_of_billions_of_elements_reaches_the_end(interpreted, plan, backward):
    sizes = 2**13, 2**13, 49
    assert math.prod(sizes) > 2**31
    got, expected = interpreted(interpreting.last_program, plan, sizes, backward)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=0)
