"""Compare the sides of an A/B run, which measured them together: no reference and no second run is needed.

A round's value is log(head / base) of batches that followed one another. The ratio of a flagged row is that of the
fresh rounds alone, which no selection biases. A hidden copy of base is measured like a head: if it seems to have
changed, no row is called regressed. A matrix has no flagged rows and no copy.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from msgspec import structs

from gapbench.analysis.compare.counts import caused_by_clock, with_counts
from gapbench.analysis.compare.rows import ROW, Diff, Key, Row, Side, judged, matched, row_key, rows_of, structural
from gapbench.statistics.stats import Floats, excess, location, round_log_ratio
from gapbench.statistics.verdicts import LEVEL, Evidence, Judgement, Verdict, decide, judge, paired
from gapbench.store.records import BASE, HEAD, NULL, with_memory
from gapbench.store.run import differences


def interleaved(ab: Side, level: float = LEVEL, base_side: str = BASE, head_side: str = HEAD) -> Diff:
    """Compare two sides of a run, by the margin that it was measured for. Raises as `rows_of` does."""
    comparison = ab.run.comparison
    assert comparison is not None  # a run with several sides has one
    margin = comparison.margin
    old, new = rows_of(ab, base_side), rows_of(ab, head_side)
    again = ("gapbench", comparison.kind, *comparison.command)
    rows: dict[Key, Row] = {}
    for key, before, after in matched(old, new):
        result = after or before
        assert result is not None  # each key is from one of the sides
        verdict, reason = structural(before, after) or (Verdict.INCONCLUSIVE, "")
        spec = ab.spec(key[0], key[1])
        rows[key] = Row(result["suite"], *key[:3], spec, verdict, reason, again=again, memory=key[3])
    tested = [key for key, row in rows.items() if row.verdict is Verdict.INCONCLUSIVE]
    flagged = None if ab.run.is_matrix else {row.key: row.round for row in comparison.flagged or ()}
    decided = _decide(log_ratios(ab.samples, base_side, head_side), tested, flagged, margin, level)
    for key, (evidence, judgement) in decided.items():
        rows[key] = judged(rows[key], evidence, judgement, paired=True)
    of_base, of_head = (ab.samples[ab.samples["contender"] == name] for name in (base_side, head_side))
    rows |= caused_by_clock(rows, of_base, of_head, margin, paired=True)
    rises = log_ratios(ab.samples, base_side, head_side, lambda head, base: excess(head) - excess(base))
    for key, row in rows.items():
        if row.verdict is Verdict.EQUIVALENT and key in rises:
            rise = location(array(rises[key]))
            if rise.low is not None and rise.low > math.log1p(margin):
                why = (
                    "its fastest batches are equivalent, but head's typical batch is "
                    f"{math.expm1(rise.estimate):.1%} farther above them than base's: look at the run's samples, and "
                    "for work in only some of its calls"
                )
                rows[key] = replace(row, verdict=Verdict.INCONCLUSIVE, reason=why)
    rows = with_counts(rows, (of_base, of_head), (old, new), margin, together=True)
    copies = log_ratios(ab.samples, base_side, NULL)
    notes = _distrust(rows, _decide(copies, list(copies), flagged, margin, level))
    base, head = (  # the run as if of one side, with its commit and versions
        structs.replace(ab.run, tag=None, git=side.git, versions=side.versions, sides=(side,))
        for side in ab.run.sides
        if side.name in (base_side, head_side)
    )
    differing = tuple(map(str, differences(base.environment, head.environment, packages=True)))
    return Diff(base, head, margin, tuple(rows.values()), differing, notes)


def log_ratios(
    samples: pd.DataFrame, base: str, head: str, ratio: Callable[[Floats, Floats], float] = round_log_ratio
) -> Mapping[Key, "pd.Series[float]"]:
    """Return by row the log ratio of head to base in each round in which both took turns."""
    samples = with_memory(samples)
    pairs = samples[samples["contender"].isin([base, head])].pivot(
        index=[*ROW, "round", "turn"], columns="contender", values="seconds_per_call"
    )
    if not {base, head} <= {*pairs}:
        return {}
    turns = pairs.dropna(subset=[base, head]).groupby([*ROW, "round"])
    ratios = {key: ratio(array(of[head]), array(of[base])) for key, of in turns}
    rounds = pd.Series(ratios, dtype=float).rename_axis([*ROW, "round"])
    return {row_key(key): row.droplevel(ROW) for key, row in rounds.groupby(ROW)}


def array(values: "pd.Series[float]") -> Floats:
    """Return the values of a series."""
    return np.asarray(values, dtype=np.float64)


def _decide(
    rounds: Mapping[Key, "pd.Series[float]"],
    tested: Sequence[Key],
    flagged: Mapping[tuple[str, str, str], int] | None,
    margin: float,
    level: float,
) -> dict[Key, tuple[Evidence, Judgement]]:
    """Judge rows by rounds before and after they were ``flagged`` (None: one stage); return evidence and judgement."""
    first, fresh = [], []
    for key in tested:
        values = rounds.get(key, pd.Series(dtype=float))
        begin = (flagged or {}).get(key[:3])
        first.append(paired(array(values if begin is None else values[values.index < begin]), margin))
        fresh.append(None if begin is None else paired(array(values[values.index >= begin]), margin))
    judgements = judge(first, level) if flagged is None else decide(first, fresh, level)
    evidence = [confirmation or screening for screening, confirmation in zip(first, fresh, strict=True)]
    return dict(zip(tested, zip(evidence, judgements, strict=True), strict=True))


def _distrust(rows: dict[Key, Row], copies: Mapping[Key, tuple[Evidence, Judgement]]) -> tuple[str, ...]:
    """Return a note if the copy of base seems to have changed; regressed rows become inconclusive then."""
    changed = (Verdict.REGRESSED, Verdict.IMPROVED)
    moved = [key for key, (_, judgement) in copies.items() if judgement.verdict in changed]
    if not moved:
        return ()
    case, implementation, clock, _ = moved[0]
    change = math.expm1(copies[moved[0]][0].change.estimate)
    why = (
        f"a hidden second copy of base differs from base itself by {change:+.1%} ({implementation}, {clock}, {case}): "
        "this machine is too unsteady to detect regressions; see gapbench doctor, and measure again"
    )
    for key, row in rows.items():
        if row.verdict is Verdict.REGRESSED:
            rows[key] = replace(row, verdict=Verdict.INCONCLUSIVE, reason=why)
    return (why,)
