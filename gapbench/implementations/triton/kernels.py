"""The Triton kernels. They read every input element once and write every output element once, in any layout.

Memory is addressed as (N, C, window) with one stride each. One tile kernel serves every layout: rows and columns differ
only in the tile of channels and positions that a program sums, long where memory is adjacent.

Beyond 2^31 elements 32-bit offsets wrap around, so offsets are 64-bit from the first product on. Dividing by the
integer window keeps float64 exact: a scale passed as an argument would arrive as float32.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# ruff: noqa: N803, N806 - upper case is Triton's custom for compile-time constants

import triton
import triton.language as tl


@triton.jit
def _window_sums(
    rows, exists, first, chunk, window, stride_r, ACCUMULATOR, BLOCK_R: tl.constexpr, LOOPED: tl.constexpr
):
    """Return the sums (BLOCK_C,) of ``chunk`` positions from ``first`` on, cut off at the window's end.

    The tile covers the chunk, or where LOOPED slides along it; then chunk is a multiple of BLOCK_R.
    """
    position = first + tl.arange(0, BLOCK_R)
    if LOOPED:
        # tiles are added up, with one reduction across threads at the end
        sums = tl.zeros((exists.shape[0], BLOCK_R), ACCUMULATOR)
        for start in range(0, chunk, BLOCK_R):
            r = start + position
            inside = exists[:, None] & (r < window)[None, :]
            sums += tl.load(rows + r[None, :] * stride_r, mask=inside, other=0.0).to(ACCUMULATOR)
    else:
        inside = exists[:, None] & (position < window)[None, :]
        sums = tl.load(rows + position[None, :] * stride_r, mask=inside, other=0.0).to(ACCUMULATOR)
    return tl.sum(sums, axis=1)


@triton.jit
def tile_kernel(
    x, y, stride_n, stride_c, stride_r, rows, channels, window, divisor, chunk, parts,
    BLOCK_C: tl.constexpr, BLOCK_R: tl.constexpr, LOOPED: tl.constexpr,
):  # fmt: skip
    """Sum one part of the window of BLOCK_C channels of one image, and divide by ``divisor``.

    ``x`` points to (N, channels, window) in the given strides, ``y`` to contiguous (parts, rows = N·channels).
    Programs are numbered image by image, block by block, part by part. With one part and the window as the divisor
    this is the average; with several it is the first pass of a split, and with x the partial sums its second.
    """
    ACCUMULATOR: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    part = (tl.program_id(0) % parts).to(tl.int64)
    block = tl.program_id(0) // parts
    blocks = tl.cdiv(channels, BLOCK_C)
    image = (block // blocks).to(tl.int64)
    channel = (block % blocks).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    exists = channel < channels
    source = x + image * stride_n + channel[:, None] * stride_c
    sums = _window_sums(source, exists, part * chunk, chunk, window, stride_r, ACCUMULATOR, BLOCK_R, LOOPED)
    tl.store(y + part * rows + image * channels + channel, (sums / divisor).to(y.dtype.element_ty), mask=exists)


@triton.jit
def single_pass_kernel(
    x, y, partials, arrived, stride_n, stride_c, stride_r, rows, channels, window, chunk, parts,
    BLOCK_C: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_P: tl.constexpr, LOOPED: tl.constexpr,
):  # fmt: skip
    """Do as `tile_kernel` with several parts; the program that finishes a block's last part adds the parts up.

    ``partials`` points to (parts, rows) of the accumulator's type, ``arrived`` to one zero for each block. The last
    program adds in the order of the parts, so the result does not depend on which one that is. BLOCK_P >= parts.
    """
    ACCUMULATOR: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    part = (tl.program_id(0) % parts).to(tl.int64)
    block = tl.program_id(0) // parts
    blocks = tl.cdiv(channels, BLOCK_C)
    image = (block // blocks).to(tl.int64)
    channel = (block % blocks).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    exists = channel < channels
    source = x + image * stride_n + channel[:, None] * stride_c
    row = image * channels + channel
    sums = _window_sums(source, exists, part * chunk, chunk, window, stride_r, ACCUMULATOR, BLOCK_R, LOOPED)
    tl.store(partials + part * rows + row, sums, mask=exists)
    # All threads' stores come before the release (Triton 3.7 inserts this barrier itself, but does not guarantee it),
    # and the acquire comes before the loads, which bypass the first-level cache: it is not coherent between programs.
    tl.debug_barrier()
    if tl.atomic_add(arrived + block.to(tl.int64), 1, sem="acq_rel", scope="gpu") == parts - 1:
        p = tl.arange(0, BLOCK_P).to(tl.int64)
        inside = exists[:, None] & (p < parts)[None, :]
        finished = tl.load(partials + row[:, None] + p[None, :] * rows, mask=inside, other=0.0, cache_modifier=".cg")
        tl.store(y + row, (tl.sum(finished, axis=1) / window).to(y.dtype.element_ty), mask=exists)


@triton.jit
def flat_kernel(x, y, rows, WINDOW: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK: tl.constexpr):
    """Average BLOCK_C rows of a contiguous (rows, WINDOW), read as one flat stretch and then cut into rows.

    Rows of 49 half floats start anywhere; the stretch of BLOCK_C of them is aligned and read 16 bytes at a time. It
    goes through shared memory into a tile of (BLOCK_C, BLOCK_R), BLOCK_R >= WINDOW. BLOCK >= BLOCK_C·WINDOW.
    """
    ACCUMULATOR: tl.constexpr = tl.float64 if x.dtype.element_ty == tl.float64 else tl.float32
    first = tl.program_id(0).to(tl.int64) * BLOCK_C
    flat = tl.arange(0, BLOCK)
    inside = (flat < BLOCK_C * WINDOW) & (flat < (rows - first) * WINDOW)
    stretch = tl.load(x + first * WINDOW + flat, mask=inside, other=0.0)
    row, r = tl.arange(0, BLOCK_C), tl.arange(0, BLOCK_R)
    # positions beyond a row's end are masked below; indices beyond the stretch would be out of bounds
    index = tl.minimum(row[:, None] * WINDOW + r[None, :], BLOCK - 1)
    values = tl.gather(stretch, tl.reshape(index, (BLOCK_C * BLOCK_R,)), axis=0)
    values = tl.where(r[None, :] < WINDOW, tl.reshape(values, (BLOCK_C, BLOCK_R)).to(ACCUMULATOR), 0.0)
    mean = tl.sum(values, axis=1) / WINDOW
    tl.store(y + first + row, mean.to(y.dtype.element_ty), mask=row < rows - first)


@triton.jit
def spread_kernel(
    gradient, out, stride_n, stride_c, stride_r, channels, window, parts, BLOCK_C: tl.constexpr, BLOCK_R: tl.constexpr
):
    """Write gradient / window to BLOCK_R positions of BLOCK_C channels of one image.

    ``gradient`` points to contiguous (N, channels), ``out`` to (N, channels, window). Programs are as in `tile_kernel`.
    """
    ACCUMULATOR: tl.constexpr = tl.float64 if out.dtype.element_ty == tl.float64 else tl.float32
    position = (tl.program_id(0) % parts).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    block = tl.program_id(0) // parts
    blocks = tl.cdiv(channels, BLOCK_C)
    image = (block // blocks).to(tl.int64)
    channel = (block % blocks).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    exists = channel < channels
    g = tl.load(gradient + image * channels + channel, mask=exists, other=0.0).to(ACCUMULATOR) / window
    target = out + image * stride_n + channel[:, None] * stride_c + position[None, :] * stride_r
    values = tl.broadcast_to(g.to(out.dtype.element_ty)[:, None], (BLOCK_C, BLOCK_R))
    tl.store(target, values, mask=exists[:, None] & (position < window)[None, :])


@triton.jit
def spread_flat_kernel(gradient, out, rows, WINDOW: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK: tl.constexpr):
    """Write gradient / WINDOW to BLOCK_C rows of a contiguous (rows, WINDOW) as one flat, aligned stretch."""
    ACCUMULATOR: tl.constexpr = tl.float64 if out.dtype.element_ty == tl.float64 else tl.float32
    first = tl.program_id(0).to(tl.int64) * BLOCK_C
    flat = tl.arange(0, BLOCK)
    inside = (flat < BLOCK_C * WINDOW) & (flat < (rows - first) * WINDOW)
    g = tl.load(gradient + first + flat // WINDOW, mask=inside, other=0.0).to(ACCUMULATOR) / WINDOW
    tl.store(out + first * WINDOW + flat, g.to(out.dtype.element_ty), mask=inside)
