"""Judge outputs against float64, with tolerances by dtype, on random samples and on stress inputs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gapbench.workloads import inputs
from gapbench.workloads.cases import Case
from gapbench.workloads.inputs import GuardedTensor
from gapbench.workloads.passes import Function, expected_output, first_weight, make_call
from gapbench.workloads.truth import GLOBAL_AVERAGE, Expected, Truth

RTOL: dict[str, float] = {"float32": 1.3e-6, "float16": 1e-3, "bfloat16": 1.6e-2, "float64": 1e-12}
"""Relative tolerance of an output: `torch.testing`'s, except for float64, which is judged in its own arithmetic."""


def tolerance(dtype: str, steps: int, pattern: bool = False) -> float:
    """Return the largest |y - reference| / scale that counts as right, for a random input or for a ``pattern``.

    ``steps`` is how many numbers one output sums; the scale is the sum without cancellation, mean|x| for an average.
    The tolerance is that of the output's dtype plus the rounding of a sum in float32 (float64 for float64), u in every
    step. On random inputs rounding grows with the root of the length (Higham and Mary, SIAM J. Sci. Comput. 41 (2019)
    A2815), which the worst of some hundred rows reaches, so four times that is allowed. On patterns every step may
    round the same way: steps * u, which no order of summing exceeds.
    """
    unit_roundoff = 2.0**-53 if dtype == "float64" else 2.0**-24
    return RTOL[dtype] + (steps if pattern else 4 * math.sqrt(steps)) * unit_roundoff


@dataclass(frozen=True, slots=True)
class Judgement:
    """The oracle's judgement of an output.

    ``max_error`` is the largest |y - reference| / scale, ``max_error_ulp`` the largest |y - reference| in units in the
    last place of the output's dtype; ``reason`` is None for a right answer; ``row`` is the flat index over the output's
    first two dimensions, (n, c), of the worst element.
    """

    reason: str | None = None
    max_error: float | None = None
    max_error_ulp: float | None = None
    row: int = 0


def judge(case: Case, y: object, expected: Expected, pattern: bool = False) -> Judgement:
    """Compare an output with the float64 answer: type, shape, dtype, NaN, infinities, then elements by `tolerance`."""
    if reason := misfit(case, describe(y), expected):
        return Judgement(reason)
    assert isinstance(y, Tensor)
    if not y.numel():
        return Judgement(max_error=0.0, max_error_ulp=0.0)
    got, want = y.detach().cpu().double(), expected.value
    # equal infinities and NaN at the same index are right; one without the other is an infinite error
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
    if wrong.max() > tolerance(case.dtype, expected.steps, pattern) + 2 * expected.own_error:
        reason = (
            f"wrong at (n, c) = {divmod(row, want.shape[1:2].numel())}: got {float(got.reshape(-1)[worst]):.6g}, "
            f"expected {float(want.reshape(-1)[worst]):.6g}"
        )
    return Judgement(reason, max_error, max_error_ulp, row)


@dataclass(frozen=True, slots=True)
class Description:
    """An output without its content; ``kind`` is its Python type, None for a plain tensor."""

    kind: str | None = None
    device: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()


def describe(y: object) -> Description:
    """Describe an output. A subclass is not a plain tensor, since it could defer its work until it is read."""
    if type(y) is not Tensor:
        return Description(type(y).__name__)
    if y.layout != torch.strided:
        return Description(f"a {str(y.layout).removeprefix('torch.')} tensor")
    return Description(None, str(y.device), str(y.dtype).removeprefix("torch."), tuple(y.shape))


def misfit(case: Case, y: Description, expected: Expected) -> str | None:
    """Return why an output cannot be compared: by its type, device, shape or dtype."""
    if y.kind is not None:
        return f"returned {y.kind}, not a plain tensor"
    if y.device.partition(":")[0] != case.device.partition(":")[0]:
        return f"returned a tensor on {y.device}, expected one on {case.device}"
    if y.shape != tuple(expected.value.shape):
        return f"returned shape {y.shape}, expected {tuple(expected.value.shape)}"
    if y.dtype != case.dtype:
        return f"returned {y.dtype}, expected {case.dtype}"
    return None


def accepts(case: Case, y: object, expected: Expected) -> bool:
    """Tell quickly that `judge` would find a large output right; False means that only `judge` can tell."""
    if misfit(case, describe(y), expected):
        return False
    assert isinstance(y, Tensor)
    bound = tolerance(case.dtype, expected.steps) + 2 * expected.own_error
    # one batch element after the other: small temporaries fit memory that the process has already
    pieces = zip(y.detach().cpu(), expected.value, expected.scale, strict=True)
    return all(bool(((got.double() - want).abs_() <= bound * scale).all()) for got, want, scale in pieces)


def _ulp(value: Tensor, dtype: torch.dtype) -> Tensor:
    info = torch.finfo(dtype)
    exponent = torch.frexp(value.abs().clamp(min=info.smallest_normal))[1] - 1
    return torch.ldexp(torch.full_like(value, info.eps), exponent)


@dataclass(frozen=True, slots=True)
class Question:
    """One input, the seed of its gradient, and the names of its rows' patterns, None for a random sample."""

    x: Tensor
    seed: int
    patterns: list[str] | None = None

    def gradient(self, case: Case, truth: Truth) -> Tensor:
        """Return the gradient of the output, as the rest of a network would send it."""
        return inputs.upstream(case, self.seed, truth.shape(case))


def questions(case: Case, seeds: Sequence[int], noise: Tensor | None = None, stressed: bool = True) -> list[Question]:
    """Return the inputs for implementations of a case: a sample for each seed, then stress patterns if ``stressed``."""
    samples = [Question(inputs.sample(case, seed, noise), seed) for seed in seeds]
    return samples + ([Question(x, seeds[0], names) for x, names in inputs.stress(case, seeds[0])] if stressed else [])


def put(number: int, question: Question, judgement: Judgement) -> Judgement:
    """Return a judgement whose reason names the question that it is about."""
    if judgement.reason is None:
        return judgement
    if question.patterns is not None:
        return replace(judgement, reason=f"{judgement.reason} (input: {question.patterns[judgement.row]})")
    return replace(judgement, reason=f"right on one input, on the next {judgement.reason}") if number else judgement


def examine(case: Case, function: Function, seed: int, truth: Truth = GLOBAL_AVERAGE) -> Judgement:
    """Judge one function on one case, and whether it changes its input, in this process. Raises what it raises."""
    first = None
    for number, question in enumerate(questions(case, (seed, seed + 1), stressed=truth.stressed)):
        guard = GuardedTensor(question.x)
        gradient = question.gradient(case, truth)
        call = make_call(case, function, question.x, gradient)
        weight = first_weight(function) if case.pass_ == "update" else None
        expected = expected_output(case, truth, question.x, gradient, weight)  # before the call, which might change it
        judgement = judge(case, call(), expected, question.patterns is not None)
        first = first or judgement
        if judgement.reason and (number or guard):
            return put(number, question, judgement)
        if not guard:
            return replace(first, reason="changes its input")
    assert first is not None
    return first
