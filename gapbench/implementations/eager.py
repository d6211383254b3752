"""GAP as users write it with PyTorch's own operators, and with NumPy on the tensor's memory."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gapbench.implementations.base import Implementation, implementation, no_half_windows, not_off_cpu
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function

_eager = partial(implementation, "eager")


@_eager(
    "mean over the spatial dimensions; ATen's adaptive pooling to 1 is the same code", "x.mean((2, 3), keepdim=True)"
)
def _mean(case: Case) -> Function:
    dims = case.spatial_dims
    return lambda x: x.mean(dims, keepdim=True)


@_eager(
    "mean over one spatial dimension after the other, innermost first, rounded to the input's dtype in between",
    "x.mean(3, keepdim=True).mean(2, keepdim=True)",
)
def _two_stage_mean(case: Case) -> Function:
    inwards = case.spatial_dims[::-1]

    def two_stage_mean(x: Tensor) -> Tensor:
        for dim in inwards:
            x = x.mean(dim, keepdim=True)
        return x

    return two_stage_mean


@_eager(
    "mean over flattened spatial dimensions; flattening copies where they do not collapse",
    "x.flatten(2).mean(2)[:, :, None, None]",
)
def _mean_flat(case: Case) -> Function:
    shape = case.averaged
    return lambda x: x.flatten(2).mean(2).view(shape)


@_eager(
    "sum, then times 1/HW; the sum is stored in the input's dtype and overflows in float16",
    "x.sum((2, 3), keepdim=True) * (1 / (x.shape[2] * x.shape[3]))",
)
def _sum_scale(case: Case) -> Function:
    dims, scale = case.spatial_dims, 1 / case.window if case.window else float("nan")
    return lambda x: x.sum(dims, keepdim=True) * scale


@_eager(
    "einsum, which is a sum, then times 1/HW; overflows in float16 like sum_scale",
    "(torch.einsum('nchw->nc', x) * (1 / x[0, 0].numel()))[:, :, None, None]",
)
def _einsum(case: Case) -> Function:
    scale = 1 / case.window if case.window else float("nan")
    shape = case.averaged
    equation = f"nc{'dhw'[-len(case.spatial) :]}->nc"
    return lambda x: (torch.einsum(equation, x) * scale).view(shape)


@_eager(
    "sum into float32, then times 1/HW and back to the input's dtype",
    "(x.sum((2, 3), keepdim=True, dtype=torch.float32) * (1 / (x.shape[2] * x.shape[3]))).to(x.dtype)",
)
def _sum_float32(case: Case) -> Function:
    dims, scale = case.spatial_dims, 1 / case.window if case.window else float("nan")
    accumulator = torch.float64 if case.dtype == "float64" else torch.float32
    return lambda x: (x.sum(dims, keepdim=True, dtype=accumulator) * scale).to(x.dtype)


@_eager(
    "adaptive average pooling to size 1, the tutorials' choice (nn.AdaptiveAvgPool2d(1))", "F.adaptive_avg_pool2d(x, 1)"
)
def _adaptive(case: Case) -> Function:
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(case.spatial) - 1]
    return lambda x: pool(x, 1)


def _avg_pool_unsupported(case: Case) -> str | None:
    if not case.c * case.window:
        return "avg_pool refuses empty channels or windows; use mean"
    return no_half_windows(case, "avg_pool3d")


@_eager(
    "windowed average pooling with a window as large as the input",
    "F.avg_pool2d(x, x.shape[2:])",
    unsupported=_avg_pool_unsupported,
)
def _avg_pool(case: Case) -> Function:
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(case.spatial) - 1]
    kernel = case.spatial
    return lambda x: pool(x, kernel)


@_eager(
    "avg_pool with a stride of 1: the same result, but torch.compile generates no code for windows above 25",
    "F.avg_pool2d(x, x.shape[2:], stride=1)",
    unsupported=_avg_pool_unsupported,
)
def _avg_pool_stride1(case: Case) -> Function:
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(case.spatial) - 1]
    kernel = case.spatial
    return lambda x: pool(x, kernel, stride=1)


@_eager(
    "matrix-vector product with a constant vector of 1/HW",
    "(x.flatten(2) @ torch.full((x[0, 0].numel(),), 1 / x[0, 0].numel(), dtype=x.dtype))[:, :, None, None]",
)
def _matmul(case: Case) -> Function:
    shape = case.averaged
    weights = torch.full((case.window,), 1 / max(case.window, 1), dtype=getattr(torch, case.dtype), device=case.device)
    return lambda x: (x.flatten(2) @ weights).view(shape)


@_eager(
    "convolution of every channel with a constant kernel of 1/HW",
    "F.conv2d(x, torch.full((x.shape[1], 1, *x.shape[2:]), 1 / x[0, 0].numel(), dtype=x.dtype), groups=x.shape[1])",
    unsupported=lambda case: (
        None if case.c * case.window else "convolutions refuse empty channels or windows; use mean"
    ),
)
def _depthwise_conv(case: Case) -> Function:
    # the kernel is rounded to the input's dtype: 1/HW is subnormal in float16 for windows above 2**14
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(case.spatial) - 1]
    channels = case.c
    weights = torch.full(
        (channels, 1, *case.spatial), 1 / case.window, dtype=getattr(torch, case.dtype), device=case.device
    )
    return lambda x: convolve(x, weights, groups=channels)


EAGER: tuple[Implementation, ...] = (
    _mean, _two_stage_mean, _mean_flat, _sum_scale, _einsum, _sum_float32, _adaptive, _avg_pool, _avg_pool_stride1,
    _matmul, _depthwise_conv,
)  # fmt: skip


def _numpy_unsupported(case: Case) -> str | None:
    if case.dtype == "bfloat16":
        return "NumPy has no bfloat16; choose --dtype float16 or another implementation"
    if not case.window:
        return "NumPy warns at the mean of an empty window; use mean for empty windows"
    return not_off_cpu(case, "NumPy")


@implementation(
    "numpy",
    "NumPy's mean on the tensor's memory, in one thread; float16 is summed in float32",
    "torch.from_numpy(x.numpy().mean((2, 3), keepdims=True))",
    unsupported=_numpy_unsupported,
    differentiable=False,
)
def _numpy_mean(case: Case) -> Function:
    dims = case.spatial_dims
    return lambda x: torch.from_numpy(x.numpy().mean(dims, keepdims=True))


NUMPY: tuple[Implementation, ...] = (_numpy_mean,)
