"""From samples to results: time and ratio with their intervals, and who wins.

A round's time is the median of its turns. A round's ratio is the median over turns of the log ratio of two batches of
the same turn: neighbours in time, so that spells of noise cancel. Intervals are over rounds.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from gapbench import ceilings, records
from gapbench.cases import Case
from gapbench.metrics import METRICS
from gapbench.records import Qualification
from gapbench.run import Warning
from gapbench.stats import Floats, Interval, location

TIE_MARGIN = 0.01
"""An implementation ties with the winner unless it is shown to be more than this slower (95 % interval)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of one implementation on one case besides its samples."""

    suite: str | None
    case: Case
    implementation: str
    clock: str
    qualification: Qualification
    stopped_by: str | None = None
    reference: str | None = records.REFERENCE
    contender: str = records.THIS


def results(samples: pd.DataFrame, outcomes: Iterable[Outcome], known: ceilings.Known = None) -> pd.DataFrame:
    """Return one row per outcome with the columns of `records.RESULTS`.

    ``ratio`` is seconds / seconds of the reference in the same turns: below 1 is faster. ``ceiling_fraction`` is held
    against the ``known`` ceilings of the machine. Only ``ok`` outcomes get
    numbers; what was measured before an implementation failed stays in the samples.
    """
    by_case = {key: log_seconds(frame) for key, frame in samples.groupby(["case", "clock"])}
    counts = samples.groupby(["case", "clock", "implementation"]).size().to_dict()
    rows = []
    for outcome in outcomes:
        row: dict[str, object] = {
            "suite": outcome.suite,
            **records.case_columns(outcome.case),
            "implementation": outcome.implementation,
            "contender": outcome.contender,
            "clock": outcome.clock,
            "stopped_by": outcome.stopped_by,
            "reference": outcome.reference,
            **asdict(outcome.qualification),
        }
        is_ok = outcome.qualification.status == "ok"
        turns = by_case.get((outcome.case.id, outcome.clock))
        if is_ok and turns is not None and outcome.implementation in turns:
            row["samples"] = counts[outcome.case.id, outcome.clock, outcome.implementation]
            row |= _measured(turns, outcome, known)
        elif is_ok and outcome.contender == records.THIS:
            continue  # the run was interrupted before its turn came; a side of two may lack the other to be timed with
        rows.append(row)
    return pd.DataFrame(rows, columns=[name for name in records.RESULTS if name != "run"])


def log_seconds(samples: pd.DataFrame) -> pd.DataFrame:
    """Lay one case's samples by one clock out as log seconds: a row per (round, turn), a column per implementation."""
    wide = samples.pivot(index=["round", "turn"], columns="implementation", values="seconds_per_call")
    return wide.map(np.log)


def _measured(turns: pd.DataFrame, outcome: Outcome, known: ceilings.Known) -> dict[str, object]:
    case, name, reference = outcome.case, outcome.implementation, outcome.reference
    rounds = turns[name].dropna().groupby("round")
    seconds = location(rounds.median().to_numpy())
    row: dict[str, object] = {"rounds": rounds.ngroups, **_columns("seconds", seconds)}
    row |= {metric.column: metric.derive(case, float(np.exp(seconds.estimate))) for metric in METRICS}
    share = ceilings.fraction(known, {**records.case_columns(case), **row, "clock": outcome.clock})
    row |= {} if share is None else {"ceiling_fraction": share}
    if reference is not None and reference in turns:
        row |= _columns("ratio", location(log_ratios(turns, name, reference)))
    return row


def _columns(name: str, logarithm: Interval) -> dict[str, float | None]:
    low, high = (None if bound is None else float(np.exp(bound)) for bound in (logarithm.low, logarithm.high))
    return {name: float(np.exp(logarithm.estimate)), f"{name}_low": low, f"{name}_high": high}


def log_ratios(turns: pd.DataFrame, name: str, reference: str) -> Floats:
    """Return each round's log ratio of two implementations, from the rounds that both took part in.

    None where one has no samples, as in runs that were imported without.
    """
    if name not in turns or reference not in turns:
        return np.empty(0)
    differences = (turns[name] - turns[reference]).dropna()
    return differences.groupby("round").median().to_numpy()


_OUTLYING = 1.5
"""A round whose time is off by this factor from the median of its implementation's rounds is flagged."""


def outlying_rounds(samples: pd.DataFrame) -> list[Warning]:
    """Return a warning for each case in which some rounds took very different times. They are kept: rounds differ.

    An implementation that is slow in its first process only shows here, too.
    """
    medians = np.log(samples.groupby(["case", "clock", "implementation", "round"])["seconds_per_call"].median())
    off = medians - medians.groupby(["case", "clock", "implementation"]).transform("median")
    flagged = off[off.abs() > np.log(_OUTLYING)].reset_index(name="off")
    found = []
    for case, rows in flagged.groupby("case"):
        worst = rows.loc[rows["off"].abs().idxmax()]
        evidence = (
            f"{case}: {len(rows)} outlier {'round' if len(rows) == 1 else 'rounds'}, the worst "
            f"{np.exp(worst['off']):.2g}x the median (round {worst['round']} of {worst['implementation']}); kept, so "
            "the interval is wider"
        )
        found.append(Warning("outlier rounds", evidence, "use a larger --budget"))
    return found


