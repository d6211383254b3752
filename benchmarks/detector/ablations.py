"""gapbench's decision with one of its parts taken out or changed, on the same rounds.

Some parts belong to the measuring and cannot be taken out of a recording afterwards; these are approximated, and each
says how.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from pool import Row
from staged import Found, Plan, Procedure, guarded, paired, two_stages, window

from gapbench import stats, verdicts
from gapbench.stats import Floats
from gapbench.verdicts import Evidence


def ablations(plan: Plan) -> dict[str, Procedure]:
    """Return the whole decision, and the decision without each part."""
    return {
        "gapbench": two_stages(plan),
        "without pairing": two_stages(plan, unpaired),
        "without fine alternation": two_stages(plan, in_blocks),
        "(half the turns, alternating)": two_stages(plan, half),
        "without fresh processes": one_process(plan),
        "without confirmation": one_stage(plan),
        "without correction": two_stages(plan, together=False),
        "decided on both stages": both_stages(plan),
    }


@cache
def unpaired(row: Row, start: int, count: int, margin: float) -> Evidence:
    """Weigh the median times of both sides' rounds as two independent samples."""
    base, head = (np.log(np.nanmedian(window(side, start, count), axis=1)) for side in (row.base, row.head))
    return verdicts.unpaired(base, head, margin)


@cache
def in_blocks(row: Row, start: int, count: int, margin: float) -> Evidence:
    """Weigh rounds that ran one side after the other: one side's first half of turns, the other's second half.

    Which side goes first alternates from round to round. Blocks are as long as half a round, and half of the samples go
    unused: `half` shows what that alone costs.
    """
    return verdicts.paired(window(_block_ratios(row), start, count), margin)


@cache
def _block_ratios(row: Row) -> Floats:
    values = []
    for number, (base, head) in enumerate(_logs(row)):
        count = len(base) // 2
        pairs = head[count : 2 * count] - base[:count] if number % 2 == 0 else head[:count] - base[count : 2 * count]
        values.append(stats.hodges_lehmann(pairs))
    return np.array(values)


@cache
def half(row: Row, start: int, count: int, margin: float) -> Evidence:
    """Weigh alternating turns, but only as many as `in_blocks` has: every round's first half."""
    return verdicts.paired(window(_half_ratios(row), start, count), margin)


@cache
def _half_ratios(row: Row) -> Floats:
    return np.array([stats.hodges_lehmann((head - base)[: len(base) // 2]) for base, head in _logs(row)])


def _logs(row: Row) -> Iterator[tuple[Floats, Floats]]:
    """Yield each round's log seconds of base and head, turn by turn."""
    for base, head in zip(row.base, row.head, strict=True):
        there = ~np.isnan(base)
        yield np.log(base[there]), np.log(head[there])


@cache
def turns_of_one(row: Row, start: int, margin: float) -> Evidence:
    """Weigh the turns of one process as if they were replicates."""
    logs = np.log(row.head[start]) - np.log(row.base[start])
    return verdicts.paired(logs[~np.isnan(logs)], margin)


def one_process(plan: Plan) -> Procedure:
    """Return the decision on one long-lived process a case and its turns, in one stage.

    A recorded process has only so many turns (about 20), so this has less data than the others: what to look at is how
    often identical code goes red.
    """

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        return _judged([turns_of_one(row, int(rng.integers(row.rounds)), plan.margin) for row in rows], plan)

    return guarded(decide, plan)


def one_stage(plan: Plan) -> Procedure:
    """Return the decision on all rounds that the budget pays for at once."""

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        return _judged([paired(row, int(rng.integers(row.rounds)), plan.rounds, plan.margin) for row in rows], plan)

    return guarded(decide, plan)


def both_stages(plan: Plan) -> Procedure:
    """Return the decision in which the first stage only says where to go on, and all rounds of a row decide.

    Corrected for all rows, not for the flagged ones alone, as their first rounds have chosen them.
    """

    def decide(rows: Sequence[Row], rng: np.random.Generator) -> list[Found]:
        starts = [int(rng.integers(row.rounds)) for row in rows]
        evidence = [paired(row, start, plan.first, plan.margin) for row, start in zip(rows, starts, strict=True)]
        flagged = [i for i, one in enumerate(evidence) if min(one.slower, one.faster) <= plan.flagged]
        left = (plan.rounds - plan.first) * len(rows)
        more = plan.second([evidence[i] for i in flagged], left) if flagged else []
        for i, count in zip(flagged, more, strict=True):
            evidence[i] = paired(rows[i], starts[i], min(plan.first + count, rows[i].rounds), plan.margin)
        return _judged(evidence, plan)

    return guarded(decide, plan)


def _judged(evidence: list[Evidence], plan: Plan) -> list[Found]:
    judgements = verdicts.judge(evidence, plan.level)
    return [Found(judgement.verdict, one.change) for judgement, one in zip(judgements, evidence, strict=True)]
