"""How far two runs of the same code lie apart: by the scatter of their rounds, and by what runs differ beyond that.

A row's shift from one run to another has the variance of its rounds, which more of them shrink, and another: code
placement, memory, frequencies and neighbours differ between runs. That one is estimated from rows most of which are
presumed unchanged: robustly, bounded, and never without the default.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gapbench.statistics.stats import Floats

_MOST_TRUSTED = 20.0
"""Degrees of freedom of a scale at most: what differs between runs has heavier tails than a normal distribution."""

_MAD_EFFICIENCY = 0.37
"""A median of squares tells as much about a scale as a mean of so many times fewer."""

_CHI2_MEDIAN = 0.4549
"""The median of a squared standard normal value."""

_AT_ONCE = 10_000_000
"""Numbers that rows are laid out in together: a call of NumPy's costs more than a row."""

_TYPICAL = 0.01**2
_PRIOR_ROUNDS = 2.0
_PRIOR_SHIFTS = 12.0
"""Variance of a round where no row has enough rounds to tell, and how many rounds the typical row counts for.

Rows of few rounds may agree by chance; rows differ too much from each other for more.
"""


@dataclass(frozen=True, slots=True)
class Shift:
    """A log of head / base, or where one run's rounds lie (a log, too).

    What is due to the scatter of ``rounds`` has the variance ``by_rounds``, the rest ``between_runs``.
    """

    value: float
    by_rounds: float
    rounds_degrees: float
    rounds: int
    between_runs: float = 0.0
    runs_degrees: float = np.inf

    @property
    def variance(self) -> float:
        """The variance of the value, where nothing changed."""
        return self.by_rounds + self.between_runs

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the variance."""
        return _degrees((self.by_rounds, self.rounds_degrees), (self.between_runs, self.runs_degrees))

    def less(self, other: "Shift") -> "Shift":
        """Return the shift beyond ``other``, which is independent of it."""
        degrees = _degrees((self.by_rounds, self.rounds_degrees), (other.by_rounds, other.rounds_degrees))
        return Shift(self.value - other.value, self.by_rounds + other.by_rounds, degrees, self.rounds)


def _degrees(*parts: tuple[float, float]) -> float:
    """Return the degrees of freedom of a sum of variances (Satterthwaite, Biometrics Bulletin 2 (1946) 110)."""
    squares = sum(variance**2 / degrees for variance, degrees in parts)
    return sum(variance for variance, _ in parts) ** 2 / squares if squares else np.inf


@dataclass(frozen=True, slots=True)
class Scale:
    """The variance of a shift between runs of the same code, and how many degrees of freedom it was known by.

    ``least`` and ``most`` bound it: were every row changed, by different amounts, all would be taken for noise.
    """

    variance: float
    degrees: float
    least: float
    most: float

    def learn(self, shifts: Iterable[tuple[float, float]]) -> "Scale":
        """Return the scale with what ``shifts`` tell that are presumed unchanged: values and variances by rounds.

        The excess variance is the one at which the median of the squared standardised values is as expected, so that a
        minority may have changed.
        """
        known = np.array([one for one in shifts if np.isfinite(one).all()], dtype=np.float64).reshape(-1, 2)
        if not len(known):
            return self
        squares, within = known[:, 0] ** 2, known[:, 1]
        low, high = 0.0, self.most
        for _ in range(40):
            middle = (low + high) / 2
            too_small = np.median(squares / np.maximum(within + middle, 1e-300)) > _CHI2_MEDIAN
            low, high = (middle, high) if too_small else (low, middle)
        return self._weigh(self.degrees, high, _MAD_EFFICIENCY * len(known))

    def learn_row(self, shifts: Sequence[tuple[float, float]]) -> "Scale":
        """Return the scale for one row, given its own unchanged shifts: the mean of both, by degrees of freedom."""
        excess = [min(max(value**2 - within, 0.0), self.most) for value, within in shifts if np.isfinite(value)]
        return self._weigh(_PRIOR_SHIFTS, float(np.mean(excess)), float(len(excess))) if excess else self

    def _weigh(self, prior: float, variance: float, degrees: float) -> "Scale":
        mean = (prior * self.variance + degrees * variance) / (prior + degrees)
        return replace(self, variance=max(mean, self.least), degrees=self.degrees + degrees)

    def of(self, shift: Shift) -> Shift:
        """Return ``shift`` with this variance between runs added to what it has."""
        return replace(
            shift,
            between_runs=shift.between_runs + self.variance,
            runs_degrees=min(shift.runs_degrees, self.degrees, _MOST_TRUSTED),
        )


def scale(deviation: float, least: float, most: float) -> Scale:
    """Return a default that counts as much as a dozen observed shifts would; all three are standard deviations."""
    return Scale(deviation**2, degrees=12.0, least=least**2, most=most**2)


def levels(rounds: Sequence[Floats]) -> list[Shift]:
    """Return the level of each row of a run, given the values of its rounds (at least one each).

    A row's variance is moderated by that of the typical row of the run (Smyth, Statistical Applications in Genetics and
    Molecular Biology 3 (2004) 3), which matters to rows of few rounds only.
    """
    lengths = np.array([len(values) for values in rounds], dtype=int)
    centres, variances = np.empty(len(rounds)), np.zeros(len(rounds))
    for length in np.unique(lengths):
        (places,) = np.nonzero(lengths == length)
        most = max(1, _AT_ONCE // length**2)
        for some in (places[start : start + most] for start in range(0, len(places), most)):
            values = np.stack([rounds[place] for place in some])
            i, j = np.triu_indices(length)
            centres[some] = np.median((values[:, i] + values[:, j]) / 2, axis=1)  # as `stats.hodges_lehmann`
            variances[some] = _variances(values)
    typical = float(np.median(variances[lengths > 3])) if (lengths > 3).any() else _TYPICAL
    moderated = []
    for centre, variance, length in zip(centres.tolist(), variances.tolist(), lengths.tolist(), strict=True):
        degrees = _PRIOR_ROUNDS + length - 1
        of_round = (_PRIOR_ROUNDS * typical + (length - 1) * variance) / degrees
        moderated.append(Shift(centre, of_round / length, degrees, length))
    return moderated


def _variances(rows: Floats) -> Floats:
    """Return each row's variance; of enough rounds, those farther off than three deviations count as at three."""
    length = rows.shape[1]
    off = rows - np.median(rows, axis=1, keepdims=True)
    bound = 3 * 1.4826 * np.median(np.abs(off), axis=1, keepdims=True)
    off = np.clip(off, -bound, bound, out=off, where=bound > 0) if length >= 8 else off
    variances: Floats = np.sum((off - off.mean(axis=1, keepdims=True)) ** 2, axis=1) / max(length - 1, 1)
    return variances


def shift(base: Shift, head: Shift) -> Shift:
    """Return how far the level ``head`` lies above ``base``, by rounds alone (Welch)."""
    return replace(head, rounds=min(base.rounds, head.rounds)).less(base)


def median(shifts: Sequence[Shift]) -> Shift:
    """Return the median of independent shifts, as uncertain by rounds as that of as many typical ones."""
    factor = (np.pi / 2 if len(shifts) > 2 else 1.0) / len(shifts)
    return Shift(
        float(np.median([one.value for one in shifts])),
        factor * float(np.mean([one.by_rounds for one in shifts])),
        float(np.sum([one.rounds_degrees for one in shifts])),
        min(one.rounds for one in shifts),
    )
