"""Compare base and head: a verdict for each case x implementation x clock x memory condition.

`compare` takes two stored runs, `interleaved` one run that measured both sides together, `matrix` one with many
versions. `evidence` says which values are compared, `noise` how far unchanged code differs; `statistics.verdicts`
decides. Rows that cannot be compared get a structural verdict; rows that neither run supports are left out.
"""

from collections.abc import Collection, Sequence

from gapbench.analysis.compare import evidence
from gapbench.analysis.compare.counts import caused_by_clock, with_counts
from gapbench.analysis.compare.interleaved import interleaved
from gapbench.analysis.compare.rows import MARGIN, Diff, Key, Row, Side, judged, matched, rows_of, structural
from gapbench.analysis.compare.steps import Matrix, matrix
from gapbench.errors import GapbenchError, NothingMatchedError, unknown
from gapbench.statistics.verdicts import LEVEL, Verdict, judge
from gapbench.store import records
from gapbench.store.run import COMPARED, differences

__all__ = ["MARGIN", "Diff", "Matrix", "Row", "Side", "compare", "interleaved", "of_sides"]


def of_sides(run: Side) -> Diff | Matrix:
    """Compare the sides of a run with each other, by `interleaved` or `matrix`."""
    return matrix(run) if run.run.is_matrix else interleaved(run)


def compare(
    base: Side,
    head: Side,
    margin: float = MARGIN,
    allowed: Collection[str] = (),
    level: float = LEVEL,
    earlier: Sequence[Side] = (),
) -> Diff:
    """Compare two runs; ``allowed`` are the fields of `gapbench.store.run.COMPARED` that may differ.

    ``earlier`` are other plain, complete runs in the same environment, which show how far unchanged code differs there.
    Raises `GapbenchError` for an incomplete run, a run compared with itself and an unknown field, and
    `NothingMatchedError` for a run without results and for two runs without a common row.
    """
    for name in allowed:
        if name not in COMPARED:
            raise unknown("environment field", name, COMPARED)
    for side in (base, head):
        if side.run.is_comparison:
            run = side.run.id
            raise GapbenchError(f"run {run} measured all its sides; see what changed with: gapbench diff {run}")
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
    refused = "; ".join(str(difference) for difference in differing if difference.name not in allowed)
    rows: dict[Key, Row] = {}
    tested: dict[Key, str] = {}
    raced = set()
    for key, before, after in pairs:
        result, side = (before, base) if after is None else (after, head)
        assert result is not None  # each key is from one of the runs
        untested = structural(before, after, refused)
        verdict, reason = untested or (Verdict.INCONCLUSIVE, "")
        rows[key] = Row(result["suite"], *key[:3], side.spec(key[0], key[1]), verdict, reason, memory=key[3])
        if untested is None:
            tested[key] = result["reference"] or records.REFERENCE  # older runs have none
            if records.SLOWER in (result["stopped_by"], before and before["stopped_by"]):
                raced.add(key)
    collected = dict(evidence.collect(base, head, earlier, tested, margin))
    judgements = judge([row.evidence for row in collected.values()], level)
    for (key, row), judgement in zip(collected.items(), judgements, strict=True):
        by = row.by if judgement.verdict in (Verdict.REGRESSED, Verdict.IMPROVED) else ""
        rows[key] = judged(rows[key], row.evidence, judgement, by, row.caveat, raced=key in raced)
    rows |= caused_by_clock(rows, base.samples, head.samples, margin)
    rows = with_counts(rows, (base.samples, head.samples), (old, new), margin, together=False)
    return Diff(base.run, head.run, margin, tuple(rows.values()), tuple(map(str, differing)))
