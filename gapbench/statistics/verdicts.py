"""Verdicts on what changed: arrays of log times or log ratios in, frozen dataclasses out.

`student` and `paired` weigh one row (a case, an implementation, a clock); `judge` then decides over all rows together.
Shifts are of log(head / base), and a margin of 1 % means head / base between 1/1.01 and 1.01, so that swapping the
sides mirrors every verdict.

`decide` judges in two stages: a first look at every row, then fresh rounds for those in which a change seems likely.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, isfinite
from statistics import NormalDist
from typing import Literal

import numpy as np

from gapbench.statistics.stats import Floats, Interval, holm, location


class Verdict(StrEnum):
    """What became of a row from base to head, most pressing first (a contract: JSON and ``--fail-on`` use the names).

    Four are statistical; the structural ones say why there is nothing to test.
    """

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


LEVEL = 0.01
"""How often identical code may show any red (or any green), over all rows of a diff: once in a hundred."""

EQUIVALENCE_LEVEL = 0.05
"""How often a row that did change by the margin may be called equivalent: as usual in TOST, for each row by itself."""

_POWER = 0.8
_MOST_ROUNDS = 1000
_MOST_EXACT = 200
"""With more rounds the tests' normal approximations serve; both err on the safe side in the tails."""

_Alternative = Literal["less", "greater"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one row's rounds say against a margin, before the other rows are considered.

    ``change`` is the log of head / base with its 95 % interval, ``margin`` a log too. The p-values test against being
    no more than a margin slower, no more than a margin faster, and outside the margin (TOST, the larger of its two).
    ``smallest`` is the smallest p-value that so many rounds can give, ``floor`` the variance of the change that no
    number of rounds removes.
    """

    change: Interval
    margin: float
    slower: float
    faster: float
    within: float
    rounds: int
    smallest: Callable[[int], float]
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """A statistical verdict, its p-value, and for ``inconclusive`` how many rounds a side would probably decide.

    ``p_value`` belongs to the verdict's own test: adjusted for all rows, or that of TOST for ``equivalent``; of an
    ``inconclusive`` row, the smaller adjusted one. ``rounds_needed`` is None where more rounds are no remedy (see
    `rounds_needed`).
    """

    verdict: Verdict
    p_value: float
    rounds_needed: int | None = None


def smallest_paired(rounds: int) -> float:
    """Return the smallest p of a one-sided signed-rank test: 1 / 2^n."""
    return 0.5**rounds


def student(change: float, variance: float, floor: float, degrees: float, rounds: int, margin: float) -> Evidence:
    """Weigh a change (a log) of known ``variance`` by Student's t; ``margin`` is a share, 0.01 for 1 %.

    ``floor`` is the part of the variance that more rounds would not shrink. However few the rounds, the p-values can be
    as small as the change is large: what rounds do not tell, the variance must.
    """
    from scipy.special import stdtr, stdtrit

    delta = float(np.log1p(margin))
    error, degrees = max(variance, 1e-24) ** 0.5, min(degrees, 1e6)

    def p(sign: int, alternative: _Alternative) -> float:
        t = (change - sign * delta) / error
        return float(stdtr(degrees, t if alternative == "less" else -t))

    half = float(stdtrit(degrees, 0.975)) * error
    evidence = _evidence(Interval(change, change - half, change + half), delta, p, rounds, lambda _: 0.0)
    return replace(evidence, floor=floor)


def paired(log_ratios: Floats, margin: float) -> Evidence:
    """Weigh rounds that measured both sides together: a log of head / base per round, by signed-rank tests."""
    delta = float(np.log1p(margin))
    rounds = len(log_ratios)

    def p(sign: int, alternative: _Alternative) -> float:
        from scipy.stats import wilcoxon

        if not rounds:
            return 1.0
        method: Literal["exact", "auto"] = "exact" if rounds <= _MOST_EXACT else "auto"
        shifted = log_ratios - sign * delta
        # zeros speak for neither side: half of their ranks goes to each
        return float(wilcoxon(shifted, zero_method="zsplit", alternative=alternative, method=method).pvalue)

    return _evidence(location(log_ratios), delta, p, rounds, smallest_paired)


def _evidence(
    change: Interval,
    delta: float,
    p: Callable[[int, _Alternative], float],
    rounds: int,
    smallest: Callable[[int], float],
) -> Evidence:
    """``p(sign, alternative)`` tests whether the change is greater or less than ``sign`` margins."""
    return Evidence(
        change=change,
        margin=delta,
        slower=p(1, "greater"),
        faster=p(-1, "less"),
        within=max(p(1, "less"), p(-1, "greater")),
        rounds=rounds,
        smallest=smallest,
    )


def judge(evidence: Sequence[Evidence], level: float = LEVEL) -> list[Judgement]:
    """Decide over all rows: ``regressed`` and ``improved`` each hold over the whole family at ``level`` (Holm)."""
    slower = holm(np.array([row.slower for row in evidence])).tolist()
    faster = holm(np.array([row.faster for row in evidence])).tolist()
    alone = level / max(1, len(evidence))  # what Holm asks of a lone change
    return [
        _changed(slow, fast, level) or unconfirmed(row, alone, min(slow, fast))
        for row, slow, fast in zip(evidence, slower, faster, strict=True)
    ]


def _changed(slower: float, faster: float, level: float) -> Judgement | None:
    """Return the verdict on a row with these adjusted p-values, None where they show no change."""
    if slower <= level:
        return Judgement(Verdict.REGRESSED, slower)
    return Judgement(Verdict.IMPROVED, faster) if faster <= level else None


def unconfirmed(evidence: Evidence, level: float = LEVEL, p_value: float | None = None) -> Judgement:
    """Decide on a row that did not change, or whose change no fresh rounds were asked to confirm: equivalent at most.

    ``p_value`` is what an inconclusive row is said to have, by default the smaller of its own.
    """
    if evidence.within <= EQUIVALENCE_LEVEL:
        return Judgement(Verdict.EQUIVALENT, evidence.within)
    smaller = min(evidence.slower, evidence.faster) if p_value is None else p_value
    return Judgement(Verdict.INCONCLUSIVE, smaller, rounds_needed(evidence, level))


def rounds_needed(evidence: Evidence, level: float) -> int | None:
    """Return about how many rounds (a side) would decide with 80 % probability, if the change is what it seems.

    Outside the margin that is a minimum-effect test at ``level``, inside it TOST; what rounds do to the error shrinks
    with their root. Never fewer than could show a change at ``level``. None where more than 1000 would not do either.
    """
    fewest = fewest_rounds(level, evidence.smallest)
    error = evidence.change.half_width / quantile(0.975)
    if not isfinite(error):
        return fewest
    distance = abs(evidence.change.estimate) - evidence.margin
    deviations = quantile(1 - (level if distance > 0 else EQUIVALENCE_LEVEL)) + quantile(_POWER)
    left = (distance / deviations) ** 2 - evidence.floor  # what the rounds' part of the variance may come to
    now = max(error**2 - evidence.floor, 0.0) * evidence.rounds
    if left * _MOST_ROUNDS <= now:
        return None
    return max(fewest, evidence.rounds + 1, ceil(now / left))


def quantile(probability: float) -> float:
    """Return the standard normal's quantile."""
    return NormalDist().inv_cdf(probability)


def fewest_rounds(level: float, smallest: Callable[[int], float]) -> int:
    """Return the fewest rounds (a side) whose smallest p-value reaches ``level``."""
    rounds = 1
    while smallest(rounds) > level:
        rounds += 1
    return rounds


SCREEN_LEVEL = 0.25
"""A first look asks for fresh rounds of every row whose p-value against the margin, as it stands, is below this."""

INTERIM_LEVEL = 0.005
"""A row looked at now and then while it is measured rests as soon as its TOST is this clear: ten looks cost 5 %."""

_CONFIRMING_POWER = 0.99
_SPARE_ROUNDS = 3
"""With the very fewest rounds that can fire, a single one that disagrees would prevent it."""


def decide(first: Sequence[Evidence], fresh: Sequence[Evidence | None], level: float = LEVEL) -> list[Judgement]:
    """Judge rows by what the first look says, and the fresh rounds of those that it flagged (None for the others).

    A flagged row has regressed if its fresh rounds say so, among the flagged at half the level; or if both stages do,
    combined with equal weights (Stouffer's inverse normal method, which holds however many rounds the second got),
    among all rows at half the level, and the fresh rounds point there by themselves. The first finds a lone change,
    which gets many fresh rounds; the second many changes, which share them. The others are equivalent at most.
    """
    slower = _p_values([row.slower for row in first], [None if row is None else row.slower for row in fresh])
    faster = _p_values([row.faster for row in first], [None if row is None else row.faster for row in fresh])
    return [
        unconfirmed(row, level)
        if again is None
        else _changed(slow, fast, level) or unconfirmed(again, level / len(first))
        for row, again, slow, fast in zip(first, fresh, slower, faster, strict=True)
    ]


def _p_values(first: Sequence[float], fresh: Sequence[float | None]) -> list[float]:
    """Return the rows' p-values adjusted for being many and for the two ways to be found; 1 for unflagged rows."""
    flagged = [index for index, p in enumerate(fresh) if p is not None]
    alone = np.ones(len(first))
    alone[flagged] = holm(np.array([fresh[index] for index in flagged], dtype=np.float64))
    together = holm(np.array([1.0 if p is None else _stouffer(q, p) for q, p in zip(first, fresh, strict=True)]))
    points_there = np.array([p is not None and p <= SCREEN_LEVEL for p in fresh])
    return [float(p) for p in np.minimum(1, 2 * np.minimum(alone, np.where(points_there, together, 1)))]


def _stouffer(*p_values: float) -> float:
    from scipy.stats import combine_pvalues

    inside = np.clip(p_values, 1e-300, 1 - 1e-16)  # a p-value of 1 would be infinitely far off
    return float(combine_pvalues(inside, method="stouffer").pvalue)


def needs_confirmation(evidence: Evidence) -> bool:
    """Tell whether a first look makes a change beyond the margin likely enough to measure the row afresh."""
    return min(evidence.slower, evidence.faster) <= SCREEN_LEVEL


def can_stop(evidence: Evidence) -> bool:
    """Tell whether a row is so clearly within the margin that its rounds are better spent on others."""
    return evidence.within <= INTERIM_LEVEL


def fewest_to_confirm(level: float, smallest: Callable[[int], float]) -> int:
    """Return the fewest fresh rounds to ask for: those that can fire at ``level``, and a few to spare."""
    return fewest_rounds(level, smallest) + _SPARE_ROUNDS


def rounds_to_confirm(evidence: Evidence, level: float) -> int | None:
    """Return how many fresh rounds show at ``level``, 99 times in a hundred, what a first look found.

    As if the change were only the end of its interval that is nearer to none; None where that is within the margin,
    so that as many as there is time for are wanted.
    """
    change = evidence.change
    if change.low is None or change.high is None or change.low <= 0 <= change.high:
        return None
    distance = min(abs(change.low), abs(change.high)) - evidence.margin
    if distance <= 0:
        return None
    error = float(change.half_width) / quantile(0.975) * evidence.rounds**0.5
    root = error * (quantile(1 - level) + quantile(_CONFIRMING_POWER)) / distance
    wanted: int = ceil(root * root)
    return max(fewest_to_confirm(level, evidence.smallest), wanted)
