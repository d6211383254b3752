"""Base and head compared: a verdict for each case x implementation x clock x condition of memory.

`compare` takes two stored runs, `interleaved` one that measured both sides together. `evidence` says what is compared
with what, `noise` how far runs lie apart where nothing changed, `store.run.differences` what must be the same, and
`statistics.verdicts` decides. What cannot be compared gets a structural verdict: no row of either run is passed over,
but for what neither supports.
"""

from collections.abc import Collection, Sequence

from gapbench.analysis.compare.evidence import weigh
from gapbench.analysis.compare.interleaved import interleaved
from gapbench.analysis.compare.rows import (
    MARGIN,
    Diff,
    Key,
    Row,
    Side,
    judged,
    matched,
    other_memory,
    rows_of,
    structural,
)
from gapbench.errors import GapbenchError, NothingMatchedError, unknown
from gapbench.statistics.verdicts import LEVEL, Verdict, judge
from gapbench.store import records
from gapbench.store.run import COMPARED, differences

__all__ = ["MARGIN", "Diff", "Row", "Side", "compare", "interleaved"]


def compare(
    base: Side,
    head: Side,
    margin: float = MARGIN,
    allowed: Collection[str] = (),
    level: float = LEVEL,
    earlier: Sequence[Side] = (),
) -> Diff:
    """Compare two runs; ``allowed`` are those of `gapbench.store.run.COMPARED` that may differ.

    ``earlier`` are other plain, complete runs in the same environment, any but these two: they tell how far runs of
    unchanged code lie apart there.

    Raises `GapbenchError` for a run that is incomplete or compared with itself and for an unknown field,
    `NothingMatchedError` for a run without results and for two that have no row in common.
    """
    for name in allowed:
        if name not in COMPARED:
            raise unknown("environment field", name, COMPARED)
    for side in (base, head):
        if side.run.is_comparison:
            run = side.run.id
            raise GapbenchError(f"run {run} measured two sides by itself; see what changed with: gapbench diff {run}")
    if base.run.id == head.run.id:
        raise GapbenchError(f"run {base.run.id} would be compared with itself; name another BASE or HEAD")
    old, new = rows_of(base), rows_of(head)
    pairs = list(matched(old, new))
    if not any(before is not None and after is not None for _, before, after in pairs):
        raise NothingMatchedError(
            f"runs {base.run.id} and {head.run.id} have no case and implementation in common; measure the same "
            "suite on both sides"
        )
    differing = differences(base.run.environment, head.run.environment)
    refused = "; ".join(str(one) for one in differing if one.name not in allowed)
    rows: dict[Key, Row] = {}
    tested: dict[Key, str] = {}
    raced = set()
    for key, before, after in pairs:
        known, side = (before, base) if after is None else (after, head)
        assert known is not None  # a key is of one run or the other
        found = structural(before, after)
        if found is None and (reason := refused or other_memory(before, after)):
            found = Verdict.ENVIRONMENT_MISMATCH, reason
        spec = side.spec(key[0], key[1])
        verdict, reason = found or (Verdict.INCONCLUSIVE, "")
        rows[key] = Row(known["suite"], *key[:3], spec, verdict, reason, memory=key[3])
        if found is None:
            tested[key] = known["reference"] or records.REFERENCE  # runs of old have none
            if records.SLOWER in (known["stopped_by"], before and before["stopped_by"]):
                raced.add(key)
    weighed = dict(weigh(base, head, earlier, tested, margin))
    judgements = judge([one.evidence for one in weighed.values()], level)
    for (key, one), judgement in zip(weighed.items(), judgements, strict=True):
        said = one.by if judgement.verdict in (Verdict.REGRESSED, Verdict.IMPROVED) else ""
        rows[key] = judged(rows[key], one.evidence, judgement, said, one.caveat, raced=key in raced)
    return Diff(base.run, head.run, margin, tuple(rows.values()), tuple(map(str, differing)))
