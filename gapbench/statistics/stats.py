"""Robust location and its interval: arrays in, frozen dataclasses out.

Rounds (sets of fresh processes) are what is replicated, so every interval is taken over rounds.
"""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_ROUNDS = 6
"""With fewer values no signed-rank interval reaches 95 %: the widest, from 5, has 1 - 2/2^5 = 93.75 %."""

UNDISTURBED = 0.1
"""The quantile of a round's batches that ratios compare.

Other work on a machine only ever adds time, in spells that hit one batch of a pair and not the other. On three
recordings of identical code a round's log ratio scattered by 0.5 to 0.9 % by this quantile, and by 0.8 to 5.6 % by the
median of pairs (docs/measuring.md). What it cannot see is work that a function does in some of its batches only:
`excess` looks for that.
"""

CLEARLY_SLOWER = 1.5
"""An implementation stops taking turns once it is shown to take this many times as long as the fastest of its case."""

_MOST_EXACT = 200
"""With more values the signed-rank statistic is taken as normal, which puts the cut off by less than 0.1 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval; ``low`` and ``high`` are None where the values are too few."""

    estimate: float
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float:
        """Half the interval's width, infinite where there is no interval."""
        return np.inf if self.low is None or self.high is None else (self.high - self.low) / 2

    def exp(self) -> "Interval":
        """Return the interval of what this one has the logarithm of."""
        low, high = (None if bound is None else float(np.exp(bound)) for bound in (self.low, self.high))
        return Interval(float(np.exp(self.estimate)), low, high)


def round_log_ratio(seconds: Floats, others: Floats) -> float:
    """Return a round's log ratio of two implementations: the difference of the `UNDISTURBED` quantiles of log seconds.

    Both hold a value per turn, in the same order, nan where an implementation sat a turn out: only turns that both took
    count. Without one the ratio is nan.
    """
    shared = ~np.isnan(seconds + others)
    if not shared.any():
        return np.nan
    return _undisturbed(np.log(seconds[shared])) - _undisturbed(np.log(others[shared]))


def _undisturbed(values: Floats) -> float:
    """Return the quantile as NumPy does, whose own call takes far longer for the few values of a round."""
    at = UNDISTURBED * (len(values) - 1)
    low, high = np.sort(values)[[int(at), min(int(at) + 1, len(values) - 1)]].tolist()
    share = at - int(at)
    return float(low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share))


def excess(seconds: Floats) -> float:
    """Return how far the median of a round's batches lies above their `UNDISTURBED` quantile, in log seconds."""
    logs = np.log(seconds)
    return float(np.median(logs)) - _undisturbed(logs)


def lower_bound(values: Floats, alpha: float = 0.05) -> float:
    """Return a lower bound on the mean of ``values`` that may be looked at after every value and still holds.

    With n values it is one-sided Student's t at level alpha / (n (n - 1)): those levels sum to ``alpha``, so by the
    union bound the mean lies below any of the bounds with at most that probability. -inf below two values.
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return -np.inf
    quantile = float(stdtrit(n - 1, 1 - alpha / (n * (n - 1))))
    return float(np.mean(values) - quantile * np.std(values, ddof=1) / n**0.5)


def walsh_averages(values: Floats) -> Floats:
    """Return all n(n+1)/2 averages of pairs of ``values`` (each with itself too), sorted."""
    i, j = np.triu_indices(len(values))
    return np.sort((values[i] + values[j]) / 2)


def hodges_lehmann(values: Floats) -> float:
    """Return the median of the Walsh averages: nearly as efficient as the mean, nearly as robust as the median.

    Hodges and Lehmann, Annals of Mathematical Statistics 34 (1963) 598.
    """
    return float(np.median(walsh_averages(values)))


def location(values: Floats, confidence: float = 0.95) -> Interval:
    """Return the Hodges-Lehmann estimate of ``values`` with its exact signed-rank interval.

    The interval inverts Wilcoxon's signed-rank test (Hollander, Wolfe and Chicken, Nonparametric Statistical
    Methods, 3rd ed., section 3.3): values are independent and symmetric about the location, nothing more is assumed.
    Without values the estimate is nan.
    """
    if not len(values):
        return Interval(np.nan)
    averages = walsh_averages(np.asarray(values, dtype=np.float64))
    estimate = float(np.median(averages))
    cut = _signed_rank_cut(len(values), confidence)
    if cut is None:
        return Interval(estimate)
    return Interval(estimate, float(averages[cut]), float(averages[-1 - cut]))


def holm(p_values: Floats) -> Floats:
    """Return ``p_values`` adjusted for being many: at most a share a of families has any false one below a.

    Whatever the tests' dependence. Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(np.arange(len(order), 0, -1) * np.asarray(p_values, dtype=np.float64)[order])
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def unpaired(values: Floats, others: Floats, confidence: float = 0.95) -> Interval:
    """Return the difference of the means, ``values`` minus ``others``, with its interval by Welch's t.

    Welch, Biometrika 34 (1947) 28: two independent samples of normal values, each with a variance of its own. Below two
    values on a side there is no interval.
    """
    from scipy.special import stdtrit

    difference = float(np.mean(values) - np.mean(others))
    if min(len(values), len(others)) < 2:
        return Interval(difference)
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (values, others)]
    variance = sum(parts)
    if variance == 0:
        return Interval(difference, difference, difference)
    degrees = variance**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (values, others), strict=True))
    half = float(stdtrit(degrees, (1 + confidence) / 2)) * variance**0.5
    return Interval(difference, difference - half, difference + half)


def smallest_detectable(spread: float, rounds: int, cases: int, margin: float, power: float = 0.95) -> float:
    """Return the slowdown (0.03 is 3 %) that a diff of ``cases`` cases finds with probability ``power``.

    ``spread`` is the standard deviation of a round's log ratio. The test is one-sided at 5 % over all cases
    (Bonferroni) against ``margin``, by Student's t with one value a round. Infinite below two rounds.
    """
    from scipy.special import stdtrit

    if rounds < 2:
        return float("inf")
    quantiles = stdtrit(rounds - 1, 1 - 0.05 / cases) + stdtrit(rounds - 1, power)
    return float(np.expm1(np.log1p(margin) + quantiles * spread / np.sqrt(rounds)))


@cache
def _signed_rank_cut(n: int, confidence: float) -> int | None:
    """Return how many Walsh averages to leave out at each end, or None if even none is too many.

    That is the largest k with P(W <= k) <= (1 - confidence) / 2, W being the signed-rank statistic of n values.
    """
    if n > _MOST_EXACT:
        mean, deviation = n * (n + 1) / 4, (n * (n + 1) * (2 * n + 1) / 24) ** 0.5
        return int(NormalDist(mean, deviation).inv_cdf((1 - confidence) / 2) - 0.5)
    counts = np.ones(1)  # counts[w]: in how many ways a subset of the ranks 1..n sums to w
    for rank in range(1, n + 1):
        longer = np.zeros(len(counts) + rank)
        longer[: len(counts)] += counts
        longer[rank:] += counts
        counts = longer
    tail = np.cumsum(counts) / counts.sum()
    k = int(np.searchsorted(tail, (1 - confidence) / 2, side="right")) - 1
    return k if k >= 0 else None
