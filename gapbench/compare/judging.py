"""A row with its verdict, in numbers and in words."""

from dataclasses import replace
from math import exp, isfinite

from gapbench.compare.rows import Row
from gapbench.verdicts import Evidence, Judgement, Verdict


def judged(
    row: Row, evidence: Evidence, judgement: Judgement, *said: str, paired: bool = False, raced: bool = False
) -> Row:
    """Return ``row`` with the verdict of ``judgement``; what else is ``said`` joins its reason.

    ``paired`` rounds measured both sides at once, others one of them. A row that was ``raced`` stopped early, when
    it was clearly slower than the best.
    """
    change = evidence.change
    sentences = [*said]
    if judgement.verdict is Verdict.INCONCLUSIVE:
        sentences.insert(0, _undecided(judgement, evidence, paired, raced))
    return replace(
        row,
        verdict=judgement.verdict,
        reason="; ".join(filter(None, sentences)),
        ratio=exp(change.estimate) if isfinite(change.estimate) else None,
        ratio_low=None if change.low is None else exp(change.low),
        ratio_high=None if change.high is None else exp(change.high),
        p_value=judgement.p_value,
        rounds=evidence.rounds,
        rounds_needed=judgement.rounds_needed,
    )


def _undecided(judgement: Judgement, evidence: Evidence, paired: bool, raced: bool) -> str:
    rounds, needed = evidence.rounds, judgement.rounds_needed
    if paired:
        if needed is None:
            return f"{rounds} rounds do not decide, nor would 1000: about as large as the margin, or too noisy"
        return f"{rounds} rounds do not decide, about {needed} would: give it more time with --budget"
    if raced:
        return f"{rounds} rounds a side do not decide; it is slow and stopped early: measure all of them with --all"
    if needed is None:
        return (
            f"{rounds} rounds a side do not decide, nor would more: runs differ by more than their rounds, or the "
            "change is about as large as the margin; gapbench ab measures both sides together"
        )
    return f"{rounds} rounds a side do not decide; about {needed} would"
