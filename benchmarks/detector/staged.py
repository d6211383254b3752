"""gapbench's own decision, on rounds drawn from a pool: screen all rows, confirm the flagged ones in fresh rounds.

The verdicts are those of `gapbench.verdicts`; only the rounds are drawn instead of measured. A draw is honest in that
rounds stay in the order in which they were measured (a contiguous window from a random start, the last round followed
by the first), and that the rounds of the second stage are none of the first's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from pool import Row

from gapbench import verdicts
from gapbench.stats import Floats, Interval
from gapbench.verdicts import Evidence, Verdict


@dataclass(frozen=True)
class Found:
    """What a decision says of one row; ``change`` (of log head / base) only where it gives an interval."""

    verdict: Verdict
    change: Interval | None = None


Procedure = Callable[[Sequence[Row], np.random.Generator], list[Found]]
"""How a whole diff is decided: one row a case in, one finding a row out; draws its rounds itself."""

Weigh = Callable[[Row, int, int, float], Evidence]
"""What rounds ``start`` to ``start + count`` of a row say against a margin."""


@dataclass(frozen=True)
class Plan:
    """What is frozen on the tuning set.

    ``rounds`` is how many rounds of every case the budget pays for; the first stage takes ``first_share`` of them, the
    second shares the rest among the flagged rows, none of which gets more than ``most``. A row is ``flagged`` at this
    one-sided p in the first stage. ``nulls`` is on how many cases the hidden copy of base runs.
    """

    rounds: int
    first_share: float = 0.55
    flagged: float = 0.25
    margin: float = 0.01
    level: float = verdicts.LEVEL
    most: int = 60
    nulls: int = 3

    @property
    def first(self) -> int:
        """Rounds of each row in the first stage."""
        return max(1, round(self.rounds * self.first_share))

    def second(self, rows: int, flagged: int) -> int:
        """Return the rounds of each flagged row in the second stage."""
        return max(1, min(self.most, (self.rounds - self.first) * rows // flagged))


def window(rounds: Floats, start: int, count: int) -> Floats:
    """Return ``count`` rounds from ``start`` on, as (rounds,) or (rounds, turns)."""
    return np.take(rounds, np.arange(start, start + count), axis=0, mode="wrap")


@cache
def paired(row: Row, start: int, count: int, margin: float) -> Evidence:
    """Weigh rounds by their paired ratios."""
    return verdicts.paired(window(row.log_ratios, start, count), margin)


def two_stages(plan: Plan, weigh: Weigh = paired, together: bool = True) -> Procedure:
    """Return the decision of ``gapbench ab``, or a variation of it.

    Without ``together`` every flagged row is judged as if it were alone: no correction for being many.
    """

    def judge(evidence: list[Evidence]) -> list[verdicts.Judgement]:
        if together:
            return verdicts.judge(evidence, plan.level)
        return [verdicts.judge([one], plan.level)[0] for one in evidence]

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        starts = [int(rng.integers(row.rounds)) for row in rows]
        first = [weigh(row, start, plan.first, plan.margin) for row, start in zip(rows, starts, strict=True)]
        flagged = [i for i, one in enumerate(first) if min(one.slower, one.faster) <= plan.flagged]
        found = [_unflagged(one) for one in first]
        if not flagged:
            return found
        second = []
        for i in flagged:
            left = rows[i].rounds - plan.first
            count = min(plan.second(len(rows), len(flagged)), left)
            later = starts[i] + plan.first + int(rng.integers(left - count + 1))
            second.append(weigh(rows[i], later % rows[i].rounds, count, plan.margin))
        for i, one, judgement in zip(flagged, second, judge(second), strict=True):
            found[i] = Found(judgement.verdict, one.change)
        return found

    return guarded(decide, plan)


def guarded(decide: Procedure, plan: Plan) -> Procedure:
    """Return the same decision with the in-run null: if base differs from its own copy, nothing is called red."""

    def with_nulls(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        found = decide(rows, rng)
        nulls = [row.null for row in rows if row.null is not None and row.null.rounds > plan.first]
        chosen = rng.permutation(len(nulls))[: plan.nulls]
        of_nulls = decide([nulls[i] for i in chosen], rng) if len(chosen) else []
        if any(one.verdict in (Verdict.REGRESSED, Verdict.IMPROVED) for one in of_nulls):
            return [
                replace(one, verdict=Verdict.INCONCLUSIVE) if one.verdict == Verdict.REGRESSED else one for one in found
            ]
        return found

    return with_nulls


def _unflagged(evidence: Evidence) -> Found:
    equivalent = evidence.within <= verdicts.EQUIVALENCE_LEVEL
    return Found(Verdict.EQUIVALENT if equivalent else Verdict.INCONCLUSIVE, evidence.change)
