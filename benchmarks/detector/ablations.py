"""gapbench's decision with one of its parts taken out or changed, on the same rounds.

Some parts belong to the measuring and cannot be taken out of a recording afterwards; these are approximated, and each
says how.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from pool import Row
from staged import Draw, Found, Plan, Procedure, guarded, paired, two_stages

from gapbench.analysis.compare import noise
from gapbench.statistics import stats, verdicts
from gapbench.statistics.stats import Floats
from gapbench.statistics.verdicts import Evidence


def ablations(plan: Plan) -> dict[str, Procedure]:
    """Return the whole decision, and the decision without each part."""
    return {
        "gapbench": two_stages(plan),
        "without pairing": two_stages(plan, unpaired),
        "without fine alternation": two_stages(plan, in_blocks),
        "(half the turns, alternating)": two_stages(plan, half),
        "without fresh processes": one_process(plan),
        "without confirmation": one_stage(plan),
        "without correction": two_stages(plan, decision=uncorrected),
        "fresh rounds alone decide": two_stages(plan, decision=fresh_alone),
    }


@cache
def unpaired(row: Row, draw: Draw, margin: float) -> Evidence:
    """Weigh the fastest tenths of both sides' rounds as two independent samples."""
    base, head = (draw.of(row, values) for values in (_base_levels, _head_levels))
    shift = noise.shift(*noise.levels([base, head]))
    return verdicts.student(shift.value, shift.variance, 0.0, shift.degrees, shift.rounds, margin)


@cache
def _base_levels(row: Row, share: int) -> Floats:
    return np.nanquantile(np.log(row.turns(share)[0]), stats.UNDISTURBED, axis=1)


@cache
def _head_levels(row: Row, share: int) -> Floats:
    return np.nanquantile(np.log(row.turns(share)[1]), stats.UNDISTURBED, axis=1)


@cache
def in_blocks(row: Row, draw: Draw, margin: float) -> Evidence:
    """Weigh rounds that ran one side after the other: one side's first half of turns, the other's second half.

    Which side goes first alternates from round to round. Blocks are as long as half a round, and half of the samples go
    unused: `half` shows what that alone costs.
    """
    return verdicts.paired(draw.of(row, _block_ratios), margin)


@cache
def _block_ratios(row: Row, share: int) -> Floats:
    values = []
    for number, (base, head) in enumerate(_turns(row, share)):
        count = len(base) // 2
        first, second = slice(count), slice(count, 2 * count)
        of_head, of_base = (second, first) if number % 2 == 0 else (first, second)
        values.append(stats.round_log_ratio(head[of_head], base[of_base]))
    return np.array(values)


@cache
def half(row: Row, draw: Draw, margin: float) -> Evidence:
    """Weigh alternating turns, but only as many as `in_blocks` has: every round's first half."""
    return verdicts.paired(draw.of(row, _half_ratios), margin)


@cache
def _half_ratios(row: Row, share: int) -> Floats:
    halves = ((base[: len(base) // 2], head[: len(base) // 2]) for base, head in _turns(row, share))
    return np.array([stats.round_log_ratio(head, base) for base, head in halves])


def _turns(row: Row, share: int) -> Iterator[tuple[Floats, Floats]]:
    """Yield each round's seconds of base and head, turn by turn."""
    for base, head in zip(*row.turns(share), strict=True):
        there = ~np.isnan(base)
        yield base[there], head[there]


@cache
def turns_of_one(row: Row, start: int, margin: float) -> Evidence:
    """Weigh the turns of one process as if they were replicates."""
    logs = np.log(row.head[start]) - np.log(row.base[start])
    return verdicts.paired(logs[~np.isnan(logs)], margin)


def one_process(plan: Plan) -> Procedure:
    """Return the decision on one long-lived process a case and its turns, in one stage.

    A recorded process has some hundred turns at most, so this has less data than the others: what to look at is how
    often identical code goes red.
    """

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        return _judged([turns_of_one(row, int(rng.integers(row.rounds)), plan.margin) for row in rows], plan)

    return guarded(decide, plan)


def one_stage(plan: Plan) -> Procedure:
    """Return the decision on all rounds that the budget pays for at once."""

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        draws = [Draw.whole(int(rng.integers(row.rounds)), plan.rounds) for row in rows]
        return _judged([paired(row, draw, plan.margin) for row, draw in zip(rows, draws, strict=True)], plan)

    return guarded(decide, plan)


def fresh_alone(first: Sequence[Evidence], fresh: Sequence[Evidence | None], level: float) -> list[verdicts.Judgement]:
    """Decide flagged rows by their fresh rounds and nothing else, corrected for the flagged rows."""
    flagged = [one for one in fresh if one is not None]
    judged = iter(verdicts.judge(flagged, level))
    return [
        verdicts.unconfirmed(one) if again is None else next(judged) for one, again in zip(first, fresh, strict=True)
    ]


def uncorrected(first: Sequence[Evidence], fresh: Sequence[Evidence | None], level: float) -> list[verdicts.Judgement]:
    """Decide every flagged row as if it were the only row."""
    return [verdicts.decide([one], [again], level)[0] for one, again in zip(first, fresh, strict=True)]


def _judged(evidence: list[Evidence], plan: Plan) -> list[Found]:
    judgements = verdicts.judge(evidence, plan.level)
    return [Found(judgement.verdict, one.change) for judgement, one in zip(judgements, evidence, strict=True)]
