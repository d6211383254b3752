"""Float64 answers that implementations are judged against."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gapbench.workloads.cases import Case


@dataclass(frozen=True, slots=True)
class Expected:
    """The float64 answer for one input, and the scale that errors are measured against, of the same shape.

    ``steps`` is how many numbers one value sums, with which rounding grows. ``own_error`` is the error, relative to the
    scale, of what the answer is about, in its own dtype: others may be wrong by twice that as well.
    """

    value: Tensor
    scale: Tensor
    steps: int = 1
    own_error: float = 0.0


@dataclass(frozen=True, slots=True)
class GlobalAverage:
    """The mean of each row; ``stressed`` tells whether the patterns of `inputs.STRESS` are valid inputs."""

    stressed: bool = True

    def forward(self, case: Case, x: Tensor) -> Expected:
        """Return the means (N, C, 1, ..., 1)."""
        if not case.n:
            value = torch.empty(self.shape(case), dtype=torch.float64)
            return Expected(value, value, case.window)
        # one batch element after the other: a float64 copy of the whole input can be four times its size
        dims = [d - 1 for d in case.spatial_dims]
        values, scales = [], []
        for image in x.cpu():
            exact = image.to(torch.float64, copy=True)  # or abs_ would change a float64 input
            values.append(exact.mean(dims, keepdim=True))
            scales.append(exact.abs_().mean(dims, keepdim=True))
        return Expected(torch.stack(values), torch.stack(scales), case.window)

    def backward(self, case: Case, x: Tensor, gradient: Tensor) -> Expected:  # noqa: ARG002 - the gradient is x's own
        """Return the gradient of x as a view that repeats each row's."""
        value = (gradient.cpu().double() / (case.window or math.nan)).expand(case.shape)
        return Expected(value, value.abs(), case.window)

    def shape(self, case: Case) -> tuple[int, ...]:
        """Return (N, C, 1, ..., 1)."""
        return case.averaged


@dataclass(frozen=True, slots=True)
class Differentiated:
    """The output of a float64 function of torch, with its gradient by autograd.

    ``function(case)`` maps float64 (N, C, *spatial) to the output, whose shape is ``outputs(case)`` and each of whose
    numbers sums ``summed(case)`` others. ``magnitudes(case)`` maps |x| to the sums without cancellation, which rounding
    errors are relative to. Without it errors are relative to the largest value of the sample, since in a chain of
    layers the rounding of each reaches all outputs of the next. ``own(case)`` is the same function in the case's dtype,
    whose error others may double.
    """

    function: Callable[[Case], Callable[[Tensor], Tensor]]
    outputs: Callable[[Case], tuple[int, ...]]
    summed: Callable[[Case], int]
    magnitudes: Callable[[Case], Callable[[Tensor], Tensor]] | None = None
    stressed: bool = False
    own: Callable[[Case], Callable[[Tensor], Tensor]] | None = None

    def forward(self, case: Case, x: Tensor) -> Expected:
        """Return the output for x."""
        own = self.own(case)(x.cpu()) if self.own else None
        x = x.cpu().double()
        value = self.function(case)(x)
        magnitude = self.magnitudes(case)(x.abs()) if self.magnitudes else None
        return self._expected(case, value, magnitude, own)

    def backward(self, case: Case, x: Tensor, gradient: Tensor) -> Expected:
        """Return the gradient of x."""
        own = _gradient(self.own(case), x.cpu(), gradient.cpu()) if self.own else None
        x, gradient = x.detach().cpu().double(), gradient.cpu().double()
        value = _gradient(self.function(case), x, gradient)
        magnitude = _gradient(self.magnitudes(case), x.abs(), gradient.abs()) if self.magnitudes else None
        return self._expected(case, value, magnitude, own)

    def _expected(self, case: Case, value: Tensor, magnitude: Tensor | None, own: Tensor | None) -> Expected:
        if magnitude is None:
            magnitude = value.abs().flatten(1).amax(1).view(-1, *(1 for _ in value.shape[1:])).expand(value.shape)
        scale = magnitude.maximum(value.abs())
        error = 0.0 if own is None else float(((own.detach().double() - value).abs() / scale).nan_to_num().max())
        return Expected(value, scale, self.summed(case), error)

    def shape(self, case: Case) -> tuple[int, ...]:
        """Return the output's shape."""
        return self.outputs(case)


def _gradient(function: Callable[[Tensor], Tensor], x: Tensor, gradient: Tensor) -> Tensor:
    leaf = x.detach().requires_grad_()
    (of_leaf,) = torch.autograd.grad(function(leaf), leaf, gradient)
    return of_leaf


Truth = GlobalAverage | Differentiated
"""The right answer to an operation, for inputs (N, C, *spatial) in any float dtype on any device."""

GLOBAL_AVERAGE = GlobalAverage()
