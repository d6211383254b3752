"""GAP as hand-written loops, which Numba compiles for this processor.

Memory is read as (N, C, window) with one stride each, as by the Triton kernel. Every layout is read without copies:
along the rows where positions are adjacent in memory, along the columns where channels are.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from gapbench.implementations.base import Implementation, implementation, missing, not_off_cpu
from gapbench.machine.telemetry import host
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function

_BLOCK = 512  # channels whose sums fit the first-level cache while their columns are read

Kernel = Callable[..., None]


@functools.cache
def _kernels(parallel: bool) -> tuple[Kernel, Kernel]:
    """Return the kernels for rows and for columns, cached on disk. Only workers call it, as Numba's import is slow."""
    import numba

    indices = numba.prange if parallel else range
    block = _BLOCK
    # Sums may be reordered, which vectorising needs, but NaN and infinities are respected. Python's error model would
    # check every division.
    compiled = numba.njit(parallel=parallel, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy", cache=True)

    # Slices avoid the check for negative indices, which would keep loops from vectorising.

    @compiled
    def rows(x, y, count, window, stride) -> None:  # type: ignore[no-untyped-def]
        for index in indices(count):
            row = x[index * stride : index * stride + window]
            total = x.dtype.type(0)
            for r in range(window):
                total += row[r]
            y[index] = total / window

    @compiled
    def columns(x, y, images, channels, window, stride_n, stride_r) -> None:  # type: ignore[no-untyped-def]
        blocks = (channels + block - 1) // block
        for index in indices(images * blocks):
            first = index % blocks * block
            width = min(block, channels - first)
            image = index // blocks
            sums = y[image * channels + first : image * channels + first + width]
            start = image * stride_n + first
            sums[:] = 0
            whole = window // 4 * 4
            for r in range(0, whole, 4):  # four at a time, so that sums are loaded and stored less often
                at = start + r * stride_r
                x0 = x[at : at + width]
                x1 = x[at + stride_r : at + stride_r + width]
                x2 = x[at + 2 * stride_r : at + 2 * stride_r + width]
                x3 = x[at + 3 * stride_r : at + 3 * stride_r + width]
                for c in range(width):
                    sums[c] += (x0[c] + x1[c]) + (x2[c] + x3[c])
            for r in range(whole, window):
                at = start + r * stride_r
                x0 = x[at : at + width]
                for c in range(width):
                    sums[c] += x0[c]
            for c in range(width):
                sums[c] /= window

    return rows, columns


def _unsupported(case: Case) -> str | None:
    if reason := not_off_cpu(case, "Numba's loop") or missing("numba", "numba"):
        return reason
    if case.dtype in ("float16", "bfloat16"):
        return "Numba has no half-precision types on the CPU; choose --dtype float32 or another implementation"
    if case.threads > (most := len(host.usable_cpus())):  # by Numba's own count
        return f"Numba starts at most one thread per processor; choose --threads {most} or fewer"
    return None


@implementation(
    "numba",
    "a hand-written loop, compiled by Numba, that reads every layout without copies",
    "NUMBA[0].prepare(case)(x)  # from gapbench.implementations.numba import NUMBA",
    unsupported=_unsupported,
    differentiable=False,
    loads=("numba", "numba.core.typed_passes", "scipy.linalg"),  # the first call imports the last for BLAS
)
def _numba_mean(case: Case) -> Function:
    """Return GAP for any of `LAYOUTS`; views without one stride, or with nothing adjacent in memory, are copied."""
    n, c, window = case.n, case.c, case.window
    shape = case.averaged
    if case.elements == 0:
        return lambda x: x.new_full(shape, math.nan)
    parallel = case.threads > 1
    rows, columns = _kernels(parallel)
    if parallel:
        import numba

        numba.set_num_threads(case.threads)

    def numba_mean(x: Tensor) -> Tensor:
        matrices = x.flatten(2)
        stride_n, stride_c, stride_r = matrices.stride()
        merged = n == 1 or c == 1 or stride_n == c * stride_c
        step = stride_n if c == 1 else stride_c  # from channel to channel, and if merged from image to image
        if step != 1 and not (merged and stride_r == 1):
            matrices = matrices.contiguous()
            merged, step, stride_r = True, window, 1
        extent = 1 + sum((size - 1) * stride for size, stride in zip(matrices.shape, matrices.stride(), strict=True))
        flat = matrices.as_strided((extent,), (1,)).numpy()
        y = torch.empty(n * c, dtype=x.dtype)
        if merged and stride_r == 1:
            rows(flat, y.numpy(), n * c, window, step)
        else:
            images, channels = (1, n * c) if merged else (n, c)  # one image of N·C channels has the longest columns
            columns(flat, y.numpy(), images, channels, window, stride_n, stride_r)
        return y.view(shape)

    return numba_mean


NUMBA: tuple[Implementation, ...] = (_numba_mean,)
