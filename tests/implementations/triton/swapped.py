"""`tile_kernel` with the axes of its tile swapped, to be compared with it; for windows that one tile covers."""

# ruff: noqa: N803

import triton
import triton.language as tl


@triton.jit
def tile_kernel(
    x,
    y,
    stride_n,
    stride_c,
    stride_r,
    rows,
    channels,
    window,
    divisor,
    chunk,
    parts,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    LOOPED: tl.constexpr,
):
    tl.static_assert(not LOOPED)
    part = (tl.program_id(0) % parts).to(tl.int64)
    block = tl.program_id(0) // parts
    blocks = tl.cdiv(channels, BLOCK_C)
    image = (block // blocks).to(tl.int64)
    channel = (block % blocks).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    exists = channel < channels
    position = part * chunk + tl.arange(0, BLOCK_R)
    source = x + image * stride_n + channel[None, :] * stride_c
    inside = exists[None, :] & (position < window)[:, None]
    values = tl.load(source + position[:, None] * stride_r, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(values, axis=0) / divisor
    tl.store(y + part * rows + image * channels + channel, mean.to(y.dtype.element_ty), mask=exists)
