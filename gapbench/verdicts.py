"""Verdicts on what changed: arrays of log times or log ratios in, frozen dataclasses out.

`unpaired` and `paired` weigh one row (a case, an implementation, a clock); `judge` then decides over all rows together.
Shifts are of log(head / base), and a margin of 1 % means head / base between 1/1.01 and 1.01, so that swapping the
sides mirrors every verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, comb
from statistics import NormalDist
from typing import Literal

import numpy as np

from gapbench.stats import Floats, Interval, holm, location, shift


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
    ``smallest_p`` is what even a perfect separation of so many rounds gives; ``smallest`` the same for other rounds.
    """

    change: Interval
    margin: float
    slower: float
    faster: float
    within: float
    rounds: int
    smallest_p: float
    smallest: Callable[[int], float]
    confirming: tuple[Interval, ...] = ()

    def confirmed_by(self, other: "Evidence") -> "Evidence":
        """Return evidence for what both say: neither may be refuted (an intersection-union test, so the larger p).

        The change remains this one's own; the other's is kept as ``confirming``.
        """
        return replace(
            self,
            slower=max(self.slower, other.slower),
            faster=max(self.faster, other.faster),
            within=max(self.within, other.within),
            confirming=(*self.confirming, other.change),
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """A statistical verdict, its p-value, and for ``inconclusive`` how many rounds a side would probably decide.

    ``p_value`` belongs to the verdict's own test: adjusted for all rows, or that of TOST for ``equivalent``; of an
    ``inconclusive`` row, the smaller adjusted one. ``hopeless``: so few rounds could not have shown any change among
    so many rows. ``rounds_needed`` is None where more rounds are no remedy (see `rounds_needed`).
    """

    verdict: Verdict
    p_value: float
    hopeless: bool = False
    rounds_needed: int | None = None


def smallest_unpaired(rounds: int) -> float:
    """Return the smallest p of a one-sided Mann-Whitney test with so many rounds a side: 1 / C(2n, n)."""
    return 1 / comb(2 * rounds, rounds)


def smallest_paired(rounds: int) -> float:
    """Return the smallest p of a one-sided signed-rank test: 1 / 2^n."""
    return 0.5**rounds


def unpaired(base: Floats, head: Floats, margin: float) -> Evidence:
    """Weigh two runs: a log time (or log ratio to the reference) per round of each side, by Mann-Whitney tests.

    ``margin`` is a share, 0.01 for 1 %.
    """
    delta = float(np.log1p(margin))
    rounds = min(len(base), len(head))

    def p(sign: int, alternative: _Alternative) -> float:
        from scipy.stats import mannwhitneyu

        if not rounds:
            return 1.0
        # method="exact" rounds a statistic with ties to the safe side
        method: Literal["exact", "asymptotic"] = "exact" if max(len(base), len(head)) <= _MOST_EXACT else "asymptotic"
        return float(mannwhitneyu(head - sign * delta, base, alternative=alternative, method=method).pvalue)

    smallest = 1 / comb(len(base) + len(head), rounds)
    return _evidence(shift(base, head), delta, p, rounds, smallest, smallest_unpaired)


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

    return _evidence(location(log_ratios), delta, p, rounds, smallest_paired(rounds), smallest_paired)


def _evidence(
    change: Interval,
    delta: float,
    p: Callable[[int, _Alternative], float],
    rounds: int,
    smallest_p: float,
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
        smallest_p=smallest_p,
        smallest=smallest,
    )


def judge(evidence: Sequence[Evidence], level: float = LEVEL) -> list[Judgement]:
    """Decide over all rows: ``regressed`` and ``improved`` each hold over the whole family at ``level`` (Holm)."""
    slower = holm(np.array([one.slower for one in evidence]))
    faster = holm(np.array([one.faster for one in evidence]))
    alone = level / max(1, len(evidence))  # what Holm asks of a lone change
    judgements = []
    for one, slow, fast in zip(evidence, map(float, slower), map(float, faster), strict=True):
        if slow <= level:
            judgements.append(Judgement(Verdict.REGRESSED, slow))
        elif fast <= level:
            judgements.append(Judgement(Verdict.IMPROVED, fast))
        elif one.within <= EQUIVALENCE_LEVEL:
            judgements.append(Judgement(Verdict.EQUIVALENT, one.within))
        else:
            hopeless, needed = one.smallest_p > alone, rounds_needed(one, alone)
            if hopeless and needed is None:
                needed = fewest_rounds(alone, one.smallest)
            judgements.append(Judgement(Verdict.INCONCLUSIVE, min(slow, fast), hopeless, needed))
    return judgements


def rounds_needed(evidence: Evidence, level: float) -> int | None:
    """Return about how many rounds (a side) would decide with 80 % probability, if the change is what it seems.

    Outside the margin that is a minimum-effect test at ``level``, inside it TOST; the error shrinks with the root of
    the rounds. Never fewer than could show a change at ``level``. None beyond 1000, and where the change and what
    should confirm it lie on different sides of the margin: there rounds are no remedy.
    """
    rounds = [fewest_rounds(level, evidence.smallest)]
    sides = set()
    for change in (evidence.change, *evidence.confirming):
        if not np.isfinite(change.half_width):
            continue
        distance = abs(change.estimate) - evidence.margin
        outside = distance > 0
        sides.add(np.sign(change.estimate) if outside else 0)
        deviations = quantile(1 - (level if outside else EQUIVALENCE_LEVEL)) + quantile(_POWER)
        error = change.half_width / quantile(0.975)
        if abs(distance) * _MOST_ROUNDS**0.5 < deviations * error * evidence.rounds**0.5 or distance == 0:
            return None
        rounds += [evidence.rounds + 1, ceil(evidence.rounds * (deviations * error / distance) ** 2)]
    return max(rounds) if len(sides) <= 1 else None


def quantile(probability: float) -> float:
    """Return the standard normal's quantile."""
    return NormalDist().inv_cdf(probability)


def fewest_rounds(level: float, smallest: Callable[[int], float] = smallest_unpaired) -> int:
    """Return the fewest rounds (a side) whose smallest p-value reaches ``level``."""
    rounds = 1
    while smallest(rounds) > level:
        rounds += 1
    return rounds
