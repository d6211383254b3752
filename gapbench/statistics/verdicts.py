"""Decide what changed: arrays of log times or log ratios in, frozen dataclasses out.

`student` and `paired` test a row's log(head / base); `judge` decides over all rows, `decide` in two stages. A margin of
1 % means head / base between 1/1.01 and 1.01, so that swapping the sides mirrors every verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, isfinite
from statistics import NormalDist
from typing import Literal

import numpy as np

from gapbench.statistics.stats import Floats, Interval, holm, location


class Verdict(StrEnum):
    """The result of comparing a row of base and head, most urgent first (a contract of JSON and ``--fail-on``)."""

    REGRESSED = "regressed"
    FAILED_HEAD = "failed_head"
    FAILED_BASE = "failed_base"
    CHANGED_DEFINITION = "changed_definition"
    ENVIRONMENT_MISMATCH = "environment_mismatch"
    REMOVED = "removed"
    ADDED = "added"
    IMPROVED = "improved"
    INCONCLUSIVE = "inconclusive"
    EQUIVALENT = "equivalent"


LEVEL = 0.01  # the probability that identical code shows any regression (or any improvement) in a whole diff: 1 in 100

EQUIVALENCE_LEVEL = 0.05
"""The probability that a row which changed by the margin is called equivalent, for each row alone, as usual in TOST."""

_quantile = NormalDist().inv_cdf
_POWER = 0.8
_MOST_ROUNDS = 1000
_MOST_EXACT = 200  # above this many rounds tests use their normal approximations, which are conservative in the tails


@dataclass(frozen=True, slots=True)
class Evidence:
    """The tests of one row's rounds against a margin, before the other rows are considered.

    ``change`` is the log of head / base with its 95 % interval, ``margin`` a log too. The null hypotheses: at most a
    margin slower (``p_slower``), at most a margin faster (``p_faster``), outside the margin (``p_equivalent``, the
    larger p-value of TOST). ``min_p`` returns the smallest p-value that a number of rounds can give. ``floor`` is the
    variance of the change that no number of rounds removes.
    """

    change: Interval
    margin: float
    p_slower: float
    p_faster: float
    p_equivalent: float
    rounds: int
    min_p: Callable[[int], float]
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """A statistical verdict, its p-value, and for ``inconclusive`` the rounds per side that would probably decide.

    ``p_value`` is the verdict's own: adjusted for all rows, of TOST for ``equivalent``, the smaller for
    ``inconclusive``.
    """

    verdict: Verdict
    p_value: float
    rounds_needed: int | None = None


def smallest_paired(rounds: int) -> float:
    """Return the smallest p of a one-sided signed-rank test: 1 / 2^n."""
    return 0.5**rounds


def student(change: float, variance: float, floor: float, degrees: float, rounds: int, margin: float) -> Evidence:
    """Test a change (a log) of known ``variance`` by Student's t; ``margin`` is a share, 0.01 for 1 %.

    ``variance`` must hold all uncertainty; ``floor`` is the part of it that more rounds would not reduce.
    """
    from scipy.special import stdtr, stdtrit

    delta = float(np.log1p(margin))
    error, degrees = max(variance, 1e-24) ** 0.5, min(degrees, 1e6)
    half = float(stdtrit(degrees, 0.975)) * error
    above, below = (change - delta) / error, (change + delta) / error  # t against either margin
    p_slower, p_faster, p_low, p_high = stdtr(degrees, [-above, below, above, -below]).tolist()
    interval = Interval(change, change - half, change + half)
    return Evidence(interval, delta, p_slower, p_faster, max(p_low, p_high), rounds, lambda _: 0.0, floor)


def paired(log_ratios: Floats, margin: float) -> Evidence:
    """Test rounds that measured both sides together, one log of head / base per round, by signed-rank tests."""
    delta = float(np.log1p(margin))
    rounds = len(log_ratios)

    def p(sign: int, alternative: Literal["less", "greater"]) -> float:
        from scipy.stats import wilcoxon

        if not rounds:
            return 1.0
        method: Literal["exact", "auto"] = "exact" if rounds <= _MOST_EXACT else "auto"
        shifted = log_ratios - sign * delta
        # zeros favour neither side: half of their ranks goes to each
        return float(wilcoxon(shifted, zero_method="zsplit", alternative=alternative, method=method).pvalue)

    equivalent = max(p(1, "less"), p(-1, "greater"))
    return Evidence(location(log_ratios), delta, p(1, "greater"), p(-1, "less"), equivalent, rounds, smallest_paired)


def judge(evidence: Sequence[Evidence], level: float = LEVEL) -> list[Judgement]:
    """Decide over all rows: ``regressed`` and ``improved`` each hold at ``level`` over the whole family (Holm)."""
    slower = holm(np.array([row.p_slower for row in evidence])).tolist()
    faster = holm(np.array([row.p_faster for row in evidence])).tolist()
    alone = level / max(1, len(evidence))  # what Holm asks of a lone change
    return [
        _changed(slow, fast, level) or unconfirmed(row, alone, min(slow, fast))
        for row, slow, fast in zip(evidence, slower, faster, strict=True)
    ]


def _changed(slower: float, faster: float, level: float) -> Judgement | None:
    if slower <= level:
        return Judgement(Verdict.REGRESSED, slower)
    return Judgement(Verdict.IMPROVED, faster) if faster <= level else None


def unconfirmed(evidence: Evidence, level: float = LEVEL, p_value: float | None = None) -> Judgement:
    """Decide between ``equivalent`` and ``inconclusive``, whose ``p_value`` is by default the smaller of its own."""
    if evidence.p_equivalent <= EQUIVALENCE_LEVEL:
        return Judgement(Verdict.EQUIVALENT, evidence.p_equivalent)
    smaller = min(evidence.p_slower, evidence.p_faster) if p_value is None else p_value
    return Judgement(Verdict.INCONCLUSIVE, smaller, rounds_needed(evidence, level))


def rounds_needed(evidence: Evidence, level: float) -> int | None:
    """Estimate the rounds (per side) that would decide with 80 % probability, if the change is as estimated.

    Outside the margin the test is a minimum-effect test at ``level``, inside it TOST. The rounds' part of the error
    shrinks with the root of their number. At least as many as can show a change at ``level``; None if 1000 are too few.
    """
    fewest = fewest_rounds(level, evidence.min_p)
    error = evidence.change.half_width / _quantile(0.975)
    if not isfinite(error):
        return fewest
    distance = abs(evidence.change.estimate) - evidence.margin
    deviations = _quantile(1 - (level if distance > 0 else EQUIVALENCE_LEVEL)) + _quantile(_POWER)
    left = (distance / deviations) ** 2 - evidence.floor  # the variance that rounds may contribute
    now = max(error**2 - evidence.floor, 0.0) * evidence.rounds
    if left * _MOST_ROUNDS <= now:
        return None
    return max(fewest, evidence.rounds + 1, ceil(now / left))


def fewest_rounds(level: float, min_p: Callable[[int], float]) -> int:
    """Return the fewest rounds (per side) whose smallest p-value reaches ``level``."""
    rounds = 1
    while min_p(rounds) > level:
        rounds += 1
    return rounds


SCREEN_LEVEL = 0.25
"""Screening asks for fresh rounds of every row whose unadjusted p-value against the margin is at most this."""

INTERIM_LEVEL = 0.005
"""A row that is checked while it is measured stops once its TOST is this clear: ten checks add up to 5 %."""

_CONFIRMING_POWER = 0.99
_SPARE_ROUNDS = 3  # added to the fewest rounds that can show a change, so that one dissenting round does not prevent it


STEP_LOOKS = 3  # how often a matrix of versions is judged while it is measured: twice to stop early, and at the end

STEP_LEVEL = 0.05 / 2 / STEP_LOOKS
"""The level of the tests of all steps of a matrix: 5 % in both directions together, whichever look ends its rounds."""


def decide(first: Sequence[Evidence], fresh: Sequence[Evidence | None], level: float = LEVEL) -> list[Judgement]:
    """Judge rows by their screening rounds, and flagged rows by their fresh rounds too (None for the others).

    A flagged row has regressed if its fresh rounds alone show it, among the flagged rows at half the level. Or if both
    stages together show it, among all rows at half the level, and the fresh rounds point the same way; the stages are
    combined with equal weights (Stouffer's inverse normal method, valid for any number of fresh rounds). The first rule
    finds a single change, which gets many fresh rounds; the second finds many changes, which share them. Rows that were
    not flagged are at most equivalent.
    """
    slower = _p_values([row.p_slower for row in first], [None if row is None else row.p_slower for row in fresh])
    faster = _p_values([row.p_faster for row in first], [None if row is None else row.p_faster for row in fresh])
    return [
        unconfirmed(row, level)
        if confirmation is None
        else _changed(slow, fast, level) or unconfirmed(confirmation, level / len(first))
        for row, confirmation, slow, fast in zip(first, fresh, slower, faster, strict=True)
    ]


def _p_values(first: Sequence[float], fresh: Sequence[float | None]) -> list[float]:
    """Return p-values adjusted for the number of rows and for the two rules of `decide`; 1 for unflagged rows."""
    flagged = [index for index, p in enumerate(fresh) if p is not None]
    alone = np.ones(len(first))
    alone[flagged] = holm(np.array([fresh[index] for index in flagged], dtype=np.float64))
    together = holm(np.array([1.0 if p is None else _stouffer(q, p) for q, p in zip(first, fresh, strict=True)]))
    points_there = np.array([p is not None and p <= SCREEN_LEVEL for p in fresh])
    return [float(p) for p in np.minimum(1, 2 * np.minimum(alone, np.where(points_there, together, 1)))]


def _stouffer(*p_values: float) -> float:
    from scipy.stats import combine_pvalues

    inside = np.clip(p_values, 1e-300, 1 - 1e-16)  # the normal quantiles of 0 and 1 are infinite
    return float(combine_pvalues(inside, method="stouffer").pvalue)


def needs_confirmation(evidence: Evidence) -> bool:
    """Tell whether a change beyond the margin is likely enough to confirm it with fresh rounds."""
    return min(evidence.p_slower, evidence.p_faster) <= SCREEN_LEVEL


def can_stop(evidence: Evidence) -> bool:
    """Tell whether a row is so clearly within the margin that its rounds are better spent on others."""
    return evidence.p_equivalent <= INTERIM_LEVEL


def fewest_to_confirm(level: float, min_p: Callable[[int], float]) -> int:
    """Return the fewest fresh rounds to ask for: those that can show a change at ``level``, and a few to spare."""
    return fewest_rounds(level, min_p) + _SPARE_ROUNDS


def rounds_to_confirm(evidence: Evidence, level: float) -> int | None:
    """Return how many fresh rounds confirm a change with 99 % probability; None if it may be within the margin."""
    change = evidence.change
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return None
    distance = min(abs(change.low), abs(change.high)) - evidence.margin
    if distance <= 0:
        return None
    error = float(change.half_width) / _quantile(0.975) * evidence.rounds**0.5
    root = error * (_quantile(1 - level) + _quantile(_CONFIRMING_POWER)) / distance
    wanted: int = ceil(root * root)
    return max(fewest_to_confirm(level, evidence.min_p), wanted)
