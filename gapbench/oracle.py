"""Is it right? Outputs are judged against float64, with tolerances by dtype, on samples and on stress inputs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gapbench import inputs
from gapbench.cases import Case
from gapbench.implementations import Function
from gapbench.inputs import GuardedTensor
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
    if misfit := _misfit(case, y, expected):
        return Judgement(misfit)
    assert isinstance(y, Tensor)
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


def _misfit(case: Case, y: object, expected: Expected) -> str | None:
    """Return why an output cannot be compared: by its type, device, shape or dtype."""
    if type(y) is not Tensor:  # a subclass could put its work off until somebody looks
        return f"returned {type(y).__name__}, not a plain tensor"
    if y.device.type != torch.device(case.device).type:
        return f"returned a tensor on {y.device}, expected one on {case.device}"
    if y.shape != expected.value.shape:
        return f"returned shape {tuple(y.shape)}, expected {tuple(expected.value.shape)}"
    if y.dtype != getattr(torch, case.dtype):
        return f"returned {str(y.dtype).removeprefix('torch.')}, expected {case.dtype}"
    return None


def accepts(case: Case, y: object, expected: Expected) -> bool:
    """Tell quickly whether an output is one that `judge` finds right; it may be, where this says no.

    For outputs as large as inputs (gradients) judging takes longer than all of a round's batches.
    """
    if _misfit(case, y, expected):
        return False
    assert isinstance(y, Tensor)
    bound = tolerance(case.dtype, expected.steps)
    # One batch element at a time: small temporaries are memory that the process has already.
    pieces = zip(y.detach().cpu(), expected.value, expected.scale, strict=True)
    return all(bool(((got.double() - want).abs_() <= bound * scale).all()) for got, want, scale in pieces)


def _ulp(value: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the distance between neighbours of ``dtype`` at float64 ``value`` (not below the smallest normal's)."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(value.abs().clamp(min=info.smallest_normal))[1] - 1
    return torch.ldexp(torch.full_like(value, info.eps), exponent)


@dataclass(slots=True)
class _Question:
    """One input with its gradient and answer; ``patterns`` names its rows where they are no random sample."""

    x: Tensor
    gradient: Tensor
    expected: Expected | None
    patterns: list[str] | None = None


class Examination:
    """The questions that all implementations of one case with the same truth are asked: made once.

    A sample, a second sample, and every stress pattern that the truth has an answer to.
    """

    def __init__(self, case: Case, seed: int, truth: Truth = GLOBAL_AVERAGE) -> None:
        self._case, self._truth = case, truth
        stressed = inputs.stress(case, seed) if truth.stressed else []
        self._questions = [
            *(self._question(inputs.sample(case, one), one, None) for one in (seed, seed + 1)),
            *(self._question(x, seed, patterns) for x, patterns in stressed),
        ]
        self._guards = [GuardedTensor(question.x) for question in self._questions]

    def _question(self, x: Tensor, seed: int, patterns: list[str] | None) -> _Question:
        gradient = inputs.upstream(self._case, seed, self._truth.shape(self._case))
        depends_on_weights = self._case.pass_ == "update"
        expected = None if depends_on_weights else expect(self._case, self._truth, lambda x: x, x, gradient)
        return _Question(x, gradient, expected, patterns)

    def judge(self, function: Function) -> Judgement:
        """Judge one function; what it raises is the caller's to handle.

        Also catches a function that changes its input, and one that returns the answer of the previous call.
        """
        first, second, *stressed = self._questions
        judgement = self._ask(function, first)
        if self._changed():
            return Judgement("changes its input", judgement.max_error, judgement.max_error_ulp)
        if judgement.reason:
            return judgement
        again = self._ask(function, second)
        if again.reason:
            return Judgement(f"right on one input, on the next {again.reason}", again.max_error)
        for question in stressed:
            under_stress = self._ask(function, question)
            if under_stress.reason:
                assert question.patterns is not None
                reason = f"{under_stress.reason} (input: {question.patterns[under_stress.row]})"
                return Judgement(reason, under_stress.max_error)
        if self._changed():
            return Judgement("changes its input", judgement.max_error, judgement.max_error_ulp)
        return judgement

    def _changed(self) -> bool:
        """Tell whether an input was changed, and put all back: the next function is asked the same."""
        changed = [guard for guard in self._guards if not guard]
        for guard in changed:
            guard.restore()
        return bool(changed)

    def _ask(self, function: Function, question: _Question) -> Judgement:
        call = bind(self._case, function, question.x, question.gradient)
        # before the call, which might change x
        expected = question.expected or expect(self._case, self._truth, function, question.x, question.gradient)
        return judge(self._case, call(), expected, question.patterns is not None)


def examine(case: Case, function: Function, seed: int, truth: Truth = GLOBAL_AVERAGE) -> Judgement:
    """Judge one function on one case; see `Examination`."""
    return Examination(case, seed, truth).judge(function)
