"""From samples to results: time and ratio with their intervals, and who wins.

A round's time is the median of its turns: what a call typically takes, other work on the machine included. A round's
ratio compares the fastest tenths of the turns that both took, which other work hardly touches
(`stats.round_log_ratio`). Intervals are over rounds.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from gapbench.statistics.stats import (
    FEWEST_ROUNDS,
    UNDISTURBED,
    Floats,
    Interval,
    excess,
    hodges_lehmann,
    location,
    lower_bound,
    round_log_ratio,
)
from gapbench.store import ceilings, records
from gapbench.store.metrics import METRICS
from gapbench.store.records import Qualification, plain_rows, with_memory
from gapbench.store.run import Warning
from gapbench.workloads.cases import Case

Row = dict[str, Any]
Key = tuple[Hashable, ...]

_KEY = ("case", "contender", "clock", "memory")
"""What is measured together: implementations are compared within it."""

_BEST = ("best", "best_ratio", "best_ratio_low", "best_ratio_high")

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
    memory: str | None = None
    traits: Mapping[str, bool] | None = None
    """`records.TRAITS` of the operation and the clock; None for rows from before these were stored."""

    @property
    def key(self) -> Key:
        """The outcome's case, contender, clock and memory."""
        return self.case.id, self.contender, self.clock, self.memory or ""


def results(samples: pd.DataFrame, outcomes: Iterable[Outcome], known: ceilings.Known = None) -> pd.DataFrame:
    """Return one row per outcome with the columns of `records.RESULTS`.

    ``ratio`` is seconds / seconds of the reference in the same turns: below 1 is faster; ``best_ratio`` is the same to
    the fastest of the case. ``ceiling_fraction`` is held against the ``known`` ceilings of the machine. Only ``ok``
    outcomes get numbers; what was measured before an implementation failed stays in the samples.
    """
    outcomes = list(outcomes)
    turns = _turns(samples)
    batches = with_memory(samples).groupby([*_KEY, "implementation"])
    counts = batches.size().to_dict()
    faults = batches["page_faults"].median().to_dict() if "page_faults" in samples else {}
    raced = {(outcome.key, outcome.implementation) for outcome in outcomes if outcome.stopped_by == records.SLOWER}
    rows: list[Row] = []
    for outcome in outcomes:
        row: Row = {
            "suite": outcome.suite,
            **records.case_columns(outcome.case),
            **(outcome.traits or records.former_traits(outcome.case.operation, outcome.clock)),
            "implementation": outcome.implementation,
            "contender": outcome.contender,
            "clock": outcome.clock,
            "memory": outcome.memory,
            "stopped_by": outcome.stopped_by,
            "reference": outcome.reference,
            **asdict(outcome.qualification),
        }
        is_ok = outcome.qualification.status == "ok"
        mine = turns.get(outcome.key)
        if is_ok and mine is not None and outcome.implementation in mine:
            row["samples"] = counts[*outcome.key, outcome.implementation]
            if faults:
                row["page_faults"] = faults[*outcome.key, outcome.implementation]
            numbers = _measured(row, mine, outcome, known, (outcome.key, outcome.reference) in raced)
            limit = ceilings.impossible(known, {**row, **numbers})
            if limit is not None:
                reason = (
                    f"faster than memory can deliver: {numbers['gbps']:.0f} GB/s is "
                    f"{numbers['gbps'] / (limit.gbps or math.nan):.1f} times the {ceilings.said(limit)}, so it cannot "
                    "have touched every element; run again on an idle machine if it does"
                )
                numbers = {"status": "wrong", "reason": reason}
            row |= numbers
        elif is_ok and outcome.contender == records.THIS:
            continue  # the run was interrupted before its turn came; a side of two may lack the other to be timed with
        rows.append(row)
    _rank(rows, turns)
    return pd.DataFrame(rows, columns=[name for name in records.RESULTS if name != "run"])


def _key(row: Mapping[Any, Any]) -> Key:
    return tuple(row[name] or "" for name in _KEY)


