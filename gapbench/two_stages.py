"""Verdicts in two stages: a first look at every row, then fresh rounds for those in which a change seems likely.

The error is kept at `verdicts.LEVEL` over all rows of a diff, whatever the first look decides. Half of it goes to the
fresh rounds alone, corrected for the flagged rows only; half to both stages together, corrected for all rows. The
first finds a lone change, which gets many fresh rounds; the second many changes, which share them.
"""

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np

from gapbench.stats import holm
from gapbench.verdicts import (
    EQUIVALENCE_LEVEL,
    LEVEL,
    Evidence,
    Judgement,
    Verdict,
    fewest_rounds,
    quantile,
    rounds_needed,
)

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
    among all rows at half the level, and the fresh rounds point there by themselves. The others are equivalent at most.
    """
    slower = _p_values([one.slower for one in first], [None if one is None else one.slower for one in fresh])
    faster = _p_values([one.faster for one in first], [None if one is None else one.faster for one in fresh])
    judgements = []
    for one, again, slow, fast in zip(first, fresh, slower, faster, strict=True):
        if again is None:
            judgements.append(unconfirmed(one, level))
        elif slow <= level:
            judgements.append(Judgement(Verdict.REGRESSED, slow))
        elif fast <= level:
            judgements.append(Judgement(Verdict.IMPROVED, fast))
        else:
            judgements.append(unconfirmed(again, level / len(first)))
    return judgements


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


def unconfirmed(evidence: Evidence, level: float = LEVEL) -> Judgement:
    """Decide on a row whose change no fresh rounds were asked to confirm: equivalent at most."""
    if evidence.within <= EQUIVALENCE_LEVEL:
        return Judgement(Verdict.EQUIVALENT, evidence.within)
    needed = rounds_needed(evidence, level)
    return Judgement(Verdict.INCONCLUSIVE, min(evidence.slower, evidence.faster), rounds_needed=needed)


def worth_confirming(evidence: Evidence) -> bool:
    """Tell whether a first look makes a change beyond the margin likely enough to measure the row afresh."""
    return min(evidence.slower, evidence.faster) <= SCREEN_LEVEL


def rests(evidence: Evidence) -> bool:
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
