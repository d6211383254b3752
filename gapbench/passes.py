"""What one call is, forward and backward: the same for the oracle and for the clocks."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gapbench.cases import Case
from gapbench.implementations import Function

Call = Callable[[], Tensor]
"""One call, without arguments."""


def bind(case: Case, function: Function, x: Tensor, gradient: Tensor) -> Call:
    """Return the call that is judged and timed, without arguments.

    forward: ``function(x)``. backward: the gradient of x alone, for ``gradient`` (N, C, 1, ..., 1) sent back through
    a graph that was recorded once, with every byte of it written: the gradient of a sum is a view with stride 0
    that nobody has paid for yet, and comparing it with a written one would be comparing nothing with something.
    """
    if case.pass_ == "forward":
        return partial(function, x)
    leaf = x.detach().requires_grad_()
    y = function(leaf)

    def backward() -> Tensor:
        (grad,) = torch.autograd.grad(y, leaf, gradient, retain_graph=True)
        expanded = any(stride == 0 and size > 1 for stride, size in zip(grad.stride(), grad.shape, strict=True))
        return grad.contiguous() if expanded else grad

    return backward
