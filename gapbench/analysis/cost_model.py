"""Fit the cost of a call as a line: a fixed cost, and a part proportional to the bytes that move.

``seconds = fixed + bytes / bandwidth`` is fitted for each implementation over the sizes of one `CONTEXT`.

Times span decades and scatter by a factor, so `scipy.optimize.least_squares` fits the logarithms. It keeps both
parameters at or above 0, and starts from the weighted linear least squares on relative errors (`scipy.optimize.nnls`),
which is close and cannot fail. Intervals are those of linearised least squares with the scatter around the line (Seber
and Wild, Nonlinear Regression, 1989, section 5.1). Caches make bandwidth depend on size: read a fixed cost together
with the fit's ``misfit``.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from gapbench.errors import counted
from gapbench.statistics.stats import Floats, Interval

CONTEXT = ("operation", "dtype", "layout", "device", "pass", "threads", "clock", "memory", "contender")
"""Columns of the results that have one value in all rows of a fit."""

FEWEST_SIZES = 3  # two sizes always lie on a line
LEAST_SPAN = 4.0  # the smallest ratio of largest to smallest size that separates fixed cost from bandwidth

Context = tuple[Hashable, ...]  # the values of `CONTEXT`


@dataclass(frozen=True, slots=True)
class Fit:
    """The line of one implementation: ``fixed`` in seconds, ``gbps`` in 10^9 bytes per second.

    Intervals are of 95 %; a bound is None if the data set none, and the bandwidth is infinite if time does not grow
    with size. ``misfit`` is the root mean square of log(measured / line): 0.1 is about 10 %. ``points`` are the
    measured bytes and seconds, ``sizes`` is the number of different sizes. The line is valid only between ``smallest``
    and ``largest`` bytes.
    """

    context: Context
    implementation: str
    fixed: Interval
    gbps: Interval
    misfit: float
    sizes: int
    smallest: float
    largest: float
    points: tuple[tuple[float, float], ...]

    def seconds(self, size: float) -> float:
        """Return the seconds of the line at a size in bytes."""
        return self.fixed.estimate + size / self.gbps.estimate / 1e9


@dataclass(frozen=True, slots=True)
class Refusal:
    """An implementation without a line, and the reason."""

    context: Context
    implementation: str
    reason: str


@dataclass(frozen=True, slots=True)
class Crossover:
    """The size in ``bytes`` at which the fastest line of a context changes from ``below`` to ``above``."""

    context: Context
    below: str
    above: str
    bytes: float


def fits(results: pd.DataFrame) -> tuple[list[Fit], list[Refusal]]:
    """Fit each implementation of a run's ``results`` in each context; return the fits and the refusals."""
    columns = [*CONTEXT, "implementation", "bytes_moved", "seconds"]
    ok = results.loc[(results["status"] == "ok") & results["seconds"].gt(0), columns]
    fitted: list[Fit] = []
    refused: list[Refusal] = []
    for key, rows in ok.groupby([*CONTEXT, "implementation"], dropna=False, sort=False):
        *context, name = key
        moved = rows[rows["bytes_moved"].gt(0)]
        sizes, seconds = (moved[column].to_numpy(dtype=np.float64) for column in ("bytes_moved", "seconds"))
        if reason := _refused(sizes):
            refused.append(Refusal(tuple(context), str(name), reason))
        else:
            fixed, gbps, misfit = line(sizes, seconds)
            ends, count = (float(sizes.min()), float(sizes.max())), len(np.unique(sizes))
            timed = tuple(zip(sizes.tolist(), seconds.tolist(), strict=True))
            fitted.append(Fit(tuple(context), str(name), fixed, gbps, misfit, count, *ends, timed))
    return fitted, refused


def _refused(sizes: Floats) -> str:
    count = len(np.unique(sizes))
    if not count:
        return "its cases do not say how many bytes they move"
    if count < FEWEST_SIZES:
        return f"{counted(count, 'size')} measured, a line needs {FEWEST_SIZES}; measure more shapes"
    span = float(sizes.max() / sizes.min())
    if span < LEAST_SPAN:
        return f"its sizes span a factor {span:.2g}, a line needs {LEAST_SPAN:g}; measure smaller and larger shapes"
    return ""


def line(sizes: Floats, seconds: Floats) -> tuple[Interval, Interval, float]:
    """Fit ``seconds = fixed + sizes / bandwidth``; return fixed (s), bandwidth (GB/s) and misfit (see `Fit`).

    ``sizes`` (bytes) and ``seconds`` are positive, one of each per case, with at least three different sizes.
    """
    from scipy.optimize import least_squares, nnls
    from scipy.stats import t

    # In units of the smallest time and the largest size both parameters are of the order of 1.
    unit, largest = float(seconds.min()), float(sizes.max())
    design, log_times = np.column_stack([np.ones(len(sizes)), sizes / largest]), np.log(seconds / unit)
    start, _ = nnls(design / (seconds / unit)[:, None], np.ones(len(sizes)))

    def residuals(parameters: Floats) -> Floats:
        return np.log(np.maximum(design @ parameters, 1e-300)) - log_times

    def slopes(parameters: Floats) -> Floats:
        return design / np.maximum(design @ parameters, 1e-300)[:, None]

    # the search must start strictly inside the bounds
    solved = least_squares(residuals, np.maximum(start, 1e-6), slopes, bounds=(0, np.inf), xtol=1e-12, ftol=1e-12)
    off, jacobian, free = residuals(solved.x), slopes(solved.x), len(sizes) - 2
    scatter = float(off @ off) / free
    error = np.sqrt(np.diag(np.linalg.pinv(jacobian.T @ jacobian)) * scatter)
    # A parameter within a billionth of its bound (in units of the smallest time) is on it.
    solution = np.where(solved.x > 1e-9, solved.x, 0.0)
    (fixed, slope), (fixed_error, slope_error) = solution.tolist(), (float(t.ppf(0.975, free)) * error).tolist()
    cost = Interval(fixed * unit, max(0.0, fixed - fixed_error) * unit, (fixed + fixed_error) * unit)
    slopes_of = (slope, slope + slope_error, slope - slope_error)  # of the estimate, the steepest and the flattest line
    best, low, high = (largest / unit / 1e9 / each if each > 0 else None for each in slopes_of)
    return cost, Interval(np.inf if best is None else best, low, high), float(np.sqrt(np.mean(off**2)))


def crossovers(fitted: Sequence[Fit]) -> list[Crossover]:
    """Return the sizes at which the fastest line changes, within the sizes of both lines, smallest first.

    Crossings of two slower lines are left out: they do not matter to a choice.
    """
    crossings = []
    for first, second in combinations(fitted, 2):
        steeper = 1 / first.gbps.estimate - 1 / second.gbps.estimate
        if first.context != second.context or steeper == 0:
            continue
        size = (second.fixed.estimate - first.fixed.estimate) / steeper * 1e9  # at which the two cross
        if not max(first.smallest, second.smallest) < size < min(first.largest, second.largest):
            continue
        rivals = [fit for fit in fitted if fit.context == first.context and fit.smallest <= size <= fit.largest]
        if first.seconds(size) <= min(fit.seconds(size) for fit in rivals) * (1 + 1e-9):
            below, above = sorted((first, second), key=lambda fit: -1 / fit.gbps.estimate)
            crossings.append(Crossover(first.context, below.implementation, above.implementation, size))
    return sorted(crossings, key=lambda crossing: (list(map(str, crossing.context)), crossing.bytes))