def _turns(samples: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Return the log seconds by what is measured together: a row per (round, turn), a column per implementation."""
    turns = {}
    for key, frame in with_memory(samples).groupby([*_KEY]):
        wide = frame.pivot(index=["round", "turn"], columns="implementation", values="seconds_per_call")
        turns[key] = pd.DataFrame(np.log(wide.to_numpy(dtype=float)), wide.index, wide.columns)
    return turns


def _measured(
    known_of_row: Row, turns: pd.DataFrame, outcome: Outcome, known: ceilings.Known, reference_raced: bool
) -> Row:
    case, name, reference = outcome.case, outcome.implementation, outcome.reference
    rounds = turns[name].dropna().groupby("round")
    seconds = location(rounds.median().to_numpy())
    row: Row = {"rounds": rounds.ngroups, **_columns("seconds", seconds)}
    row |= {metric.column: metric.derive(case, row["seconds"]) for metric in METRICS}
    share = ceilings.fraction(known, {**known_of_row, **row})
    row |= {} if share is None else {"ceiling_fraction": share}
    if reference is not None and reference in turns:
        raced = (outcome.stopped_by == records.SLOWER, reference_raced) if name != reference else ()
        row |= _columns("ratio", _interval(log_ratios(turns, name, reference), *raced))
    return row


def _interval(values: Floats, slower: bool = False, faster: bool = False) -> Interval:
    """Return the location of log ratios with its interval; of few that show one ``slower`` or ``faster``, the bound."""
    interval = location(values)
    if interval.low is not None or len(values) < 2:
        return interval
    if slower:
        return Interval(interval.estimate, low=lower_bound(values))
    return Interval(interval.estimate, high=-lower_bound(-values)) if faster else interval


def _columns(name: str, logarithm: Interval) -> dict[str, float | None]:
    value = logarithm.exp()
    return {name: value.estimate, f"{name}_low": value.low, f"{name}_high": value.high}


def log_ratios(turns: pd.DataFrame | None, name: str, reference: str) -> Floats:
    """Return each round's log ratio of two implementations, of the rounds of both; none where one has no samples."""
    if turns is None or name not in turns or reference not in turns:
        return np.empty(0)
    mine, other = (np.exp(turns[column].to_numpy()) for column in (name, reference))
    rounds = turns.index.get_level_values("round").to_numpy()
    ends = [0, *(np.flatnonzero(np.diff(rounds)) + 1).tolist(), len(rounds)]
    ratios = [round_log_ratio(mine[first:end], other[first:end]) for first, end in pairwise(ends)]
    return np.array([ratio for ratio in ratios if not np.isnan(ratio)])


def with_best(results: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return ``results`` with their ratios to the fastest where those lack, as in runs of old."""
    timed = with_memory(results[_is_ranked(results)])
    names = set(zip(*(timed[name] for name in (*_KEY, "implementation")), strict=True))
    best = zip(*(timed[name] for name in (*_KEY, "best")), strict=True)
    lacking = timed.index[[one not in names for one in best]]
    if lacking.empty:
        return results
    rows = plain_rows(results.loc[lacking])
    _rank(rows, _turns(samples))
    columns = results[[*_BEST]].astype(object)
    columns.loc[lacking] = pd.DataFrame(rows, index=lacking)[[*_BEST]].astype(object)
    return results.assign(**{name: pd.Series(columns[name].tolist(), results.index) for name in _BEST})


def _is_ranked(results: pd.DataFrame) -> "pd.Series[bool]":
    return (results["status"] == "ok") & results["seconds"].notna() & results["ranked"].astype(bool)


def _rank(rows: Iterable[Row], turns: Mapping[Key, pd.DataFrame]) -> None:
    """Add to each row that has a time the fastest of its case, and its ratio to that one in the same turns."""
    cases: dict[Key, list[Row]] = {}
    for row in rows:
        if row["status"] == "ok" and row.get("seconds") is not None and row["ranked"]:
            cases.setdefault(_key(row), []).append(row)
    for key, case in cases.items():
        best, ratios = _fastest(case, turns.get(key))
        for row in case:
            row |= {**dict.fromkeys(_BEST), "best": best}
            if row["implementation"] == best:
                row |= _columns("best_ratio", Interval(0.0, 0.0, 0.0))
            elif len(values := ratios[row["implementation"]]):
                row |= _columns("best_ratio", _interval(values, row["stopped_by"] == records.SLOWER))


def _fastest(case: Sequence[Row], turns: pd.DataFrame | None) -> tuple[str, dict[str, Floats]]:
    """Return the fastest of a case, and the log ratios to it.

    Whoever is ahead of the one that was thought fastest takes its place. That is decided by ratios, as rounds differ,
    some may lack rounds, and a slow one takes few turns; by times only where two never ran in the same turn.
    """
    seconds = {row["implementation"]: float(np.log(row["seconds"])) for row in case}
    rivals = [row["implementation"] for row in case if row["stopped_by"] != records.SLOWER] or [*seconds]
    best = min(rivals, key=seconds.__getitem__)
    beaten: set[str] = set()
    while True:
        ratios = {name: log_ratios(turns, name, best) for name in seconds}
        ahead = {
            name: hodges_lehmann(ratios[name]) if len(ratios[name]) else seconds[name] - seconds[best]
            for name in rivals
        }
        first = min(rivals, key=ahead.__getitem__)
        if ahead[first] >= 0 or first in beaten:  # noise may go round in circles
            return best, ratios
        beaten.add(best)
        best = first


_FEWEST_BATCHES = 10
_OUTLYING = 1.5
"""A round whose time is off by this factor from the median of its implementation's rounds is flagged."""


def outlying_rounds(samples: pd.DataFrame) -> list[Warning]:
    """Return a warning where some rounds took very different times, other work aside. They are kept: rounds differ.

    An implementation that is slow in its first process only shows here, too.
    """
    row = ["case", "clock", "memory", "implementation"]
    rounds = np.log(with_memory(samples).groupby([*row, "round"])["seconds_per_call"].quantile(UNDISTURBED))
    off = rounds - rounds.groupby(row).transform("median")
    flagged = off[off.abs() > np.log(_OUTLYING)].reset_index(name="off")
    if flagged.empty:
        return []
    worst = flagged.loc[flagged["off"].abs().idxmax()]
    evidence = (
        f"{len(flagged)} of {len(off)} rounds of an implementation are outliers, the worst {np.exp(worst['off']):.2g}x "
        f"the median (round {worst['round']} of {worst['implementation']}, {worst['case']}); kept, so their intervals "
        "are wider"
    )
    return [Warning("outlier rounds", evidence, "use a larger --budget")]


_UNEVEN = 1.15
"""An implementation is uneven if its typical batch is so many times further above its fastest ones than others' are."""


def uneven(samples: pd.DataFrame) -> list[Warning]:
    """Return a warning for each case in which an implementation's own batches vary far more than the others'."""
    by = ["case", "clock", "memory", "implementation"]
    batches = with_memory(samples).groupby([*by, "round"])["seconds_per_call"]
    rounds = batches.agg(lambda seconds: excess(seconds.to_numpy(dtype=float)))[batches.size() >= _FEWEST_BATCHES]
    typical = rounds.groupby(by).quantile(0.25)  # most rounds must agree
    beyond = (typical - typical.groupby(by[:-1]).transform("median")).reset_index(name="beyond")
    flagged = beyond[beyond["beyond"] > np.log(_UNEVEN)]
    return [
        Warning(
            "uneven batches",
            f"{row['case']}: most batches of {row['implementation']} take {np.expm1(row['beyond']):.0%} more "
            "than its fastest, beyond what others' do, and ratios compare the fastest",
            "see its distribution on the run's page",
        )
        for row in plain_rows(flagged.sort_values("beyond", ascending=False).drop_duplicates("case"))
    ]


def above_ceilings(results: pd.DataFrame, known: ceilings.Known) -> list[Warning]:
    """Return a warning where times are shorter than the machine's measured limits allow, and no cache explains that."""
    if not known:  # nor have the results of two sides that were compared any share of them
        return []
    above = results[results["ceiling_fraction"].gt(1)]
    rows = [one for one in plain_rows(above) if not ceilings.partly_cached(known, one)]
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


_VERDICT = (
    "reference", "ties", "within", "undecided_seconds", "next", "next_ratio", "next_ratio_low", "next_ratio_high",
)  # fmt: skip
_WON = (
    "case", "operation", "label", "shape", "dtype", "layout", "device", "pass", "threads", "implementation", "clock",
    "memory", "rounds", "seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high",
    "max_error_ulp", "deterministic", "batch_invariant",
)  # fmt: skip


_NUMBERS = {
    name: "float64"
    for name in (*_WON, *_VERDICT)
    if name.startswith(("seconds", "ratio", "within", "undecided", "next_"))
}


def winners(results: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return one row per case, clock and memory that have a winner: the fastest implementation, and who ties with it.

    Of operations that are not ranked, none has, nor has a run that compared two sides.

    Columns: those of `records.RESULTS` that say what was won and by whom, with its times and ratios, and

    - ``reference``, ``ties`` (names of those that are not shown to be more than `TIE_MARGIN` slower, fastest first);
    - ``within``, the highest upper bound of the ties' ratios to the winner, null where one has none;
    - ``undecided_seconds``, how much longer batches would have to be timed for the ties to be decided: 0 where they
      are, null where that is not known;
    - ``next``, who is the fastest of the others, and its ratio to the winner with its interval.
    """
    measured = results[_is_ranked(results) & (results["contender"] == records.THIS)]
    timed = with_memory(samples).assign(timed=samples["calls"] * samples["seconds_per_call"])
    timed_seconds = timed.groupby([*_KEY])["timed"].sum().to_dict()
    cases: dict[Key, list[Row]] = {}
    for row in plain_rows(with_best(measured, samples)):
        cases.setdefault(_key(row), []).append(row)
    rows = []
    for key, case in cases.items():
        best = next(row for row in case if row["implementation"] == row["best"])
        by_ratio = sorted(case, key=lambda row: (row["best_ratio"] is None, row["best_ratio"] or row["seconds"]))
        others = [row for row in by_ratio if row is not best]
        ties = [row for row in others if not _is_slower(row)]
        slower = next(filter(_is_slower, others), dict.fromkeys(("implementation", *_BEST)))
        within = np.array([row["best_ratio_high"] for row in ties], dtype=float)
        longer = np.array([_rounds_factor(row) - 1 for row in ties], dtype=float)
        rows.append(
            {name: best[name] for name in _WON}
            | {
                "rounds": None if best["rounds"] is None else int(best["rounds"]),
                "reference": best["reference"] or records.REFERENCE,  # runs of old have none
                "ties": [row["implementation"] for row in ties],
                "within": within.max(initial=1.0),
                "undecided_seconds": longer.max(initial=0.0) * timed_seconds.get(key, np.nan),
                "next": slower["implementation"],
                **{name.replace("best", "next"): slower[name] for name in _BEST[1:]},
            }
        )
    return pd.DataFrame(rows, columns=[*_WON, *_VERDICT]).astype(_NUMBERS)


def _is_slower(row: Row) -> bool:
    """Tell whether an implementation is shown to be slower than the fastest by more than `TIE_MARGIN`."""
    return row["best_ratio_low"] is not None and row["best_ratio_low"] > 1 + TIE_MARGIN


def _rounds_factor(row: Row) -> float:
    """Return how many times the rounds so far would decide a tie, as intervals shrink with the root of their number.

    Decided is whose ratio is known to `TIE_MARGIN`, or by then shown to be more than that slower. nan is not known.
    """
    low, ratio, high = (row[name] for name in ("best_ratio_low", "best_ratio", "best_ratio_high"))
    if low is None or high is None:
        too_few = ratio is not None and row["rounds"] < FEWEST_ROUNDS
        return FEWEST_ROUNDS / row["rounds"] if too_few else np.nan
    margin = np.log1p(TIE_MARGIN)
    return float(max(1.0, (np.log(high / low) / 2 / max(margin, np.log(ratio) - margin)) ** 2))


def totals(results: pd.DataFrame) -> pd.DataFrame:
    """Return what whole suites take whose cases occur more than once (``weight``), for every way to choose.

    One row for each suite, dtype, layout, device, pass, threads, clock and memory, and for each implementation that is
    ok in all of its cases, fastest first: ``cases``, ``seconds`` with this one choice (the sum of weight x seconds),
    ``ratio`` to the reference's, and ``best_of_each``, the seconds with the fastest in every case.
    """
    by = ["suite", "dtype", "layout", "device", "pass", "threads", "clock", "memory"]
    rows = []
    for key, group in results.groupby(by, sort=False, dropna=False):
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
