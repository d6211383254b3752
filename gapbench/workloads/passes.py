"""One call of each pass, the same for the oracle and for the clocks."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from gapbench.workloads.cases import Case
from gapbench.workloads.truth import Expected, Truth

Function = Callable[[Tensor], Tensor]
"""x (N, C, *spatial) -> y, same dtype and device: (N, C, 1, ..., 1) for an average; with weights an `nn.Module`."""

Call = Callable[[], Tensor]  # one call, without arguments


def make_call(case: Case, function: Function, x: Tensor, gradient: Tensor) -> Call:
    """Return the call that is judged and timed, without arguments.

    ``gradient`` has the output's shape and stands for the gradient from the rest of a network.

    - forward returns ``function(x)``;
    - backward returns the gradient of x; those of weights are computed as well. The graph was recorded once;
    - update returns the first weight after one step of the optimiser;
    - training does all three, and returns the gradient of x.
    """
    weights = _weights(function, case.pass_ != "forward")
    if case.pass_ == "forward":
        return partial(function, x)
    leaf = x.detach().requires_grad_()
    if case.pass_ == "training":
        return _training(function, leaf, gradient, weights)
    y = function(leaf)
    if case.pass_ == "backward":
        return lambda: _written(torch.autograd.grad(y, [leaf, *weights], gradient, retain_graph=True)[0])
    return _update(weights, torch.autograd.grad(y, weights, gradient))


def expected_output(case: Case, truth: Truth, x: Tensor, gradient: Tensor, weight: Tensor | None = None) -> Expected:
    """Return in float64 what `make_call`'s call must return; an update leaves ``weight`` as it was (`_adam`)."""
    if case.pass_ == "forward":
        return truth.forward(case, x)
    if case.pass_ == "update":
        assert weight is not None
        value = weight.detach().cpu().double()
        return Expected(value, value.abs())
    return truth.backward(case, x, gradient)


def first_weight(function: Function) -> Tensor:
    """Return the first weight of a function that has weights, which an update of `make_call` returns."""
    return _weights(function, True)[0].detach()


def _weights(function: Function, require_grad: bool) -> list[nn.Parameter]:
    weights = list(function.parameters()) if isinstance(function, nn.Module) else []
    for weight in weights:  # a ScriptModule does not have the method for all of them
        weight.requires_grad_(require_grad)
    return weights


def _written(gradient: Tensor) -> Tensor:
    """Return ``gradient`` with every byte written: a sum's is a view with stride 0, which costs less than others."""
    sizes = zip(gradient.stride(), gradient.shape, strict=True)
    return gradient.contiguous() if any(stride == 0 and size > 1 for stride, size in sizes) else gradient


def _adam(weights: list[nn.Parameter]) -> torch.optim.Adam:
    return torch.optim.Adam(weights, lr=0.0)  # does all its work, and the weights keep their expected values


def _update(weights: list[nn.Parameter], gradients: tuple[Tensor, ...]) -> Call:
    optimizer = _adam(weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient

    def update() -> Tensor:
        optimizer.step()
        return weights[0].detach()

    return update


def _training(function: Function, leaf: Tensor, gradient: Tensor, weights: list[nn.Parameter]) -> Call:
    optimizer = _adam(weights) if weights else None

    def training() -> Tensor:
        of_leaf, *of_weights = torch.autograd.grad(function(leaf), [leaf, *weights], gradient, allow_unused=True)
        for weight, of_weight in zip(weights, of_weights, strict=True):
            weight.grad = of_weight
        if optimizer is not None:
            optimizer.step()
        return _written(of_leaf)

    return training
