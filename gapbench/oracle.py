"""Is it right? Outputs are judged against float64, with tolerances by dtype, on samples and on stress inputs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gapbench import inputs
from gapbench.cases import Case
from gapbench.implementations import Function
from gapbench.passes import bind, expect
from gapbench.truth import GLOBAL_AVERAGE, Expected, Truth

RTOL: dict[str, float] = {"float32": 1.3e-6, "float16": 1e-3, "bfloat16": 1.6e-2, "float64": 1e-12}
"""Relative tolerance of an output: `torch.testing`'s, except for float64, which is judged in its own arithmetic."""


def tolerance(dtype: str, steps: int, pattern: bool = False) -> float:
    """Return the largest |y - reference| / scale that is right, for a random input or for a ``pattern``.

    ``steps`` is how many numbers one output sums; the scale is what the sum would be without cancellation, mean|x| for
    an average.

    To the tolerance of the output's dtype comes the rounding of an honest sum in float32 (float64 for float64), u in
    every step. On random inputs it grows with the root of the length (Higham and Mary, SIAM J. Sci. Comput. 41 (2019)
    A2815): the worst of some hundred rows that are summed one by one comes to once the root, so four times is allowed.
    On patterns every step may be rounded the same way, so there it is steps * u, which no order of summing exceeds.
    A sum in half precision is far outside.
    """
    unit_roundoff = 2.0**-53 if dtype == "float64" else 2.0**-24
    return RTOL[dtype] + (steps if pattern else 4 * math.sqrt(steps)) * unit_roundoff


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the oracle found.

    ``max_error`` is the largest |y - reference| / scale, ``max_error_ulp`` the largest |y - reference| in units in the
    last place of the output's dtype; ``reason`` is None for a right answer; ``row`` is the flat index over the output's
    first two dimensions, (n, c), of the worst element.
    """

    reason: str | None = None
    max_error: float | None = None
    max_error_ulp: float | None = None
    row: int = 0


def judge(case: Case, y: object, expected: Expected, pattern: bool = False) -> Judgement:
    """Compare an output with the float64 answer: type, shape, dtype, NaN and infinities, then every element.

    ``pattern`` says that the input was no random sample; see `tolerance`.
    """
    if type(y) is not Tensor:  # a subclass could put its work off until somebody looks
        return Judgement(f"returned {type(y).__name__}, not a plain tensor")
    if y.shape != expected.value.shape:
        return Judgement(f"returned shape {tuple(y.shape)}, expected {tuple(expected.value.shape)}")
    if y.dtype != getattr(torch, case.dtype):
        return Judgement(f"returned {str(y.dtype).removeprefix('torch.')}, expected {case.dtype}")
    if not y.numel():
        return Judgement(max_error=0.0, max_error_ulp=0.0)
    got, want = y.detach().cpu().double(), expected.value
    # Equal infinities and NaN in the same place are no error; one without the other is an infinite one.
    same = (got == want) | (got.isnan() & want.isnan())
    error = torch.where(same, 0.0, (got - want).abs()).nan_to_num(nan=torch.inf, posinf=torch.inf)
    relative = torch.where(same, 0.0, error / expected.scale).nan_to_num(nan=torch.inf, posinf=torch.inf)
    finite = want.isfinite()
    max_error = float(relative.max())
    max_error_ulp = float((error[finite] / _ulp(want[finite], y.dtype)).max()) if finite.any() else None
    # Below the smallest normal number (gradients of huge windows in float16) neighbours are one fixed step apart,
    # and the right answer can be rounded by more than its relative tolerance.
    step = _ulp(want.new_zeros(()), y.dtype)
    wrong = torch.where(error > step, relative, 0.0)
    worst = int(wrong.argmax())
    row = worst * want.shape[:2].numel() // want.numel()
    reason = None
    if wrong.max() > tolerance(case.dtype, expected.steps, pattern):
        reason = (
            f"wrong at (n, c) = {divmod(row, want.shape[1:2].numel())}: got {float(got.reshape(-1)[worst]):.6g}, "
            f"expected {float(want.reshape(-1)[worst]):.6g}"
        )
    return Judgement(reason, max_error, max_error_ulp, row)


def accepts(case: Case, y: object, expected: Expected) -> bool:
    """Tell quickly whether an output is one that `judge` finds right; it may be, where this says no.

    For outputs as large as inputs (gradients) judging takes longer than all of a round's batches.
    """
    if type(y) is not Tensor or y.shape != expected.value.shape or y.dtype != getattr(torch, case.dtype):
        return False
    bound = tolerance(case.dtype, expected.steps)
    # One batch element at a time: small temporaries are memory that the process has already.
    pieces = zip(y.detach().cpu(), expected.value, expected.scale, strict=True)
    return all(bool(((got.double() - want).abs_() <= bound * scale).all()) for got, want, scale in pieces)


def _ulp(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the distance between neighbours of ``dtype`` at float64 ``value`` (not below the smallest normal's)."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(value.abs().clamp(min=info.smallest_normal))[1] - 1
    return torch.ldexp(torch.full_like(value, info.eps), exponent)


def examine(case: Case, function: Function, seed: int, truth: Truth = GLOBAL_AVERAGE) -> Judgement:
    """Judge a function on a sample, on a second sample, and on every stress pattern that ``truth`` has an answer to.

    Also catches a function that changes its input, and one that returns the answer of the previous call. What the
    function raises is the caller's to handle.
    """
    first, second = inputs.sample(case, seed), inputs.sample(case, seed + 1)
    untouched = first.clone()
    judgement = _judge_on(case, function, truth, first, seed)
    if not torch.equal(first, untouched):
        return Judgement("changes its input", judgement.max_error, judgement.max_error_ulp)
    if judgement.reason:
        return judgement
    again = _judge_on(case, function, truth, second, seed + 1)
    if again.reason:
        return Judgement(f"right on one input, on the next {again.reason}", again.max_error)
    for x, patterns in inputs.stress(case, seed) if truth.stressed else ():
        under_stress = _judge_on(case, function, truth, x, seed, pattern=True)
        if under_stress.reason:
            reason = f"{under_stress.reason} (input: {patterns[under_stress.row]})"
            return Judgement(reason, under_stress.max_error)
    return judgement


def _judge_on(case: Case, function: Function, truth: Truth, x: Tensor, seed: int, pattern: bool = False) -> Judgement:
    gradient = inputs.upstream(case, seed, truth.shape(case))
    call = bind(case, function, x, gradient)
    expected = expect(case, truth, function, x, gradient)  # before the call, which might change x
    return judge(case, call(), expected, pattern)
