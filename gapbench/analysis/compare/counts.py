"""Compare what was measured beside time: counts of a call's work on a CPU, and the clock rate of a GPU.

Counts (instructions, page faults, bytes allocated) scatter less than times. They have verdicts of their own: more work
may take the same time. Where times changed and cycles did not, the clock rate changed, and not the code.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import expm1, log1p

import numpy as np
import pandas as pd

from gapbench.analysis.compare.rows import FEWER, MORE, ROW, Count, Key, Result, Row, row_key
from gapbench.statistics import stats
from gapbench.statistics.stats import UNDISTURBED, Floats
from gapbench.statistics.verdicts import LEVEL, Evidence, Verdict, judge, paired, student
from gapbench.store.records import with_memory

COUNTS = {"instructions": "instructions", "page_faults": "page faults", "allocated_bytes": "allocated bytes"}
"""Columns of samples and results that are compared, and what they count."""

_WORDS = {Verdict.REGRESSED: MORE, Verdict.IMPROVED: FEWER, Verdict.EQUIVALENT: "same"}


def with_counts(
    rows: Mapping[Key, Row],
    samples: tuple[pd.DataFrame, pd.DataFrame],
    results: tuple[Mapping[Key, Result], Mapping[Key, Result]],
    margin: float,
    together: bool,
) -> dict[Key, Row]:
    """Add counts to the ``rows`` whose times were compared; verdicts hold at `LEVEL` over all rows, for each kind.

    ``samples`` and ``results`` are those of base and head, measured ``together`` in the same rounds or one by one.
    """
    counts: dict[Key, list[Count]] = {key: [] for key, row in rows.items() if row.rounds is not None}
    for name in COUNTS:
        before, after = (_by_round(of_side, name) for of_side in samples)
        tested = [key for key in counts if key in before and key in after]
        evidence = [_evidence(before[key], after[key], margin, together) for key in tested]
        for key, tests, judgement in zip(tested, evidence, judge(evidence, LEVEL), strict=True):
            change = tests.change.exp()
            medians = float(before[key].median()), float(after[key].median())
            verdict = _WORDS.get(judgement.verdict, "inconclusive")
            counts[key].append(
                Count(name, *medians, verdict, change.estimate, change.low, change.high, judgement.p_value)
            )
        for key in counts.keys() - set(tested):
            if (exact := _exact(name, results[0].get(key), results[1].get(key), margin)) is not None:
                counts[key].append(exact)
    return {key: replace(row, counts=tuple(counts.get(key, ()))) for key, row in rows.items()}


def _by_round(samples: pd.DataFrame, name: str) -> dict[Key, "pd.Series[float]"]:
    """Return the median count of each round, by row; nothing for a column that is not there, or without a value."""
    if name not in samples or samples[name].isna().all():
        return {}
    rounds = with_memory(samples).dropna(subset=[name]).groupby([*ROW, "round"])[name].median()
    return {row_key(key): row.droplevel(ROW) for key, row in rounds.groupby(ROW)}


def _evidence(before: "pd.Series[float]", after: "pd.Series[float]", margin: float, together: bool) -> Evidence:
    if together:
        before, after = before.align(after, join="inner")
        return paired(_logs(after) - _logs(before), margin)
    difference = stats.mean_difference(_logs(after), _logs(before))
    parts = [float(np.var(_logs(side), ddof=1)) / len(side) if len(side) > 1 else np.inf for side in (before, after)]
    return student(difference.estimate, sum(parts), 0.0, max(min(len(before), len(after)) - 1, 1), len(after), margin)


def _logs(counts: "pd.Series[float]") -> Floats:
    return np.log(np.maximum(np.asarray(counts, dtype=np.float64), 1.0))


def _exact(name: str, old: Result | None, new: Result | None, margin: float) -> Count | None:
    """Compare a count that is the same in every call, which only the results have."""
    values = [row.get(name) if row else None for row in (old, new)]
    if name != "allocated_bytes" or None in values:
        return None
    before, after = (float(value or 0) for value in values)
    ratio = max(after, 1.0) / max(before, 1.0)
    verdict = MORE if ratio > 1 + margin else FEWER if ratio * (1 + margin) < 1 else "same"
    return Count(name, before, after, verdict, ratio)


def caused_by_clock(
    rows: Mapping[Key, Row], base: pd.DataFrame, head: pd.DataFrame, margin: float, paired: bool = False
) -> Iterator[tuple[Key, Row]]:
    """Yield changed rows whose cycles (seconds times rate) differ by less than ``margin`` as inconclusive."""
    changed = {key: row for key, row in rows.items() if row.verdict in (Verdict.REGRESSED, Verdict.IMPROVED)}
    if not changed:
        return
    before, after = _clock_levels(base), _clock_levels(head)
    if paired:
        shifts = (after - before).groupby(level=ROW).median()
    else:
        shifts = after.groupby(level=ROW).median() - before.groupby(level=ROW).median()
    for key, row in changed.items():
        time, rate = shifts["time"].get((*key[:3], key[3] or "")), shifts["rate"].get((*key[:3], key[3] or ""))
        if time is None or rate is None or not abs(time + rate) <= log1p(margin) < abs(rate):
            continue
        reason = (
            f"{'slower' if rate < 0 else 'faster'} by clock, not by code: head's SM clock was {expm1(rate):+.1%} "
            f"against base's, its cycles {expm1(time + rate):+.1%}; lock the clock with gapbench tune, and "
            "measure again"
        )
        yield key, replace(row, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _clock_levels(samples: pd.DataFrame) -> pd.DataFrame:
    samples = with_memory(samples.reindex(columns=[*samples.columns.union(["sm_clock_mhz"])]))
    samples = samples[samples["sm_clock_mhz"] > 0]
    logs = samples.assign(time=np.log(samples["seconds_per_call"]), rate=np.log(samples["sm_clock_mhz"]))
    rounds = logs.groupby([*ROW, "round"])
    return pd.DataFrame({"time": rounds["time"].quantile(UNDISTURBED), "rate": rounds["rate"].median()})
