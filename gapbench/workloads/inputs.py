"""Seeded input tensors, in any layout and at a random offset in memory, and a guard against changes."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gapbench.workloads.cases import Case

_CACHE_LINE = 64
_PAGE = 4096


def _storage_order(case: Case) -> tuple[int, ...]:
    if case.layout == "contiguous":
        return (0, 1, *case.spatial_dims)
    if case.layout == "permuted":
        return (*case.spatial_dims, 0, 1)
    return (0, *case.spatial_dims, 1)  # channels_last and sliced


def empty(case: Case, generator: torch.Generator | None = None) -> Tensor:
    """Return an uninitialised tensor of the case's shape, dtype and layout, on its device.

    With a ``generator`` at a random cache line of its first page, since an offset changes times by several percent.
    """
    order = _storage_order(case)
    sizes = [case.shape[dim] for dim in order]
    dtype = getattr(torch, case.dtype)
    token = case.c if case.layout == "sliced" else 0  # a class token in every image, dropped below
    elements = case.elements + case.n * token
    line = _CACHE_LINE // dtype.itemsize
    lead = 0
    if generator is not None:
        lead = line * int(torch.randint(_PAGE // _CACHE_LINE, (), generator=generator))
    storage = torch.empty(lead + elements, dtype=dtype, device=case.device)[lead:]
    if token:
        storage = storage.view(case.n, case.window + 1, case.c)[:, 1:]
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return storage.view(sizes).permute(inverse)


def noise(case: Case, seed: int) -> Tensor:
    """Return float32 noise of the case's shape and layout, for `sample`, the same on every machine."""
    drawn = torch.empty(case.shape, dtype=torch.float32).normal_(generator=torch.Generator().manual_seed(seed))
    return drawn if case.layout == "contiguous" else empty(replace(case, dtype="float32", device="cpu")).copy_(drawn)


def sample(case: Case, seed: int, drawn: Tensor | None = None) -> Tensor:
    """Return the input of one round: noise around a different mean in every row, with no mean near 0.

    With plain `randn` an output of zeros would pass for large windows; with one common mean another channel's would.
    Values are within about ±8: no sum in float16 overflows below 8,000 elements. ``drawn`` is a `noise` to reuse.
    """
    generator = torch.Generator().manual_seed(seed)
    x = empty(case, generator)
    rows = torch.empty(case.averaged, dtype=torch.float32)  # the process may have another default
    rows.uniform_(1, 3, generator=generator)
    rows *= torch.randint(2, rows.shape, generator=generator) * 2 - 1
    # summed in float32, then rounded to half types
    return x.copy_((noise(case, seed) if drawn is None else drawn) + rows)


def copy_at_random_offset(x: Tensor, case: Case, seed: int) -> Tensor:
    """Return a copy of ``x``, an input of ``case``, in the same layout at a random offset in memory."""
    return empty(case, torch.Generator().manual_seed(seed)).copy_(x)


def upstream(case: Case, seed: int, shape: Sequence[int]) -> Tensor:
    """Return a gradient for an output of ``shape``, with different values between 1 and 3."""
    generator = torch.Generator().manual_seed(seed + 1)
    gradient = torch.empty(shape, dtype=torch.float32)
    gradient.uniform_(1, 3, generator=generator)
    return gradient.to(case.device, getattr(torch, case.dtype))


STRESS: tuple[str, ...] = (
    "noise around 100", "constant 40", "alternating ±1000", "all zero", "noise around 0.0001",
    "a ramp from -3 to 1", "one infinity", "one NaN",
)  # fmt: skip
"""Rows that test implementations: overflow of a sum, underflow of a product, cancellation, propagation.

The infinity is a row's first element and the NaN its last, where a bound that is off by one misses them or reads them
from the next row. That shows in any precision and for any window.
"""


def stress(case: Case, seed: int) -> list[tuple[Tensor, list[str]]]:
    """Return inputs whose rows (n, c) have the patterns of `STRESS` in turn, and the names of each input's patterns."""
    if not case.elements:
        return []
    generator = torch.Generator().manual_seed(seed)
    rows, window = case.n * case.c, case.window
    infinity, nan = torch.zeros(2, window, dtype=torch.float32)
    infinity[0], nan[-1] = float("inf"), float("nan")
    patterns = torch.stack(
        [
            torch.empty(window, dtype=torch.float32).normal_(generator=generator).add_(100),
            torch.full((window,), 40.0, dtype=torch.float32),
            torch.where(torch.arange(window) % 2 == 0, 1000.0, -1000.0).float(),
            torch.zeros(window, dtype=torch.float32),
            torch.empty(window, dtype=torch.float32).normal_(generator=generator).add_(10).mul_(1e-5),
            torch.linspace(-3, 1, window, dtype=torch.float32),
            infinity,
            nan,
        ]
    )
    inputs = []
    for first in range(0, len(STRESS), min(rows, len(STRESS))):
        chosen = (torch.arange(rows) + first) % len(STRESS)
        x = empty(case, generator).copy_(patterns[chosen].view(case.shape))
        inputs.append((x, [STRESS[index] for index in chosen.tolist()]))
    return inputs


_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(tensor: Tensor, other: Tensor) -> bool:
    """Compare tensors of one shape and dtype bit by bit, eight bytes at once where they are dense and aligned."""
    count, size = tensor.numel(), tensor.element_size()
    pair = [each.view(_INTEGERS[size]) for each in (tensor, other)]
    dense = count == 0 or count == 1 + sum(
        (length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    aligned = all(each.storage_offset() * size % 8 == 0 for each in pair)
    if not dense or not aligned or tensor.stride() != other.stride():
        return torch.equal(*pair)
    whole = count * size // 8 * 8 // size
    (mine, rest), (others, their_rest) = (
        (flat[:whole].view(torch.int64), flat[whole:]) for flat in (each.as_strided((count,), (1,)) for each in pair)
    )
    return torch.equal(mine, others) and torch.equal(rest, their_rest)


class GuardedTensor:
    """A tensor that only the harness may change, with a copy to compare it with."""

    def __init__(self, tensor: Tensor, copy: Tensor | None = None) -> None:
        self.tensor = tensor
        self._copy = tensor.clone() if copy is None else copy

    def __bool__(self) -> bool:
        return same_bits(self.tensor, self._copy)

    def restore(self) -> None:
        """Restore the content from the copy."""
        self.replace(self._copy)

    def replace(self, content: Tensor) -> None:
        """Put other content into the same memory, and compare with that from now on.

        Autograd's version counter is bypassed: the recorded graph of the backward pass may have saved the tensor.
        """
        self.tensor.data.copy_(content)
        self._copy = content
