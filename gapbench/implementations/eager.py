"""GAP as people spell it with PyTorch's own operators."""

import torch
import torch.nn.functional as F

from gapbench.cases import Case
from gapbench.implementations.base import Function, Implementation


def _keepdim_shape(case: Case) -> tuple[int, ...]:
    return (case.n, case.c, *(1 for _ in case.spatial))


def _mean(case: Case) -> Function:
    dims = case.spatial_dims
    return lambda x: x.mean(dims, keepdim=True)


def _mean_flat(case: Case) -> Function:
    shape = _keepdim_shape(case)
    return lambda x: x.flatten(2).mean(2).view(shape)


def _sum_scale(case: Case) -> Function:
    dims, scale = case.spatial_dims, 1 / case.window if case.window else float("nan")
    return lambda x: x.sum(dims, keepdim=True) * scale


def _sum_float32(case: Case) -> Function:
    dims, scale = case.spatial_dims, 1 / case.window if case.window else float("nan")
    accumulator = torch.float64 if case.dtype == "float64" else torch.float32
    return lambda x: (x.sum(dims, keepdim=True, dtype=accumulator) * scale).to(x.dtype)


def _adaptive(case: Case) -> Function:
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(case.spatial) - 1]
    return lambda x: pool(x, 1)


def _avg_pool(case: Case) -> Function:
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(case.spatial) - 1]
    kernel = case.spatial
    return lambda x: pool(x, kernel)


def _avg_pool_unsupported(case: Case) -> str | None:
    if not case.c * case.window:
        return "avg_pool refuses empty channels or windows; use mean"
    if case.device == "cpu" and case.dtype in ("float16", "bfloat16") and len(case.spatial) == 3:
        return "avg_pool3d has no half-precision code for the CPU; use mean"
    return None


def _matmul(case: Case) -> Function:
    shape = _keepdim_shape(case)
    weights = torch.full((case.window,), 1 / max(case.window, 1), dtype=getattr(torch, case.dtype), device=case.device)
    return lambda x: (x.flatten(2) @ weights).view(shape)


EAGER: tuple[Implementation, ...] = (
    Implementation(
        "mean",
        "eager",
        "mean over the spatial dimensions; ATen's adaptive pooling to 1 is the same code",
        "x.mean((2, 3), keepdim=True)",
        _mean,
    ),
    Implementation(
        "mean_flat",
        "eager",
        "mean over flattened spatial dimensions; flattening copies where they do not collapse",
        "x.flatten(2).mean(2)[:, :, None, None]",
        _mean_flat,
    ),
    Implementation(
        "sum_scale",
        "eager",
        "sum, then times 1/HW; the sum is stored in the input's dtype and overflows in float16",
        "x.sum((2, 3), keepdim=True) * (1 / (x.shape[2] * x.shape[3]))",
        _sum_scale,
    ),
    Implementation(
        "sum_float32",
        "eager",
        "sum into float32, then times 1/HW and back to the input's dtype",
        "(x.sum((2, 3), keepdim=True, dtype=torch.float32) * (1 / (x.shape[2] * x.shape[3]))).to(x.dtype)",
        _sum_float32,
    ),
    Implementation(
        "adaptive",
        "eager",
        "adaptive average pooling to size 1, the tutorials' choice (nn.AdaptiveAvgPool2d(1))",
        "F.adaptive_avg_pool2d(x, 1)",
        _adaptive,
    ),
    Implementation(
        "avg_pool",
        "eager",
        "windowed average pooling with a window as large as the input",
        "F.avg_pool2d(x, x.shape[2:])",
        _avg_pool,
        _avg_pool_unsupported,
    ),
    Implementation(
        "matmul",
        "eager",
        "matrix-vector product with a constant vector of 1/HW",
        "(x.flatten(2) @ torch.full((x[0, 0].numel(),), 1 / x[0, 0].numel(), dtype=x.dtype))[:, :, None, None]",
        _matmul,
    ),
)
