import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import small_cases, upstream

from gapbench.workloads import inputs
from gapbench.workloads.cases import Case
from gapbench.workloads.truth import GLOBAL_AVERAGE, Differentiated

MEAN = Differentiated(
    lambda case: lambda x: x.mean(case.spatial_dims, keepdim=True),
    GLOBAL_AVERAGE.shape,
    lambda case: case.window,
    lambda case: lambda x: x.mean(case.spatial_dims, keepdim=True),
)
"""Global average pooling, told by autograd."""


@given(small_cases(largest=2**10), st.integers(0, 2**32))
def test_autograd_and_arithmetic_agree_on_global_average_pooling(case, seed):
    x, gradient = inputs.sample(case, seed), upstream(case, seed)
    for result, expected in [
        (MEAN.forward(case, x), GLOBAL_AVERAGE.forward(case, x)),
        (MEAN.backward(case, x, gradient), GLOBAL_AVERAGE.backward(case, x, gradient)),
    ]:
        torch.testing.assert_close(result.value, expected.value)
        torch.testing.assert_close(result.scale, expected.scale)
        assert result.steps == expected.steps == case.window
    assert MEAN.shape(case) == MEAN.forward(case, x).value.shape


def test_answers_are_float64_and_leave_the_input_alone():
    case = Case((2, 3, 4), dtype="bfloat16")
    x = inputs.sample(case, 0)
    before = x.clone()
    for expected in (MEAN.forward(case, x), MEAN.backward(case, x, upstream(case, 0))):
        assert expected.value.dtype == expected.scale.dtype == torch.float64
        assert not expected.value.requires_grad
    assert torch.equal(x, before)
    assert not x.requires_grad


def test_without_magnitudes_errors_are_relative_to_the_largest_of_each_sample():
    weights = torch.tensor([[1.0, -2.0], [3.0, 5.0]], dtype=torch.float64)
    layer = Differentiated(lambda _case: lambda x: x[:, :, 0] @ weights, lambda case: (case.n, 2), lambda _case: 2)
    expected = layer.forward(Case((2, 2, 1)), torch.tensor([[[1.0], [1.0]], [[0.0], [1.0]]]))
    assert expected.value.tolist() == [[4.0, 3.0], [3.0, 5.0]]
    assert expected.scale.tolist() == [[4.0, 4.0], [5.0, 5.0]]


def test_the_scale_is_never_below_the_value():
    """Of the gradient of a maximum, which lies elsewhere for |x| than for x."""
    top = Differentiated(
        lambda case: lambda x: x.amax(case.spatial_dims, keepdim=True),
        GLOBAL_AVERAGE.shape,
        lambda _case: 1,
        lambda case: lambda x: x.amax(case.spatial_dims, keepdim=True),
    )
    expected = top.backward(Case((1, 1, 2), pass_="backward"), torch.tensor([[[-3.0, 2.0]]]), torch.ones(1, 1, 1))
    assert expected.value.tolist() == [[[0.0, 1.0]]]
    assert expected.scale.tolist() == [[[1.0, 1.0]]]


@pytest.mark.parametrize("shape", [(0, 3, 2, 2), (2, 3, 0, 2)])
def test_nothing_averages_to_nothing_or_nan(shape):
    expected = GLOBAL_AVERAGE.forward(Case(shape), torch.ones(shape))
    assert expected.value.shape == (*shape[:2], 1, 1)
    assert expected.value.isnan().all()
