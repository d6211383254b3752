"""A row with its verdict, in numbers and in words."""

from dataclasses import replace
from math import exp, isfinite

from gapbench.compare.rows import Row
from gapbench.verdicts import Evidence, Judgement, Verdict


def judged(row: Row, evidence: Evidence, judgement: Judgement, rows: int, note: str = "", paired: bool = False) -> Row:
    """Return ``row`` with the verdict of ``judgement``, reached among ``rows``; ``note`` is said beside it.

    ``paired`` rounds measured both sides at once, others one of them.
    """
    change = evidence.change
    sentences = [_undecided(judgement, evidence, rows, paired)] if judgement.verdict is Verdict.INCONCLUSIVE else []
    return replace(
        row,
        verdict=judgement.verdict,
        reason="; ".join(filter(None, [*sentences, note])),
        ratio=exp(change.estimate) if isfinite(change.estimate) else None,
        ratio_low=None if change.low is None else exp(change.low),
        ratio_high=None if change.high is None else exp(change.high),
        p_value=judgement.p_value,
        rounds=evidence.rounds,
    )


def _undecided(judgement: Judgement, evidence: Evidence, rows: int, paired: bool) -> str:
    rounds, needed = evidence.rounds, judgement.rounds_needed
    if paired and needed is None:
        return f"{rounds} rounds do not decide, nor would 1000: about as large as the margin, or too noisy"
    if paired:
        return f"{rounds} rounds do not decide, about {needed} would: give it more time with --budget"
    if judgement.hopeless:
        return (
            f"{rounds} rounds a side can never show a change among {rows} rows (the smallest p-value that they can "
            f"have is {evidence.smallest_p:.2g}); measure at least {needed} with --rounds {needed}"
        )
    if needed is None:
        return (
            f"{rounds} rounds a side do not decide, nor would 1000: the change is about as large as the margin, too "
            "noisy, or not confirmed"
        )
    return f"{rounds} rounds a side do not decide; about {needed} would: --rounds {needed} on both sides"
