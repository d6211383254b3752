"""``torch.ops.gapbench.gap``: the kernels as an operator of PyTorch, so that autograd and torch.compile compose.

Plans are arguments, as text, so that a traced graph shows which kernel it runs. Eager calls pay for the operator: tens
of microseconds on the host, which the clock ``host_call`` shows, and which graphs avoid.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.library import triton_op, wrap_triton

from gapbench.implementations.triton import kernels
from gapbench.implementations.triton.plans import TILES, Plan, cdiv, power


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of ``kernel``: the number of programs, their run-time arguments and compile-time constants."""

    kernel: Any
    programs: int
    arguments: dict[str, Any]
    constants: dict[str, Any]
    warps: int

    @property
    def tile(self) -> int:
        """The number of elements that a program holds at once."""
        return int(self.constants.get("BLOCK") or self.constants["BLOCK_C"] * self.constants["BLOCK_R"])


def _merged(x: Tensor) -> tuple[int, int, dict[str, int]]:
    """Return images, channels and strides of ``x`` (N, C, window), as one image where one stride serves N and C."""
    n, c, _ = x.shape
    strides = dict(zip(("stride_n", "stride_c", "stride_r"), x.stride(), strict=True))
    if n == 1 or strides["stride_n"] == c * strides["stride_c"]:
        return 1, n * c, strides | {"stride_n": 0}
    return n, c, strides


def _tile(plan: Plan, x: Tensor, y: Tensor, divisor: int) -> Launch:
    images, channels, strides = _merged(x)
    window = x.shape[2]
    chunk = plan.block_r * cdiv(window, plan.parts * plan.block_r)
    arguments = {"x": x, "y": y, **strides, "rows": images * channels, "channels": channels, "window": window}
    arguments |= {"divisor": divisor, "chunk": chunk, "parts": plan.parts}
    constants = {"BLOCK_C": plan.block_c, "BLOCK_R": plan.block_r, "LOOPED": chunk > plan.block_r}
    programs = images * cdiv(channels, plan.block_c) * plan.parts
    return Launch(kernels.tile_kernel, programs, arguments, constants, plan.warps)


def _partials(plan: Plan, x: Tensor) -> Tensor:
    accumulator = torch.float64 if x.dtype == torch.float64 else torch.float32
    return torch.empty((plan.parts, x.shape[0] * x.shape[1]), dtype=accumulator, device=x.device)


def _two_pass(plan: Plan, x: Tensor, y: Tensor) -> list[Launch]:
    partials = _partials(plan, x)
    parts = power(plan.parts)
    # few rows, so that a tile is small
    second = Plan("column", max(1, min(power(partials.shape[1]), TILES[-1] // parts)), parts, warps=1)
    columns = partials.T[None]  # one image, partial sums of a row one stride apart
    return [_tile(plan, x, partials, divisor=1), _tile(second, columns, y, divisor=x.shape[2])]


def _single_pass(plan: Plan, x: Tensor, y: Tensor) -> list[Launch]:
    first = _tile(plan, x, y, divisor=1)
    # Zeroed in every call, as in ATen's own reduction: counters that outlive a call would couple calls on different
    # streams, and an aborted call would corrupt the next.
    arrived = torch.zeros(first.programs // plan.parts, dtype=torch.int32, device=x.device)
    arguments = {key: value for key, value in first.arguments.items() if key != "divisor"}
    arguments |= {"partials": _partials(plan, x), "arrived": arrived}
    constants = {**first.constants, "BLOCK_P": power(plan.parts)}
    return [Launch(kernels.single_pass_kernel, first.programs, arguments, constants, plan.warps)]


def _stretch(plan: Plan, kernel: Any, window: int, arguments: dict[str, Any], **more: int) -> Launch:
    constants = {"WINDOW": window, "BLOCK_C": plan.block_c, "BLOCK": power(plan.block_c * window), **more}
    return Launch(kernel, cdiv(arguments["rows"], plan.block_c), arguments, constants, plan.warps)


def forward_launches(plan: Plan, x: Tensor, y: Tensor) -> list[Launch]:
    """Return the launches that average ``x`` (N, C, window), in any strides, into contiguous ``y`` (N, C, ...)."""
    if plan.kernel == "split_two_pass":
        return _two_pass(plan, x, y)
    if plan.kernel == "split_single_pass":
        return _single_pass(plan, x, y)
    if plan.kernel == "flat":
        arguments = {"x": x.contiguous(), "y": y, "rows": x.shape[0] * x.shape[1]}
        return [_stretch(plan, kernels.flat_kernel, x.shape[2], arguments, BLOCK_R=plan.block_r)]
    return [_tile(plan, x, y, divisor=x.shape[2])]


def backward_launches(plan: Plan, gradient: Tensor, out: Tensor) -> list[Launch]:
    """Return the launch that spreads contiguous ``gradient`` (N, C, ...) over ``out`` (N, C, window)."""
    images, channels, strides = _merged(out)
    window = out.shape[2]
    if plan.kernel == "spread_flat" and out.is_contiguous():
        flat = {"gradient": gradient, "out": out, "rows": channels}
        return [_stretch(plan, kernels.spread_flat_kernel, window, flat)]
    parts = cdiv(window, plan.block_r)
    arguments = {"gradient": gradient, "out": out, **strides, "channels": channels, "window": window, "parts": parts}
    programs = images * cdiv(channels, plan.block_c) * parts
    constants = {"BLOCK_C": plan.block_c, "BLOCK_R": plan.block_r}
    return [Launch(kernels.spread_kernel, programs, arguments, constants, plan.warps)]


def _run(launch: Launch) -> None:
    kernel = launch.kernel
    wrap_triton(kernel)[(launch.programs,)](**launch.arguments, **launch.constants, num_warps=launch.warps)


@triton_op("gapbench::gap", mutates_args=())
def gap(x: Tensor, plan: str, backward_plan: str) -> Tensor:  # noqa: ARG001 - the second plan is for `_keep`
    """Average ``x`` (N, C, *spatial), in any strides, over its spatial dimensions; returns (N, C, 1, ..., 1).

    Sums in float32, or float64 for float64. Only inputs whose spatial dimensions do not collapse into one stride are
    copied. Plans are the texts of `Plan`. Runs on the current device, which must be that of x.
    """
    y = x.new_empty((x.shape[0], x.shape[1], *(1 for _ in x.shape[2:])))
    if x.numel() == 0:
        return y.fill_(math.nan)
    for launch in forward_launches(Plan.parse(plan), x.flatten(2), y):
        _run(launch)
    return y


@triton_op("gapbench::gap_backward", mutates_args=())
def gap_backward(gradient: Tensor, shape: Sequence[int], order: Sequence[int], plan: str) -> Tensor:
    """Return gradient / window for every element of ``shape``, in memory by ``order`` (0: N, 1: C, 2: window)."""
    n, c, *spatial = shape
    sizes = (n, c, math.prod(spatial))
    stored = gradient.new_empty([sizes[dim] for dim in order])
    out = stored.permute([order.index(dim) for dim in range(3)])
    if stored.numel():
        for launch in backward_launches(Plan.parse(plan), gradient.contiguous(), out):
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
