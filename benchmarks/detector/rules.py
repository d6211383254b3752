"""The decisions of other tools, on the samples of base and head of one row.

Each rule gets seconds per call as (processes, turns) of either side, nan where a process has fewer turns, and returns
1 for slower, -1 for faster, 0 for neither. Rules were read in the tools' sources; versions are named. Nothing here
corrects for many rows: neither do the tools.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import comb

import numpy as np

from gapbench.statistics.stats import Floats

Decide = Callable[[Floats, Floats], int]


@dataclass(frozen=True)
class Rule:
    """A tool's decision, and how many fresh processes a side it takes by default (its own words: rounds, counts)."""

    name: str
    processes: int
    decide: Decide


def pytest_benchmark(base: Floats, head: Floats, field: str, percent: float = 5.0) -> int:
    """Decide as ``--benchmark-compare-fail=field:percent%`` of pytest-benchmark 5.3.1 (`PercentageRegressionCheck`).

    The statistics are over all samples of a side. It only knows failures; faster is the same with the sides swapped.
    """
    of = {"min": np.min, "median": np.median, "mean": np.mean}[field]
    before, after = (float(of(side[~np.isnan(side)])) for side in (base, head))
    return int(after / before * 100 - 100 > percent) - int(before / after * 100 - 100 > percent)


def values(side: Floats, count: int) -> Floats:
    """Return ``count`` values a process: means over as many equal stretches of its turns, without those left over."""
    there, turns = ~np.isnan(side), np.arange(side.shape[1])
    stretch = turns // np.maximum(1, there.sum(axis=1, keepdims=True) // count)
    kept = there & (stretch < count)
    number = (stretch + count * np.arange(len(side))[:, None])[kept]
    sizes = np.bincount(number)
    return np.bincount(number, side[kept])[sizes > 0] / sizes[sizes > 0]


ASV_LEVEL = 0.002
ASV_VALUES = 5
"""Samples that asv takes of a process: ``repeat`` is at most 10, halved where there are two processes."""


def asv(base: Floats, head: Floats, factor: float, stored: bool) -> int:
    """Decide as asv 0.6.6 (`asv.commands.compare._is_result_better`, `asv._stats.is_different`).

    Medians must be a ``factor`` apart and the sides different. With samples (``asv continuous``; ``stored`` False)
    that is a Mann-Whitney test with p < 0.002; with stored statistics (``asv run`` and ``asv compare``, which keep no
    samples unless asked) the 99 % intervals of the medians must not overlap.
    """
    before, after = values(base, ASV_VALUES), values(head, ASV_VALUES)
    one, other = float(np.median(before)), float(np.median(after))
    slower, faster = one < other / factor, other < one / factor
    if not (slower or faster):
        return 0
    different = _apart(before, after) if stored else asv_p(before, after) < ASV_LEVEL
    return (int(slower) - int(faster)) * int(different)


def asv_p(one: Floats, other: Floats) -> float:
    """Return asv's two-sided Mann-Whitney p: exact up to 20 values a side, then normal, uncorrected for continuity."""
    from scipy.stats import mannwhitneyu

    if max(len(one), len(other)) <= 20:
        return float(mannwhitneyu(one, other, method="exact").pvalue)
    return float(mannwhitneyu(one, other, method="asymptotic", use_continuity=False).pvalue)


def asv_interval(samples: Floats) -> tuple[float, float]:
    """Return asv's 99 % interval of a median, from order statistics (`asv_runner.statistics.quantile_ci`).

    Infinite below 8 samples, where asv goes on to a Bayesian one; no rule here has so few.
    """
    ordered, n = np.sort(samples), len(samples)
    at_most = np.cumsum([comb(n, k) for k in range(n)]) / 2.0**n  # the last, 1, is left out
    low, high = np.flatnonzero(at_most <= 0.005), np.flatnonzero(at_most >= 0.995)
    return float(ordered[low[-1]]) if len(low) else -np.inf, float(ordered[high[0]]) if len(high) else np.inf


def _apart(one: Floats, other: Floats) -> bool:
    (low, high), (other_low, other_high) = asv_interval(one), asv_interval(other)
    return high < other_low or other_high < low


PYPERF_VALUES = 3


def pyperf(base: Floats, head: Floats) -> int:
    """Decide as ``pyperf compare_to`` 2.10 (`pyperf._utils.is_significant`): Student's pooled t, two-sided, 95 %."""
    from scipy.stats import ttest_ind

    before, after = values(base, PYPERF_VALUES), values(head, PYPERF_VALUES)
    found = ttest_ind(after, before)
    return int(np.sign(found.statistic)) if found.pvalue <= 0.05 else 0


def benchstat(base: Floats, head: Floats) -> int:
    """Decide as benchstat (golang.org/x/perf/benchmath, `AssumeNothing`): Mann-Whitney, p <= 0.05; medians say where.

    One value a process, which flatters it: ``go test -count=10`` takes all ten in one process.
    """
    from scipy.stats import mannwhitneyu

    before, after = values(base, 1), values(head, 1)
    # go-moremath is exact up to 50 values a side without ties, then normal
    method = "exact" if max(len(before), len(after)) <= 50 else "asymptotic"
    significant = mannwhitneyu(after, before, method=method).pvalue <= 0.05
    return int(np.sign(np.median(after) - np.median(before))) * int(significant)


RULES: tuple[Rule, ...] = (
    *(
        Rule(f"pytest-benchmark {field}:5%", 1, partial(pytest_benchmark, field=field))
        for field in ("min", "median", "mean")
    ),
    *(Rule(f"asv compare, factor {f}", 2, partial(asv, factor=f, stored=True)) for f in (1.05, 1.1)),
    *(Rule(f"asv continuous, factor {f}", 2, partial(asv, factor=f, stored=False)) for f in (1.05, 1.1)),
    Rule("pyperf compare_to", 20, pyperf),
    Rule("benchstat", 10, benchstat),
)
