"""The mean over the valid part of padded sequences, as audio and text models pool.

Sample n of a batch is valid up to its own length, and padded with anything from there on.
"""

from collections.abc import Callable
from operator import attrgetter

import torch
from torch import Tensor

from gapbench.cases import Case
from gapbench.implementations import Function, Implementation, compiled
from gapbench.operations.base import Operation
from gapbench.truth import Differentiated


def lengths(case: Case) -> list[int]:
    """Return how many positions of each sample are valid: from all down to half, evenly spread over the batch."""
    return [case.window - n * (case.window // 2) // max(case.n - 1, 1) for n in range(case.n)]


def _mask(case: Case) -> Tensor:
    """Return whether each position is valid, (N, 1, positions)."""
    valid = torch.tensor(lengths(case), device=case.device)[:, None, None]
    return torch.arange(case.window, device=case.device) < valid


def _multiply_sum(case: Case) -> Function:
    mask, shape = _mask(case).to(getattr(torch, case.dtype)), case.averaged
    count = mask.sum(2, keepdim=True)
    return lambda x: ((x.flatten(2) * mask).sum(2, keepdim=True) / count).view(shape)


def _fill_sum(case: Case) -> Function:
    padding, shape = ~_mask(case), case.averaged
    count = (~padding).sum(2, keepdim=True)
    return lambda x: (x.flatten(2).masked_fill(padding, 0).sum(2, keepdim=True) / count).view(shape)


def _matmul(case: Case) -> Function:
    mask, shape = _mask(case).to(getattr(torch, case.dtype)), case.averaged
    weights = (mask / mask.sum(2, keepdim=True)).mT.contiguous()
    return lambda x: (x.flatten(2) @ weights).view(shape)


def _slices(case: Case) -> Function:
    valid, shape = lengths(case), case.averaged
    return lambda x: torch.stack(
        [sample[:, :length].mean(1) for sample, length in zip(x.flatten(2), valid, strict=True)]
    ).view(shape)


def _exactly(case: Case) -> Callable[[Tensor], Tensor]:
    valid, shape = lengths(case), case.averaged
    return lambda x: torch.stack([x[n].flatten(1)[:, :length].mean(1) for n, length in enumerate(valid)]).view(shape)


def _unsupported(case: Case) -> str | None:
    return None if case.elements else "nothing is there to be pooled; choose --shape without a 0"


TRUTH = Differentiated(_exactly, attrgetter("averaged"), lambda case: case.window, _exactly)


def _masked(name: str, summary: str, snippet: str, prepare: Callable[[Case], Function]) -> Implementation:
    return Implementation(name, "masked", summary, snippet, prepare, _unsupported, truth=TRUTH)


_MULTIPLY = _masked(
    "multiply_sum",
    "padding times 0, the sum, divided by each sample's length; NaN in the padding would spread",
    "(x * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True)",
    _multiply_sum,
)

MASKED_MEAN = Operation(
    "masked_mean",
    "the mean over the valid part of each padded sequence",
    "multiply_sum",
    (
        _MULTIPLY,
        _masked(
            "fill_sum",
            "padding replaced by 0, the sum, divided by each sample's length",
            "x.masked_fill(~mask, 0).sum(2, keepdim=True) / mask.sum(2, keepdim=True)",
            _fill_sum,
        ),
        _masked(
            "masked_matmul",
            "batched matrix-vector product with weights of 1/length, 0 in the padding",
            "x @ (mask / mask.sum(2, keepdim=True)).mT",
            _matmul,
        ),
        _masked(
            "slice_mean",
            "the mean of each sample's valid slice, one sample after the other",
            "torch.stack([sample[:, :length].mean(1, keepdim=True) for sample, length in zip(x, lengths)])",
            _slices,
        ),
        compiled.compiled(_MULTIPLY),
    ),
)
