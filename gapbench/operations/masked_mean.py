"""The mean over the valid part of padded sequences, as audio and text models pool.

Sample n of a batch is valid up to its own length, and padding with any content follows.
"""

from collections.abc import Callable
from functools import partial
from operator import attrgetter

import torch
from torch import Tensor

from gapbench.implementations import Function, compiled
from gapbench.implementations.base import empty, implementation
from gapbench.operations.base import Operation
from gapbench.workloads.cases import Case
from gapbench.workloads.truth import Differentiated


def lengths(case: Case) -> list[int]:
    """Return the number of valid positions of each sample: from all down to half, evenly spread over the batch."""
    return [case.window - n * (case.window // 2) // max(case.n - 1, 1) for n in range(case.n)]


def _mask(case: Case) -> Tensor:
    """Return whether each position is valid, (N, 1, positions)."""
    valid = torch.tensor(lengths(case), device=case.device)[:, None, None]
    return torch.arange(case.window, device=case.device) < valid


def _exactly(case: Case) -> Callable[[Tensor], Tensor]:
    valid, shape = lengths(case), case.averaged
    return lambda x: torch.stack([x[n].flatten(1)[:, :length].mean(1) for n, length in enumerate(valid)]).view(shape)


TRUTH = Differentiated(_exactly, attrgetter("averaged"), attrgetter("window"), _exactly)

_masked = partial(implementation, "masked", unsupported=empty, truth=TRUTH)


@_masked(
    "padding times 0, the sum, divided by each sample's length; NaN in the padding would spread",
    "(x * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True)",
)
def _multiply_sum(case: Case) -> Function:
    mask, shape = _mask(case).to(getattr(torch, case.dtype)), case.averaged
    count = mask.sum(2, keepdim=True)
    return lambda x: ((x.flatten(2) * mask).sum(2, keepdim=True) / count).view(shape)


@_masked(
    "padding replaced by 0, the sum, divided by each sample's length",
    "x.masked_fill(~mask, 0).sum(2, keepdim=True) / mask.sum(2, keepdim=True)",
)
def _fill_sum(case: Case) -> Function:
    padding, shape = ~_mask(case), case.averaged
    count = (~padding).sum(2, keepdim=True)
    return lambda x: (x.flatten(2).masked_fill(padding, 0).sum(2, keepdim=True) / count).view(shape)


@_masked(
    "batched matrix-vector product with weights of 1/length, 0 in the padding",
    "x @ (mask / mask.sum(2, keepdim=True)).mT",
)
def _masked_matmul(case: Case) -> Function:
    mask, shape = _mask(case).to(getattr(torch, case.dtype)), case.averaged
    weights = (mask / mask.sum(2, keepdim=True)).mT.contiguous()
    return lambda x: (x.flatten(2) @ weights).view(shape)


@_masked(
    "the mean of each sample's valid slice, sample by sample",
    "torch.stack([sample[:, :length].mean(1, keepdim=True) for sample, length in zip(x, lengths)])",
)
def _slice_mean(case: Case) -> Function:
    valid, shape = lengths(case), case.averaged
    return lambda x: torch.stack(
        [sample[:, :length].mean(1) for sample, length in zip(x.flatten(2), valid, strict=True)]
    ).view(shape)


MASKED_MEAN = Operation(
    "masked_mean",
    "the mean over the valid part of each padded sequence",
    "multiply_sum",
    (_multiply_sum, _fill_sum, _masked_matmul, _slice_mean, compiled.compiled(_multiply_sum)),
)
