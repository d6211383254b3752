"""gapbench's own decision, on rounds drawn from a pool: screen all rows, confirm the flagged ones in fresh rounds.

The verdicts are those of `gapbench.verdicts`; only the rounds are drawn instead of measured. A draw is honest in that
rounds stay in the order in which they were measured (a contiguous window from a random start, the last round followed
by the first), and that the rounds of the second stage are none of the first's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import ceil

import numpy as np
from pool import Row

from gapbench import two_stages as stages
from gapbench import verdicts
from gapbench.stats import Floats, Interval
from gapbench.verdicts import Evidence, Judgement, Verdict


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
    """What is frozen on the tuning set; beside it the constants of `gapbench.verdicts`, and those of the schedule.

    ``rounds`` is how many rounds of every case the budget pays for, if all get the same; the first look takes
    ``first_share`` of the time. The hidden copy of base runs in ``nulls`` of the cases (a share).
    """

    rounds: int
    first_share: float = 0.6
    flagged: float = stages.SCREEN_LEVEL
    margin: float = 0.01
    level: float = verdicts.LEVEL
    most: int = 100
    nulls: float = 0.25

    @property
    def first(self) -> int:
        """Rounds of each row in the first look, where none rests."""
        return max(FEWEST_FIRST, round(self.rounds * self.first_share))

    def second(self, evidence: Sequence[Evidence], left: int) -> list[int]:
        """Return the fresh rounds of each flagged row, whose first looks are given, if the time is for ``left``."""
        level = self.level / 2 / len(evidence)
        fewest = stages.fewest_to_confirm(level, verdicts.smallest_paired)
        most = max(fewest, min(left // len(evidence), self.most))
        return [min(most, stages.rounds_to_confirm(one, level) or most) for one in evidence]


FEWEST_FIRST = 8
LOOK_EVERY = 8
"""As in `gapbench.measuring.ab`."""


def window(rounds: Floats, start: int, count: int) -> Floats:
    """Return ``count`` rounds from ``start`` on, as (rounds,) or (rounds, turns)."""
    return np.take(rounds, np.arange(start, start + count), axis=0, mode="wrap")


@cache
def paired(row: Row, start: int, count: int, margin: float) -> Evidence:
    """Weigh rounds by their paired ratios."""
    return verdicts.paired(window(row.log_ratios, start, count), margin)


Decision = Callable[[Sequence[Evidence], Sequence[Evidence | None], float], list[Judgement]]
"""What the first look and the fresh rounds of each row (None where it was not flagged) come to, at a level."""


def two_stages(plan: Plan, weigh: Weigh = paired, decision: Decision = stages.decide) -> Procedure:
    """Return the decision of ``gapbench ab``, or a variation of it."""

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        starts = [int(rng.integers(row.rounds)) for row in rows]
        budget = plan.rounds * len(rows)

        def look(i: int, count: int) -> Evidence:
            return weigh(rows[i], starts[i], count, plan.margin)

        half = [row.rounds // 2 for row in rows]  # the rest of the recording is for the fresh rounds
        counts, resting = _sweeps(look, dict.fromkeys(range(len(rows)), 0), round(budget * plan.first_share), half)
        first = {i: look(i, count) for i, count in counts.items()}
        flagged = [i for i in first if i not in resting and min(first[i].slower, first[i].faster) <= plan.flagged]
        left = budget - sum(counts.values())
        second = {}
        if flagged:
            for i, count in zip(flagged, plan.second([first[i] for i in flagged], left), strict=True):
                count = min(count, rows[i].rounds - counts[i])
                second[i] = weigh(rows[i], (starts[i] + counts[i]) % rows[i].rounds, count, plan.margin)
                left -= count
        undecided = {
            i: counts[i]
            for i in first
            if i not in resting and i not in second and first[i].within > verdicts.EQUIVALENCE_LEVEL
        }
        more, _ = _sweeps(look, undecided, left, [row.rounds for row in rows], fewest=0)
        firsts = [look(i, more.get(i, counts[i])) for i in range(len(rows))]
        fresh = [second.get(i) for i in range(len(rows))]
        judgements = decision(firsts, fresh, plan.level)
        deciding = [again or one for one, again in zip(firsts, fresh, strict=True)]
        return [Found(judgement.verdict, one.change) for judgement, one in zip(judgements, deciding, strict=True)]

    return guarded(decide, plan)


def _sweeps(
    look: Callable[[int, int], Evidence],
    counts: Mapping[int, int],
    left: int,
    most: Sequence[int],
    fewest: int = FEWEST_FIRST,
) -> tuple[dict[int, int], set[int]]:
    """Give every open row a round in turn while ``left`` lasts, ``most[i]`` at most.

    Return the rounds of each, and which of them rest. Now and then whatever is clearly within the margin rests,
    as `gapbench.measuring.ab` has it.
    """
    counts, resting, sweep = dict(counts), set[int](), 0
    while True:
        open_ = [i for i in counts if i not in resting and counts[i] < most[i]]
        if not open_ or (sweep >= fewest and len(open_) > left):
            return counts, resting
        sweep, left = sweep + 1, left - len(open_)
        for i in open_:
            counts[i] += 1
        if sweep >= fewest and sweep % LOOK_EVERY == 0:
            resting |= {i for i in open_ if stages.rests(look(i, counts[i]))}


def guarded(decide: Procedure, plan: Plan) -> Procedure:
    """Return the same decision with the in-run null: if base differs from its own copy, nothing is called red."""

    def with_nulls(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        found = decide(rows, rng)
        nulls = [row.null for row in rows if row.null is not None]
        chosen = rng.permutation(len(nulls))[: ceil(plan.nulls * len(nulls))]
        drawn = [(nulls[i], min(plan.first, nulls[i].rounds)) for i in chosen]
        weighed = [paired(null, int(rng.integers(null.rounds)), count, plan.margin) for null, count in drawn]
        of_nulls = verdicts.judge(weighed, plan.level)
        if any(one.verdict in (Verdict.REGRESSED, Verdict.IMPROVED) for one in of_nulls):
            return [
                replace(one, verdict=Verdict.INCONCLUSIVE) if one.verdict == Verdict.REGRESSED else one for one in found
            ]
        return found

    return with_nulls
