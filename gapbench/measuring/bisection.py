"""The search of `bisect`: compare both ends, measure versions between them, and the culprit with the one before."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from math import log

from gapbench.analysis import compare
from gapbench.measuring.plan import CasePlan
from gapbench.measuring.policies import BetweenEnds, Policy
from gapbench.measuring.recording import Recording
from gapbench.measuring.revisions import Revision
from gapbench.statistics.bisection import CONFIDENT, FEWEST_ROUNDS, Search
from gapbench.statistics.verdicts import Verdict
from gapbench.store.records import BAD, BASE, HEAD, NULL

Prepare = Callable[..., AbstractContextManager[Sequence[Revision]]]
"""Prepares the versions with these numbers, good first from 0, until the end."""

Record = Callable[[Mapping[str, Revision], Sequence[CasePlan], Policy | None], Recording]
"""Measures versions as the sides of a plan into a run of the store."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search showed: all rows of the ends, the one that it followed, and the found commit against its parent."""

    difference: compare.Diff
    ends: compare.Row | None = None
    culprit: compare.Row | None = None


def bisect(search: Search, prepare: Prepare, plans: Sequence[CasePlan], record: Record) -> Answer:
    """Search versions, good first and bad last, and update ``search`` after each step."""
    with prepare(0, search.commits) as (good, bad):
        difference = _compare(record, (good, bad), plans)
        changed = [row for row in difference.rows if row.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
        if not changed:
            return Answer(difference)
        # slower rows first, then the strongest evidence, then the largest change
        ends = min(changed, key=lambda row: (row.verdict is Verdict.IMPROVED, row.p_value, -abs(log(row.ratio or 1.0))))
        search.step = log(ends.ratio or 1.0)
        specs = {ends.implementation: ends.spec}
        plans = [replace(plan, specs=specs, clocks=(ends.clock,)) for plan in plans if plan.case.id == ends.case]
        while (number := search.next_commit()) is not None:
            policy = BetweenEnds(search.log_odds)
            with prepare(number) as (version,):
                results = record({BASE: good, HEAD: version, BAD: bad}, plans, policy).results
            is_ok = results.loc[results["contender"] == HEAD, "status"].eq("ok").all()
            search.add(number, policy.positions if is_ok and len(policy.positions) >= FEWEST_ROUNDS else None)
    first, last, posterior = search.best()
    if first < last or posterior < CONFIDENT:
        return Answer(difference, ends)
    row = ends
    if search.commits > 1:
        with prepare(first - 1, first) as pair:
            row = _compare(record, pair, plans).rows[0]
    bound = row.ratio_low if search.step > 0 else row.ratio_high
    return Answer(difference, ends, row if bound and log(bound) * search.step > 0 else None)


def _compare(record: Record, pair: Sequence[Revision], plans: Sequence[CasePlan]) -> compare.Diff:
    recorded = record({BASE: pair[0], HEAD: pair[1], NULL: pair[0]}, plans, None)
    return compare.interleaved(compare.Side(recorded.run, recorded.results, recorded.samples))