def above_ceilings(results: pd.DataFrame, known: ceilings.Known) -> list[Warning]:
    """Return a warning where times are shorter than the machine's measured limits allow, and no cache explains that.

    Then the ceiling is too low, or the time wrong; neither is a success.
    """
    if not known:  # nor have the results of two sides that were compared any share of them
        return []
    above = results[results["ceiling_fraction"].gt(1)]
    rows = [one for one in map(_plain, above.to_dict("records")) if not ceilings.partly_cached(known, one)]
    if not rows:
        return []
    worst = max(rows, key=itemgetter("ceiling_fraction"))
    limit = ceilings.limit_of(known, worst)
    assert limit is not None
    evidence = (
        f"{len(rows)} of {results['ceiling_fraction'].count()} times are above their measured ceiling, the farthest "
        f"{worst['implementation']} on {worst['case']}, {100 * worst['ceiling_fraction']:.0f} % of the "
        f"{ceilings.said(limit)}: a machine that was busy while ceilings were measured, or a time that is wrong"
    )
    return [Warning("ceilings", evidence, "run again when the machine is idle")]


def _plain(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}


def winners(results: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return one row per case and clock that have a winner: the fastest implementation, and those that tie with it.

    Of operations that are `records.UNRANKED`, none has, nor has a run that compared two sides.

    Columns: case, operation, label, shape, dtype, layout, device, pass, threads, implementation, clock, seconds and
    ratio with their intervals, reference, ties (list of names).
    """
    kept = [
        "case",
        "operation",
        "label",
        "shape",
        "dtype",
        "layout",
        "device",
        "pass",
        "threads",
        "implementation",
        "clock",
    ]
    kept += [f"{value}{bound}" for value in ("seconds", "ratio") for bound in ("", "_low", "_high")]
    measured = results[
        (results["status"] == "ok") & results["seconds"].notna() & (results["contender"] == records.THIS)
    ]
    measured = measured[~measured["operation"].isin(records.UNRANKED)]
    ranked: dict[tuple[str, str], list[dict[Hashable, Any]]] = {}
    for one in measured[[*kept, "reference"]].to_dict("records"):  # at once: a run may have thousands of cases
        ranked.setdefault((one["case"], one["clock"]), []).append(one)
    for group in ranked.values():
        by = "seconds" if any(pd.isna(one["ratio"]) for one in group) else "ratio"
        group.sort(key=itemgetter(by))
    slower = _against_best(samples, {key: group[0]["implementation"] for key, group in ranked.items()})
    rows = []
    for key, (best, *others) in ranked.items():
        names = [one["implementation"] for one in others]
        ties = [name for name in names if _ties(location(slower.get((*key, name), np.empty(0))))]
        reference = records.REFERENCE if pd.isna(best["reference"]) else best["reference"]  # runs of old have none
        rows.append({**{name: best[name] for name in kept}, "reference": reference, "ties": ties})
    return pd.DataFrame(rows, columns=[*kept, "reference", "ties"])


def _against_best(samples: pd.DataFrame, best: Mapping[tuple[str, str], str]) -> dict[tuple[str, str, str], Floats]:
    """Return by (case, clock, implementation) the rounds' `log_ratios` to the ``best`` of its case."""
    turn = ["case", "clock", "round", "turn"]
    logs = samples[[*turn, "implementation"]].assign(log=np.log(samples["seconds_per_call"].to_numpy(dtype=float)))
    fastest = pd.DataFrame([(*key, name) for key, name in best.items()], columns=["case", "clock", "implementation"])
    paired = logs.merge(logs.merge(fastest), on=turn, suffixes=("", "_best"))
    paired["log"] -= paired["log_best"]
    rounds = paired.groupby(["case", "clock", "implementation", "round"], observed=True)["log"].median().reset_index()
    names = rounds[["case", "clock", "implementation"]]
    starts = np.flatnonzero((names != names.shift()).any(axis="columns"))
    values = np.split(rounds["log"].to_numpy(), starts[1:]) if len(starts) else []
    return dict(zip(names.iloc[starts].itertuples(index=False, name=None), values, strict=True))


def _ties(slower: Interval) -> bool:
    return slower.low is None or slower.low <= np.log1p(TIE_MARGIN)


def totals(results: pd.DataFrame) -> pd.DataFrame:
    """Return what whole suites take whose cases occur more than once (``weight``), for every way to choose.

    One row for each suite, dtype, layout, device, pass, threads and clock, and for each implementation that is ok in
    all of its cases, fastest first: ``cases``, ``seconds`` with this one choice (the sum of weight x seconds),
    ``ratio`` to the reference's, and ``best_of_each``, the seconds with the fastest in every case.
    """
    by = ["suite", "dtype", "layout", "device", "pass", "threads", "clock"]
    rows = []
    for key, group in results.groupby(by, sort=False):
        if not (group["weight"] > 1).any():
            continue
        measured = group[group["status"] == "ok"].assign(total=lambda rows: rows["seconds"] * rows["weight"])
        if measured.empty:
            continue
        wide = measured.pivot(index="case", columns="implementation", values="total")
        everywhere = wide.dropna(axis="columns").sum().sort_values()
        reference = everywhere.get(measured["reference"].iloc[0])
        rows += [
            {
                **dict(zip(by, key, strict=True)),
                "cases": len(wide),
                "implementation": name,
                "seconds": seconds,
                "ratio": None if reference is None else seconds / reference,
                "best_of_each": wide.min(axis="columns").sum(),
            }
            for name, seconds in everywhere.items()
        ]
    return pd.DataFrame(rows, columns=[*by, "cases", "implementation", "seconds", "ratio", "best_of_each"])
