"""Compute the cost of always choosing one implementation, relative to the best choice in each case."""

import numpy as np
import pandas as pd

BY = ("suite", "operation", "device", "clock", "memory", "contender")
"""Columns that delimit one choice: within it, one implementation is used for every case."""

COLUMNS = (
    *BY, "cases", "unanswered", "implementation", "lacks", "geometric_mean", "worst", "worst_case", "seconds",
    "best_of_each",
)  # fmt: skip


def regrets(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row per suite, operation, device, clock, memory and implementation, the best choice first.

    ``cases`` counts the cases with any time (``unanswered`` those without), ``lacks`` those in which this
    implementation has none. If that is 0 it competes: ``geometric_mean`` and ``worst`` are of its ratio to the fastest
    of the case (a ratio of seconds if they were not timed in the same turns), 1 is no regret, noise makes it larger;
    ``worst_case`` is the case of the latter. Others have nulls there and come last. ``seconds`` is the sum of weight x
    seconds with this one choice, ``best_of_each`` with the best of every case; null without weights.
    """
    contested = results[results["ranked"].astype(bool)]
    frames = [_of_one(key, group) for key, group in contested.groupby([*BY], dropna=False, sort=False)]
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))


def _of_one(key: tuple[object, ...], group: pd.DataFrame) -> pd.DataFrame:
    ok = group[(group["status"] == "ok") & group["seconds"].gt(0)]
    times = ok.pivot_table(index="case", columns="implementation", values="seconds", aggfunc="median")
    times = times.reindex(columns=pd.unique(group["implementation"].dropna()))  # one without any time lacks all cases
    if times.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    lacks = times.isna().sum()
    best = times.min(axis="columns")
    paired = ok.pivot_table(index="case", columns="implementation", values="best_ratio", aggfunc="median")
    ratios = paired.reindex_like(times).fillna(times.div(best, axis="index")).loc[:, lacks == 0]
    weights = group.groupby("case")["weight"].first().reindex(times.index).astype("float64")
    weighted = bool((weights > 1).any() and weights.notna().all())
    columns = {
        "lacks": lacks, "geometric_mean": np.exp(np.log(ratios).mean()), "worst": ratios.max(),
        "worst_case": ratios.idxmax() if len(ratios.columns) else pd.Series(dtype="object"),
        "seconds": times.mul(weights, axis="index").sum(skipna=False) if weighted else np.nan,
        "best_of_each": float((best * weights).sum()) if weighted else np.nan, "cases": len(times),
        "unanswered": group["case"].nunique() - len(times),
    }  # fmt: skip
    frame = pd.DataFrame(columns, index=times.columns).rename_axis("implementation").reset_index()
    frame[[*BY]] = pd.DataFrame([key] * len(frame), columns=[*BY])
    return frame.sort_values(["lacks", "geometric_mean"], kind="stable")[list(COLUMNS)]
