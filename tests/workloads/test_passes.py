import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import small_cases, upstream

from gapbench.implementations.eager import EAGER
from gapbench.workloads import inputs
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case
from gapbench.workloads.passes import make_call

torch.set_num_threads(1)  # on busy cores a barrier between two takes longer than all the work here


def written_out(tensor):
    """Tell whether every element has its own place in memory."""
    return all(stride > 0 or size <= 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True))


def backward(case, function, seed=0):
    x, gradient = inputs.sample(case, seed), upstream(case, seed)
    return make_call(case, function, x, gradient), x, gradient


@pytest.mark.parametrize("spatial", [(2,), (13,), (5, 7), (2, 3, 5)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("implementation", EAGER, ids=lambda implementation: implementation.name)
def test_backward_writes_each_row_s_share_of_the_gradient_everywhere(implementation, layout, spatial):
    for dtype in DTYPES:
        case = Case((2, 6, *spatial), dtype=dtype, layout=layout, pass_="backward")
        if implementation.unsupported(case):
            continue
        call, x, gradient = backward(case, implementation.prepare(case))
        result = call()
        assert written_out(result)
        assert result.shape == x.shape
        assert result.dtype == x.dtype
        eps = torch.finfo(x.dtype).eps
        torch.testing.assert_close(
            result.double(), (gradient.double() / case.window).expand(case.shape), rtol=eps, atol=0
        )


@given(small_cases(largest=2**10, passes=("backward",)), st.sampled_from(EAGER))
def test_backward_is_written_out_for_every_case(case, implementation):
    assume(not implementation.unsupported(case))
    call, _, _ = backward(case, implementation.prepare(case))
    assert written_out(call())


def test_backward_of_a_sum_would_be_a_view_that_nobody_paid_for():
    case = Case((2, 3, 4, 4), pass_="backward")
    x, gradient = inputs.sample(case, 0).requires_grad_(), upstream(case, 0)
    (view,) = torch.autograd.grad(x.sum((2, 3), keepdim=True), x, gradient)
    assert not written_out(view)


def test_backward_keeps_a_gradient_that_is_written_where_it_is():
    case = Case((2, 3, 4, 4), layout="channels_last", pass_="backward")
    call, _, _ = backward(case, lambda x: torch.nn.functional.avg_pool2d(x, (4, 4)))
    assert call().is_contiguous(memory_format=torch.channels_last)


def test_backward_can_be_called_again_and_again():
    case = Case((2, 3, 4, 4), pass_="backward")
    call, x, _ = backward(case, lambda x: x.mean((2, 3), keepdim=True))
    first, second = call(), call()
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()
    assert x.grad is None
    assert not x.requires_grad


def test_backward_runs_the_forward_pass_once_and_before():
    case, calls = Case((2, 3, 4, 4), pass_="backward"), []

    def counted(x):
        calls.append(x)
        return x.mean((2, 3), keepdim=True)

    call, x, _ = backward(case, counted)
    call()
    call()
    assert len(calls) == 1
    assert calls[0].data_ptr() == x.data_ptr()


def test_forward_is_the_function_of_the_input_and_nothing_else():
    case = Case((2, 3, 4, 4))
    x, answer, inputs_seen = inputs.sample(case, 0), torch.zeros(1), []

    def function(given_x):
        inputs_seen.append(given_x)
        return answer

    call = make_call(case, function, x, upstream(case, 0))
    assert inputs_seen == []
    assert call() is answer
    assert call() is answer
    assert [implementation is x for implementation in inputs_seen] == [True, True]


@pytest.mark.parametrize("implementation", EAGER, ids=lambda implementation: implementation.name)
def test_training_records_a_graph_every_time_and_returns_the_written_gradient(implementation):
    case, calls = Case((2, 3, 4, 4), pass_="training"), []
    function = implementation.prepare(case)

    def counted(x):
        calls.append(x.requires_grad)
        return function(x)

    x, gradient = inputs.sample(case, 0), upstream(case, 0)
    call = make_call(case, counted, x, gradient)
    assert calls == []
    first, second = call(), call()
    assert calls == [True, True]
    assert written_out(first)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, (gradient / 16).expand(case.shape))
    assert not x.requires_grad
