"""``torch.ops.gapbench.gap``: the kernels as an operator of PyTorch, so that autograd and torch.compile compose.

Plans are arguments, as text, so that a traced graph says which kernel it runs. Eager calls pay for the operator:
tens of microseconds of dispatch and autograd bookkeeping on the host, which the clock ``host_call`` shows, and which a
compiled graph or a CUDA graph does not pay.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import triton_op, wrap_triton

from gapbench.implementations.triton import launches
from gapbench.implementations.triton.launches import Launch
from gapbench.implementations.triton.plans import Plan


def _run(launch: Launch) -> None:
    kernel = launch.kernel
    wrap_triton(kernel)[(launch.programs,)](**launch.arguments, **launch.constants, num_warps=launch.warps)


@triton_op("gapbench::gap", mutates_args=())
def gap(x: Tensor, plan: str, backward_plan: str) -> Tensor:  # noqa: ARG001 - the second plan is for `_keep`
    """Average ``x`` (N, C, *spatial), in any strides, over its spatial dimensions; returns (N, C, 1, ..., 1).

    Sums in float32, or float64 for float64. An empty window averages to NaN, like `Tensor.mean`. An input whose
    spatial dimensions do not collapse into one stride is copied (by `Tensor.flatten`); every other is read where
    it lies. Plans are the texts of `Plan`. Like every launch of Triton's it takes place on the current device, which
    should be x's.
    """
    y = x.new_empty((x.shape[0], x.shape[1], *(1 for _ in x.shape[2:])))
    if x.numel() == 0:
        return y.fill_(math.nan)
    for launch in launches.forward(Plan.parse(plan), x.flatten(2), y):
        _run(launch)
    return y


@triton_op("gapbench::gap_backward", mutates_args=())
def gap_backward(gradient: Tensor, shape: Sequence[int], order: Sequence[int], plan: str) -> Tensor:
    """Return gradient / window, from (N, C, 1, ..., 1), for every element of ``shape`` (N, C, *spatial).

    ``order`` names the dimensions (0: N, 1: C, 2: the window) from outermost to innermost in the result's memory.
    """
    n, c, *spatial = shape
    sizes = (n, c, math.prod(spatial))
    stored = gradient.new_empty([sizes[dim] for dim in order])
    out = stored.permute([order.index(dim) for dim in range(3)])
    if stored.numel():
        for launch in launches.backward(Plan.parse(plan), gradient.contiguous(), out):
            _run(launch)
    return out.view(n, c, *spatial)


def storage_order(x: Tensor) -> list[int]:
    """Return the dimensions N, C and window of ``x`` (N, C, *spatial) as `gap_backward` takes them."""
    innermost = min((stride for stride, size in zip(x.stride()[2:], x.shape[2:], strict=True) if size > 1), default=1)
    strides = (x.stride(0), x.stride(1), innermost)
    return sorted(range(3), key=lambda dim: -strides[dim])


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 - torch.library's signature
    x, plan, backward_plan = inputs
    ctx.shape, ctx.order = x.shape, storage_order(x)
    ctx.plan, ctx.backward_plan = plan, backward_plan


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    return gap_backward(gradient, list(ctx.shape), ctx.order, ctx.backward_plan), None, None


torch.library.register_autograd("gapbench::gap", _differentiate, setup_context=_keep)
