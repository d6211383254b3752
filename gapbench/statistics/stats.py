"""Estimate locations and ratios with intervals over rounds (sets of fresh processes): arrays in, dataclasses out."""

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST_ROUNDS = 6
"""The fewest values whose signed-rank interval reaches 95 %: the widest one of 5 covers 1 - 2/2^5 = 93.75 %."""

UNDISTURBED = 0.1
"""The quantile of a round's batches that ratios compare; other work only adds time, to one of a pair.

A round's log ratio of identical code scattered by 0.5 to 0.9 % with it, by 0.8 to 5.6 % with the median of pairs
(docs/measuring.md). It misses work in only some batches, which `excess` measures.
"""

CLEARLY_SLOWER = 1.5
"""An implementation stops early once it is shown to take this many times as long as the fastest of its case."""

_MOST_EXACT = 200
"""Above this many values the signed-rank statistic is treated as normal, which shifts the cut by less than 0.1 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its confidence interval; ``low`` and ``high`` are None if there are too few values."""

    estimate: float
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float:
        """Half the interval's width, infinite if there is no interval."""
        return np.inf if self.low is None or self.high is None else (self.high - self.low) / 2

    def exp(self) -> "Interval":
        """Convert the interval of a logarithm to that of the value."""
        low, high = (None if bound is None else float(np.exp(bound)) for bound in (self.low, self.high))
        return Interval(float(np.exp(self.estimate)), low, high)


def round_log_ratio(seconds: Floats, others: Floats) -> float:
    """Return a round's log ratio by the `UNDISTURBED` quantiles of the turns that both took; nan without such."""
    shared = ~np.isnan(seconds + others)
    if not shared.any():
        return np.nan
    return _undisturbed(np.log(seconds[shared])) - _undisturbed(np.log(others[shared]))


def _undisturbed(values: Floats) -> float:
    """Return the same quantile as `numpy.quantile`, which takes far longer for the few values of a round."""
    at = UNDISTURBED * (len(values) - 1)
    low, high = np.sort(values)[[int(at), min(int(at) + 1, len(values) - 1)]].tolist()
    share = at - int(at)
    return float(low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share))


def excess(seconds: Floats) -> float:
    """Return the distance from the `UNDISTURBED` quantile of a round's batches up to their median, in log seconds."""
    logs = np.log(seconds)
    return float(np.median(logs)) - _undisturbed(logs)


def lower_bound(values: Floats, alpha: float = 0.05) -> float:
    """Return a lower bound on the mean of ``values`` that stays valid when it is checked after every value.

    By Student's t at level alpha / (n (n - 1)), which sum to ``alpha``; -inf for fewer than two values.
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return -np.inf
    quantile = float(stdtrit(n - 1, 1 - alpha / (n * (n - 1))))
    return float(np.mean(values) - quantile * np.std(values, ddof=1) / n**0.5)


def walsh_averages(values: Floats) -> Floats:
    """Return the n(n+1)/2 averages of all pairs of ``values``, each value with itself included, sorted."""
    i, j = np.triu_indices(len(values))
    return np.sort((values[i] + values[j]) / 2)


def location(values: Floats, confidence: float = 0.95) -> Interval:
    """Return the Hodges-Lehmann estimate of ``values`` with its exact signed-rank interval; nan without values.

    The median of the Walsh averages, nearly as efficient as the mean and as robust as the median (Hodges and Lehmann,
    Annals of Mathematical Statistics 34 (1963) 598), and Wilcoxon's test inverted (Hollander, Wolfe and Chicken,
    Nonparametric Statistical Methods, 3rd ed., section 3.3): values are independent and symmetric about the location.
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
    """Adjust ``p_values`` for multiple tests, even dependent ones (Holm, Scand. Journal of Statistics 6 (1979) 65)."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(np.arange(len(order), 0, -1) * np.asarray(p_values, dtype=np.float64)[order])
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def mean_difference(values: Floats, others: Floats, confidence: float = 0.95) -> Interval:
    """Return the difference of the means, ``values`` minus ``others``, with its interval by Welch's t.

    Welch, Biometrika 34 (1947) 28: variances may differ. Without two values on each side there is no interval.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import, and warns of equal values

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
    """Return the slowdown (0.03 for 3 %) that a diff of ``cases`` cases detects with probability ``power``.

    ``spread`` is the standard deviation of a round's log ratio. The test is Student's t against ``margin``, at 5 % over
    all cases (Bonferroni). Infinite for fewer than two rounds.
    """
    from scipy.special import stdtrit

    if rounds < 2:
        return float("inf")
    quantiles = stdtrit(rounds - 1, 1 - 0.05 / cases) + stdtrit(rounds - 1, power)
    return float(np.expm1(np.log1p(margin) + quantiles * spread / np.sqrt(rounds)))


@cache
def _signed_rank_cut(n: int, confidence: float) -> int | None:
    """Return the largest k with P(W <= k) <= (1 - confidence) / 2 for the signed-rank statistic W of n values."""
    if n > _MOST_EXACT:
        mean, deviation = n * (n + 1) / 4, (n * (n + 1) * (2 * n + 1) / 24) ** 0.5
        return int(NormalDist(mean, deviation).inv_cdf((1 - confidence) / 2) - 0.5)
    counts = np.ones(1)  # counts[w]: in how many ways a subset of the ranks 1..n sums to w
    for rank in range(1, n + 1):
        counts = np.pad(counts, (0, rank)) + np.pad(counts, (rank, 0))
    tail = np.cumsum(counts) / counts.sum()
    k = int(np.searchsorted(tail, (1 - confidence) / 2, side="right")) - 1
    return k if k >= 0 else None
