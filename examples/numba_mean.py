"""GAP as hand-written loops, which Numba compiles for this processor; needs `pip install numba`.

Memory is read where it lies, in any layout of float32 or float64: along the rows where positions are adjacent, along
the columns where channels are.
"""

import numba
import torch
from torch import Tensor

BLOCK = 512  # channels whose sums fit the first-level cache while their columns are read

# Sums may be reordered, which vectorising needs, but NaN and infinities are respected. Python's error model would check
# every division.
compiled = numba.njit(fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")

# In the loops, slices avoid the check for negative indices, which would keep them from being vectorised.


@compiled
def average_rows(x, y, window, stride):  # type: ignore[no-untyped-def]
    """Average each of ``len(y)`` rows."""
    for index in range(len(y)):
        row = x[index * stride : index * stride + window]
        total = x.dtype.type(0)
        for r in range(window):
            total += row[r]
        y[index] = total / window


@compiled
def average_columns(x, y, channels, window, stride_n, stride_r):  # type: ignore[no-untyped-def]
    """Average the columns of each image, a block of channels at a time."""
    for first_sum in range(0, len(y), channels):
        for first in range(0, channels, BLOCK):
            width = min(BLOCK, channels - first)
            sums = y[first_sum + first : first_sum + first + width]
            sums[:] = 0
            for r in range(window):
                at = first_sum // channels * stride_n + first + r * stride_r
                row = x[at : at + width]
                for c in range(width):
                    sums[c] += row[c]
            for c in range(width):
                sums[c] /= window


def numba_mean(x: Tensor) -> Tensor:
    """Average (N, C, *spatial) over everything spatial; what has nothing adjacent in memory is copied."""
    matrices = x.flatten(2)
    n, c, window = matrices.shape
    y = torch.empty(n * c, dtype=x.dtype)
    if matrices.stride(1) != 1 and not (matrices.stride(2) == 1 and matrices.stride(0) == c * matrices.stride(1)):
        matrices = matrices.contiguous()
    stride_n, stride_c, stride_r = matrices.stride()
    extent = 1 + (n - 1) * stride_n + (c - 1) * stride_c + (window - 1) * stride_r
    flat = matrices.detach().as_strided((extent,), (1,)).numpy()
    if stride_c == 1:
        average_columns(flat, y.numpy(), c, window, stride_n, stride_r)
    else:
        average_rows(flat, y.numpy(), window, stride_c)
    return y.view(n, c, *[1] * (x.dim() - 2))
