"""GAP as one Triton kernel: every input element is read once, whatever the layout.

Memory is seen as (N, C, window) with one stride each. One kernel serves all layouts; what differs is the
tile of channels and positions that a program sums: long in positions where those are adjacent in memory (row
tile), long in channels where those are (column tile). A second kernel with its axes swapped would gain
nothing: for sm_90 it compiles to the same machine code.
"""

import itertools
import math
from functools import partial

import torch
from torch import Tensor

from gapbench.cases import Case
from gapbench.implementations.base import Function, Implementation

TILE = 2048
"""Elements a program holds at once: 16 a thread with four warps of 32, two 128-bit loads of a half type."""

try:
    import triton
    import triton.language as tl
except ImportError:  # a supported state of affairs, which `_unsupported` explains
    INSTALLED = False
else:
    INSTALLED = True

    @triton.jit  # type: ignore[untyped-decorator]
    def gap_kernel(  # type: ignore[no-untyped-def]
        x,
        y,
        stride_n,
        stride_c,
        stride_r,
        channels,
        window,
        ACCUMULATOR: tl.constexpr,  # noqa: N803 - upper case is Triton's custom for compile-time constants
        BLOCK_C: tl.constexpr,  # noqa: N803
        BLOCK_R: tl.constexpr,  # noqa: N803
        LOOPED: tl.constexpr,  # noqa: N803
    ) -> None:
        """Average BLOCK_C channels of one image over the window.

        ``x`` points to (N, channels, window) in the given strides, ``y`` to contiguous (N, channels).
        Programs are numbered image by image. The tile covers the window, or where LOOPED slides along it.
        """
        blocks = tl.cdiv(channels, BLOCK_C)
        # Beyond 2^31 elements 32-bit offsets wrap around, so offsets are 64-bit from the first product on.
        image = (tl.program_id(0) // blocks).to(tl.int64)
        channel = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
        position = tl.arange(0, BLOCK_R).to(tl.int64)
        exists = channel < channels
        rows = x + image * stride_n + channel[:, None] * stride_c

        if LOOPED:
            # Tile added to tile, and one reduction across threads at the end.
            sums = tl.zeros((BLOCK_C, BLOCK_R), ACCUMULATOR)
            for start in range(0, window, BLOCK_R):
                r = start + position
                inside = exists[:, None] & (r < window)[None, :]
                sums += tl.load(rows + r[None, :] * stride_r, mask=inside, other=0.0).to(ACCUMULATOR)
        else:
            inside = exists[:, None] & (position < window)[None, :]
            sums = tl.load(rows + position[None, :] * stride_r, mask=inside, other=0.0).to(ACCUMULATOR)

        # Dividing by the integer keeps float64 exact: a scale passed as an argument would arrive as float32.
        mean = tl.sum(sums, axis=1) / window
        tl.store(y + image * channels + channel, mean.to(y.dtype.element_ty), mask=exists)


def tile(channels: int, window: int, *, column: bool) -> dict[str, int | bool]:
    """Return `gap_kernel`'s tile, as its constants, where channels (``column``) or positions are adjacent."""
    power = triton.next_power_of_2
    if column:
        block_c = min(64, power(channels))
        block_r = min(TILE // block_c, power(window))
    else:
        block_r = min(1024, power(window))
        block_c = min(TILE // block_r, power(channels))
    return {"BLOCK_C": block_c, "BLOCK_R": block_r, "LOOPED": block_r < window}


def _prepare(case: Case) -> Function:
    """Return GAP for (N, C, *spatial) inputs of ``case``'s shape and dtype, in any strides.

    An input whose spatial dimensions do not collapse into one stride is copied (by `Tensor.flatten`); every
    other is read where it lies. Like every Triton launch it takes place on the current device, x's own.
    """
    n, c, window = case.n, case.c, case.window
    shape = (n, c, *(1 for _ in case.spatial))
    if case.elements == 0:
        return lambda x: x.new_full(shape, math.nan)
    accumulator = tl.float64 if case.dtype == "float64" else tl.float32

    def launch(column: bool, merged: bool) -> partial[object]:
        images, channels = (1, n * c) if merged else (n, c)
        constants = tile(channels, window, column=column)
        programs = images * triton.cdiv(channels, constants["BLOCK_C"])
        return partial(
            gap_kernel[programs,],
            channels=channels,
            window=window,
            ACCUMULATOR=accumulator,
            **constants,
        )

    launches = {key: launch(*key) for key in itertools.product((False, True), repeat=2)}

    def gap(x: Tensor) -> Tensor:
        rows = x.flatten(2)
        stride_n, stride_c, stride_r = rows.stride()
        y = torch.empty(shape, dtype=x.dtype, device=x.device)
        # One image of N·C channels, where one stride steps through both, fills the tiles of small C.
        launches[stride_c < stride_r, stride_n == c * stride_c](rows, y, stride_n, stride_c, stride_r)
        return y

    return gap


def _unsupported(case: Case) -> str | None:
    if case.device == "cpu":
        return "triton kernels need a GPU; this case is on the CPU, choose a GPU such as --device cuda"
    if case.pass_ == "backward":
        return "triton has no backward kernel yet; choose --pass forward or another implementation"
    if not INSTALLED:
        return "triton is not installed; run pip install 'gapbench[triton]'"
    return None


TRITON = Implementation(
    "triton",
    "triton",
    "one Triton kernel with a float32 accumulator that reads every layout where it lies",
    "TRITON.prepare(case)(x)  # from gapbench.implementations.triton import TRITON",
    _prepare,
    _unsupported,
)
