"""The tables of a replay: findings in, rows of plain values out, and Markdown of such rows."""

from collections.abc import Mapping, Sequence
from math import floor

import numpy as np
import pandas as pd
from pool import START_SECONDS, Pool
from staged import Plan

from gapbench.statistics.verdicts import Verdict

Table = list[dict[str, object]]


def share(hits: "pd.Series[bool]") -> dict[str, float | int]:
    """Return a share of ``hits`` with its 95 % Clopper-Pearson interval."""
    from scipy.stats import binomtest

    count, of = int(hits.sum()), len(hits)
    interval = binomtest(count, of).proportion_ci(method="exact")
    return {"share": count / of, "low": float(interval.low), "high": float(interval.high), "hits": count, "of": of}


def any_of(found: pd.DataFrame, verdict: Verdict) -> "pd.Series[bool]":
    """Return by diff whether it has any such row."""
    return (found["verdict"] == verdict).groupby(found["diff"]).any()


def identical(found: pd.DataFrame) -> dict[str, object]:
    """Return how often diffs of identical code said anything, and how their rows were judged."""
    return {
        "diffs with any red": share(any_of(found, Verdict.REGRESSED)),
        "diffs with any green": share(any_of(found, Verdict.IMPROVED)),
        "rows equivalent": share(found["verdict"] == Verdict.EQUIVALENT),
        "rows inconclusive": share(found["verdict"] == Verdict.INCONCLUSIVE),
    }


def power(level: int, changed: int, found: pd.DataFrame) -> dict[str, object]:
    """Return what was found of so many changed cases."""
    injected = found[found["changed"]]
    red = injected["verdict"] == Verdict.REGRESSED
    by_diff = red.groupby(injected["diff"])
    others = found[~found["changed"]]
    return {
        "work %": level,
        "cases": changed,
        "any found": share(by_diff.any()),
        "all found": share(by_diff.all()),
        "rows found": share(red),
        "rows inconclusive": share(injected["verdict"] == Verdict.INCONCLUSIVE),
        "rows called equivalent": share(injected["verdict"] == Verdict.EQUIVALENT),
        "diffs with a false red": share(any_of(others, Verdict.REGRESSED)) if len(others) else None,
    }


def accuracy(
    trials: Sequence[tuple[int, int, pd.DataFrame]], same: pd.DataFrame, truth: Mapping[tuple[str, int], float]
) -> Table:
    """Return bias and coverage of the reported ratio by level, where all cases are changed.

    ``bias`` is the mean of estimate / truth - 1 in percent, over all rows; ``worst case`` the largest of a case.
    """
    most = max((changed for _, changed, _ in trials), default=0)
    rows: Table = []
    for level, found in [(0, same), *((level, found) for level, changed, found in trials if changed == most)]:
        true = found["case"].map(lambda case, level=level: truth.get((case, level), np.nan))
        errors, covered = found["change"] - true, (found["low"] <= true) & (true <= found["high"])
        by_case = errors.groupby(found["case"]).mean()
        rows.append(
            {
                "work %": level,
                "true ratio": float(np.exp(true.mean())),
                "bias %": float(100 * np.expm1(errors.mean())),
                "worst case's bias %": float(100 * np.expm1(by_case[by_case.abs().idxmax()])),
                "half-width %": float(100 * np.expm1((found["high"] - found["low"]).median() / 2)),
                "covered by the 95 % interval": share(covered),
            }
        )
    return rows


def summary(same: pd.DataFrame, found: Mapping[int, pd.DataFrame]) -> dict[str, object]:
    """Return one rule's false alarms a diff of identical code, and how often it finds a lone change by its size."""
    row: dict[str, object] = {
        "any red, identical code": share(any_of(same, Verdict.REGRESSED)),
        "any green": share(any_of(same, Verdict.IMPROVED)),
    }
    for level, frame in found.items():
        row[f"+{level} % found"] = share(frame.loc[frame["changed"], "verdict"] == Verdict.REGRESSED)
    return row


def fitting(pool: Pool, seconds: float) -> Table:
    """Return how many rounds of every case fit in ``seconds``, starting included, by how many are compared."""
    start = pool.attributes.get(START_SECONDS, 0.0)
    seconds -= start if isinstance(start, float) else 0.0
    rows: Table = []
    for implementations in (1, 2, 5, len(pool.levels)):
        each = pool.seconds_per_round(implementations)
        if np.isfinite(each):
            fits = floor(seconds / (each * len(pool.cases)))
            rows.append({"implementations": implementations, "seconds a round": each, "rounds": fits})
    return rows


def caption(pool: Pool, plan: Plan, diffs: int, truth: str) -> str:
    """Say what was drawn, and how it was decided."""
    return (
        f"Resampled from {pool.rounds} rounds of {len(pool.cases)} cases, neighbour: "
        f"{pool.attributes.get('neighbour', 'unknown')}; {diffs} diffs each. Time for {plan.rounds} "
        f"rounds a case: {plan.first_share:.0%} of it to screen, flagged at p ≤ {plan.flagged:g}, the rest to confirm "
        f"(at most {plan.most} rounds a row) and for what is undecided; "
        f"margin {plan.margin:.1%}, level {plan.level:.1%} over all rows. True ratios: {truth}."
    )


def markdown(rows: Table) -> str:
    """Return rows as a Markdown table; a cell that no row of a column fills is a dash."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(name)) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) if rows else "nothing to show"


def _cell(value: object) -> str:
    if value is None:
        return "–"  # noqa: RUF001
    if isinstance(value, dict):
        return f"{value['share']:.1%} ({value['low']:.1%} to {value['high']:.1%})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
