"""Estimate how far two runs of the same code differ: by the scatter of their rounds, and beyond it.

A shift from one run to another has two variances: that of its rounds, and one between runs, which differ in code
placement, memory, frequencies and neighbours. It is estimated robustly from rows that are mostly unchanged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gapbench.statistics.stats import Floats

_MOST_TRUSTED = 20.0
"""The most degrees of freedom of a scale: differences between runs have heavier tails than a normal distribution."""

_MAD_EFFICIENCY = 0.37  # a median of squares has the information of a mean over this share of the values
_CHI2_MEDIAN = 0.4549  # the median of a squared standard normal value
_AT_ONCE = 10_000_000  # numbers in one block of rows: a call of NumPy costs more than a row
_TYPICAL = 0.01**2
_PRIOR_ROUNDS = 2.0
_PRIOR_SHIFTS = 12.0
"""Variance of a round where no row has enough rounds to estimate it; rounds and shifts that priors count for."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A log of head / base, or of the level of one run's rounds; its variance is ``by_rounds`` and ``between_runs``."""

    value: float
    by_rounds: float
    rounds_degrees: float
    rounds: int
    between_runs: float = 0.0
    runs_degrees: float = np.inf

    @property
    def variance(self) -> float:
        """The variance of the value if nothing changed."""
        return self.by_rounds + self.between_runs

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the variance."""
        return _degrees((self.by_rounds, self.rounds_degrees), (self.between_runs, self.runs_degrees))

    @property
    def unchanged(self) -> tuple[float, float]:
        """The value and its variance by rounds, as `Scale` learns from them."""
        return self.value, self.by_rounds

    def less(self, other: "Shift") -> "Shift":
        """Return the shift minus an independent one."""
        degrees = _degrees((self.by_rounds, self.rounds_degrees), (other.by_rounds, other.rounds_degrees))
        return Shift(self.value - other.value, self.by_rounds + other.by_rounds, degrees, self.rounds)


def _degrees(*parts: tuple[float, float]) -> float:
    """Return the degrees of freedom of a sum of variances (Satterthwaite, Biometrics Bulletin 2 (1946) 110)."""
    squares = sum(variance**2 / degrees for variance, degrees in parts)
    return sum(variance for variance, _ in parts) ** 2 / squares if squares else np.inf


@dataclass(frozen=True, slots=True)
class Scale:
    """The variance of a shift between runs of unchanged code; its bounds keep changes of all rows from being noise."""

    variance: float
    degrees: float
    least: float
    most: float

    def learn(self, shifts: Iterable[tuple[float, float]]) -> "Scale":
        """Update the scale by shifts (value, variance by rounds) of mostly unchanged rows, by their median square."""
        pairs = np.array([pair for pair in shifts if np.isfinite(pair).all()], dtype=np.float64).reshape(-1, 2)
        if not len(pairs):
            return self
        squares, within = pairs[:, 0] ** 2, pairs[:, 1]
        low, high = 0.0, self.most
        for _ in range(40):
            middle = (low + high) / 2
            too_small = np.median(squares / np.maximum(within + middle, 1e-300)) > _CHI2_MEDIAN
            low, high = (middle, high) if too_small else (low, middle)
        return self._weigh(self.degrees, high, _MAD_EFFICIENCY * len(pairs))

    def learn_row(self, shifts: Sequence[tuple[float, float]]) -> "Scale":
        """Return the scale of one row: the mean of this scale and of the row's own unchanged shifts, by degrees."""
        excess = [min(max(value**2 - within, 0.0), self.most) for value, within in shifts if np.isfinite(value)]
        return self._weigh(_PRIOR_SHIFTS, float(np.mean(excess)), float(len(excess))) if excess else self

    def _weigh(self, prior: float, variance: float, degrees: float) -> "Scale":
        mean = (prior * self.variance + degrees * variance) / (prior + degrees)
        return replace(self, variance=max(mean, self.least), degrees=self.degrees + degrees)

    def of(self, shift: Shift) -> Shift:
        """Add this variance between runs to that of ``shift``."""
        degrees = min(shift.runs_degrees, self.degrees, _MOST_TRUSTED)
        return replace(shift, between_runs=shift.between_runs + self.variance, runs_degrees=degrees)


def scale(deviation: float, least: float, most: float) -> Scale:
    """Return a default scale with the weight of a dozen observed shifts; the arguments are standard deviations."""
    return Scale(deviation**2, degrees=12.0, least=least**2, most=most**2)


def levels(rounds: Sequence[Floats]) -> list[Shift]:
    """Return the level of each row of a run, given the values of its rounds (at least one each).

    A row's variance is moderated by the run's typical one (Smyth, Stat. Appl. Genet. Mol. Biol. 3 (2004) 3).
    """
    lengths = np.array([len(values) for values in rounds], dtype=int)
    centres, variances = np.empty(len(rounds)), np.zeros(len(rounds))
    for length in np.unique(lengths):
        indices = np.flatnonzero(lengths == length)
        i, j = np.triu_indices(length)
        for block in np.array_split(indices, 1 + len(indices) * length**2 // _AT_ONCE):
            values = np.stack([rounds[index] for index in block])
            centres[block] = np.median((values[:, i] + values[:, j]) / 2, axis=1)  # as `stats.location`
            variances[block] = _variances(values)
    typical = float(np.median(variances[lengths > 3])) if (lengths > 3).any() else _TYPICAL
    moderated = []
    for centre, variance, length in zip(centres.tolist(), variances.tolist(), lengths.tolist(), strict=True):
        degrees = _PRIOR_ROUNDS + length - 1
        of_round = (_PRIOR_ROUNDS * typical + (length - 1) * variance) / degrees
        moderated.append(Shift(centre, of_round / length, degrees, length))
    return moderated


def _variances(rows: Floats) -> Floats:
    """Return each row's variance; with 8 or more rounds, outliers are clipped to three standard deviations."""
    length = rows.shape[1]
    off = rows - np.median(rows, axis=1, keepdims=True)
    bound = 3 * 1.4826 * np.median(np.abs(off), axis=1, keepdims=True)
    off = np.clip(off, -bound, bound, out=off, where=bound > 0) if length >= 8 else off
    variances: Floats = np.var(off, axis=1, ddof=min(length - 1, 1))
    return variances


def shift(base: Shift, head: Shift) -> Shift:
    """Return the shift from the level ``base`` to ``head``, with its variance by rounds alone (Welch)."""
    return replace(head, rounds=min(base.rounds, head.rounds)).less(base)


def median(shifts: Sequence[Shift]) -> Shift:
    """Return the median of independent shifts, with the variance of the median of equally many typical ones."""
    factor = (np.pi / 2 if len(shifts) > 2 else 1.0) / len(shifts)
    return Shift(
        float(np.median([shift.value for shift in shifts])),
        factor * float(np.mean([shift.by_rounds for shift in shifts])),
        float(np.sum([shift.rounds_degrees for shift in shifts])),
        min(shift.rounds for shift in shifts),
    )
