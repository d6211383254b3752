"""The operator: what PyTorch's own checks say, and how it composes with autograd and torch.compile."""

import compiling
import interpreting
import pytest
import torch
from test_kernels import plans_for

from gapbench.implementations.triton.plans import FORWARD, Chip
from gapbench.workloads.cases import LAYOUTS, Case

CASES = {
    "row_persistent": Case((2, 16, 16, 16)),
    "row_looped": Case((1, 3, 33, 64)),
    "column": Case((2, 16, 8, 8), layout="channels_last"),
    "split_two_pass": Case((2, 16, 8, 8), layout="channels_last"),
    "split_single_pass": Case((1, 3, 33, 64)),
    "flat": Case((2, 9, 7, 7)),
}
KERNELS = {
    "row_persistent": ["tile_kernel"],
    "row_looped": ["tile_kernel"],
    "column": ["tile_kernel"],
    "split_two_pass": ["tile_kernel", "tile_kernel"],
    "split_single_pass": ["single_pass_kernel"],
    "flat": ["flat_kernel"],
}
SMALL = Chip(units=8)


@pytest.mark.parametrize("kernel", FORWARD)
def test_passes_the_checks_that_pytorch_has_for_operators(compiled, kernel):
    outcome = compiled(compiling.check_operators, CASES[kernel], *plans_for(CASES[kernel], kernel, SMALL))
    assert len(outcome) == 8
    assert set(outcome.values()) == {"SUCCESS"}


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("kernel", FORWARD)
def test_composes_with_torch_compile_in_one_graph(compiled, kernel, dynamic):
    case = CASES[kernel]
    traced = compiled(compiling.compile_step, case, *plans_for(case, kernel, SMALL), dynamic)
    backward = "spread_flat_kernel" if kernel == "flat" else "spread_kernel"
    assert traced.nodes == [*KERNELS[kernel], backward]
    torch.testing.assert_close(traced.y, traced.expected_y)
    torch.testing.assert_close(traced.gradient, traced.expected_gradient)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spatial", [(5,), (5, 7), (2, 3, 5)], ids=["1-D", "2-D", "3-D"])
def test_the_gradient_lies_in_memory_as_the_input_does(interpreted, layout, spatial):
    case = Case((2, 3, *spatial), layout=layout, pass_="backward")
    gradient, order, saved = interpreted(interpreting.gradient_of, case, *plans_for(case, None))
    dense = sorted(range(gradient.ndim), key=gradient.stride, reverse=True)
    assert dense == order
    assert gradient.permute(dense).is_contiguous()
    assert saved == 0


def test_gradients_that_are_expanded_or_strided_arrive_whole(interpreted):
    case = Case((2, 6, 5, 5), pass_="backward")
    for upstream in (torch.tensor(2.0).expand(2, 6, 1, 1), torch.rand(2, 12, 1, 1)[:, ::2]):
        got = interpreted(interpreting.gradient_for, case, upstream, *plans_for(case, None))
        torch.testing.assert_close(got, (upstream / 25).expand(case.shape))
