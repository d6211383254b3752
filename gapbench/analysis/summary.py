"""Summarize samples as results: times and ratios with their intervals, and the winner of each case.

A round's time is the median of its turns: the typical time of a call, including the effect of other work on the
machine. A round's ratio compares the fastest tenths of the turns of both implementations, which other work hardly
affects (`stats.round_log_ratio`). Intervals are over rounds.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from gapbench.statistics import stats
from gapbench.statistics.stats import FEWEST_ROUNDS, Floats, Interval, location, lower_bound
from gapbench.store import ceilings, records
from gapbench.store.metrics import METRICS
from gapbench.store.records import Qualification, plain_rows, with_memory
from gapbench.store.run import Warning
from gapbench.workloads.case_lists import is_list
from gapbench.workloads.cases import Case

Row = dict[str, Any]
Key = tuple[Hashable, ...]

_KEY = ("case", "contender", "clock", "memory")
"""Columns that identify what is measured together; implementations are compared within one combination."""

_BEST = ("best", "best_ratio", "best_ratio_low", "best_ratio_high")

COUNTED = ("page_faults", "instructions")
"""Columns of samples that are counted per call, whose median is in the results."""

TIE_MARGIN = 0.01
"""An implementation ties with the winner unless its 95 % interval shows it to be more than this slower."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One implementation on one case: everything that was recorded except its samples."""

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
        """The case, contender, clock and memory, in the order of `_KEY`."""
        return self.case.id, self.contender, self.clock, self.memory or ""


def results(samples: pd.DataFrame, outcomes: Iterable[Outcome], limits: ceilings.Known = None) -> pd.DataFrame:
    """Return one row per outcome with the columns of `records.RESULTS`; only ``ok`` outcomes get numbers.

    ``ratio`` is seconds / seconds of the reference in the same turns: below 1 is faster. ``best_ratio`` is the same
    against the fastest of the case. ``ceiling_fraction`` is the share of the machine's ``limits``.
    """
    outcomes = list(outcomes)
    turns = _turns(samples)
    batches = with_memory(samples).groupby([*_KEY, "implementation"])
    counts = batches.size().to_dict()
    counted = {name: batches[name].median().to_dict() for name in COUNTED if name in samples}
    raced = {(outcome.key, outcome.implementation) for outcome in outcomes if outcome.stopped_by == records.SLOWER}
    rows: list[Row] = []
    for outcome in outcomes:
        row: Row = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
        row |= records.case_columns(outcome.case) | asdict(outcome.qualification)
        row |= outcome.traits or records.former_traits(outcome.case.operation, outcome.clock)
        is_ok = outcome.qualification.status == "ok"
        mine = turns.get(outcome.key)
        if is_ok and mine is not None and outcome.implementation in mine:
            row["samples"] = counts[*outcome.key, outcome.implementation]
            row |= {name: of_rows[*outcome.key, outcome.implementation] for name, of_rows in counted.items()}
            numbers = _measured(row, mine, outcome, limits, (outcome.key, outcome.reference) in raced)
            limit = ceilings.impossible(limits, {**row, **numbers})
            if limit is not None:
                reason = (
                    f"faster than memory can deliver: {numbers['gbps']:.0f} GB/s is "
                    f"{numbers['gbps'] / (limit.gbps or math.nan):.1f} times the {ceilings.said(limit)}, so it cannot "
                    "have read every element; if it does, run again on an idle machine"
                )
                numbers = {"status": "wrong", "reason": reason}
            row |= numbers
        elif is_ok and outcome.contender == records.THIS:
            continue  # interrupted before its first turn; a side of a comparison may just lack the other side
        rows.append(row)
    _rank(rows, turns)
    columns = [name for name in records.RESULTS if name != "run"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(records.TRAITS, bool))


def _key(row: Mapping[Any, Any]) -> Key:
    return tuple(row[name] or "" for name in _KEY)


def _turns(samples: pd.DataFrame) -> dict[Key, pd.DataFrame]:
    """Return seconds per call by `_KEY`: one row per (round, turn), one column per implementation."""
    turns = {}
    for key, frame in with_memory(samples).groupby([*_KEY]):
        wide = frame.pivot(index=["round", "turn"], columns="implementation", values="seconds_per_call")
        turns[key] = pd.DataFrame(wide.to_numpy(dtype=float), wide.index, wide.columns)
    return turns


def _measured(
    outcome_row: Row, turns: pd.DataFrame, outcome: Outcome, limits: ceilings.Known, reference_raced: bool
) -> Row:
    case, name, reference = outcome.case, outcome.implementation, outcome.reference
    rounds = np.log(turns[name].dropna()).groupby("round")
    seconds = location(rounds.median().to_numpy())
    row: Row = {"rounds": rounds.ngroups, **_columns("seconds", seconds)}
    row |= {metric.column: metric.derive(case, row["seconds"]) for metric in METRICS}
    share = ceilings.fraction(limits, {**outcome_row, **row})
    row |= {} if share is None else {"ceiling_fraction": share}
    if reference is not None and reference in turns:
        raced = (outcome.stopped_by == records.SLOWER, reference_raced) if name != reference else ()
        row |= _columns("ratio", _interval(log_ratios(turns, name, reference), *raced))
    return row


def _interval(values: Floats, slower: bool = False, faster: bool = False) -> Interval:
    """Return the location of log ratios with its interval, or a bound where one of the two stopped early as slower."""
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
    """Return the log ratio of two implementations in each round of both; empty if one has no samples."""
    if turns is None or name not in turns or reference not in turns:
        return np.empty(0)
    mine, other = turns[name].to_numpy(), turns[reference].to_numpy()
    rounds = turns.index.get_level_values("round").to_numpy()
    starts = np.flatnonzero(np.diff(rounds)) + 1
    ratios = map(stats.round_log_ratio, np.split(mine, starts), np.split(other, starts))
    return np.array([ratio for ratio in ratios if not np.isnan(ratio)])


def ratio(samples: pd.DataFrame, name: str, reference: str, raced: bool = False) -> Interval:
    """Return the ratio by one case's samples, nan without common rounds; a ``raced`` reference may give a bound."""
    values = (log_ratios(turns, name, reference) for turns in _turns(samples).values())
    return _interval(next(filter(len, values), np.empty(0)), faster=raced).exp()


def with_best(results: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Add the ratios to the fastest where they are missing, as in older runs."""
    timed = with_memory(results[_is_ranked(results)])
    names = set(zip(*(timed[name] for name in (*_KEY, "implementation")), strict=True))
    best = zip(*(timed[name] for name in (*_KEY, "best")), strict=True)
    lacking = timed.index[[row not in names for row in best]]
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
    """Add to each row with a time the fastest of its case, and the ratio to it in the same turns."""
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

    From the smallest time on, a faster implementation replaces the candidate. Ratios decide, because rounds differ and
    slow implementations take few turns; times only between implementations that never ran in the same turn.
    """
    seconds = {row["implementation"]: float(np.log(row["seconds"])) for row in case}
    rivals = [row["implementation"] for row in case if row["stopped_by"] != records.SLOWER] or [*seconds]
    best = min(rivals, key=seconds.__getitem__)
    beaten: set[str] = set()
    while True:
        ratios = {name: log_ratios(turns, name, best) for name in seconds}
        ahead = {
            name: location(ratios[name]).estimate if len(ratios[name]) else seconds[name] - seconds[best]
            for name in rivals
        }
        first = min(rivals, key=ahead.__getitem__)
        if ahead[first] >= 0 or first in beaten:  # noise may lead in a circle
            return best, ratios
        beaten.add(best)
        best = first


def clock_medians(measured: Mapping[str, Iterable[Mapping[str, float | None]]]) -> dict[str, dict[str, float | None]]:
    """Return the median of each number that a clock measured about itself several times, None where none has it."""
    medians = {clock: pd.DataFrame(list(times), dtype=float).median() for clock, times in measured.items()}
    return {
        clock: {str(name): None if math.isnan(median) else float(median) for name, median in numbers.items()}
        for clock, numbers in medians.items()
    }


_FEWEST_BATCHES = 10
_OUTLYING = 1.5
"""A round whose time differs by this factor from the median of its implementation's rounds is an outlier."""


def outlying_rounds(samples: pd.DataFrame) -> list[Warning]:
    """Return a warning if rounds took very different times, as of what is slow in its first process; they are kept."""
    row = ["case", "clock", "memory", "implementation"]
    rounds = np.log(with_memory(samples).groupby([*row, "round"])["seconds_per_call"].quantile(stats.UNDISTURBED))
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
"""An implementation is uneven if typical / fastest batch is larger than that of the others by this factor."""


def uneven(samples: pd.DataFrame) -> list[Warning]:
    """Return a warning for each case in which the batches of one implementation vary far more than the others'."""
    by = ["case", "clock", "memory", "implementation"]
    batches = with_memory(samples).groupby([*by, "round"])["seconds_per_call"]
    rounds = batches.agg(lambda seconds: stats.excess(seconds.to_numpy(dtype=float)))[batches.size() >= _FEWEST_BATCHES]
    typical = rounds.groupby(by).quantile(0.25)  # most rounds must agree
    beyond = (typical - typical.groupby(by[:-1]).transform("median")).reset_index(name="beyond")
    flagged = beyond[beyond["beyond"] > np.log(_UNEVEN)]
    evidence = (
        "{case}: most batches of {implementation} take {more:.0%} more than its fastest, beyond those of others, and "
        "ratios compare the fastest"
    )
    worst = flagged.assign(more=np.expm1(flagged["beyond"])).sort_values("more", ascending=False)
    rows, remedy = plain_rows(worst.drop_duplicates("case")), "see its distribution on the run's page"
    return [Warning("uneven batches", evidence.format(**row), remedy) for row in rows]


def above_ceilings(results: pd.DataFrame, limits: ceilings.Known) -> list[Warning]:
    """Return a warning if times are shorter than the machine's measured limits allow, and no cache explains it."""
    if not limits:  # results of a comparison have none either
        return []
    above = results[results["ceiling_fraction"].gt(1)]
    rows = [row for row in plain_rows(above) if not ceilings.partly_cached(limits, row)]
    if not rows:
        return []
    worst = max(rows, key=itemgetter("ceiling_fraction"))
    limit = ceilings.limit_of(limits, worst)
    assert limit is not None
    evidence = (
        f"{len(rows)} of {results['ceiling_fraction'].count()} times are above their measured ceiling, the farthest "
        f"{worst['implementation']} on {worst['case']}, {100 * worst['ceiling_fraction']:.0f} % of the "
        f"{ceilings.said(limit)}: the machine was busy while ceilings were measured, or a time is wrong"
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
    """Return one row per case, clock and memory with a winner: the fastest implementation, and those that tie with it.

    Unranked operations have no winner, nor has a run that compared two sides.

    Columns: those of `records.RESULTS` that identify the case and the winner, with its times and ratios, and

    - ``reference``, and ``ties``: names of those that are not shown to be more than `TIE_MARGIN` slower, fastest first;
    - ``within``, the highest upper bound of the ties' ratios to the winner, null if one of them has none;
    - ``undecided_seconds``, the additional seconds of timed batches that would decide the ties: 0 if they are decided,
      null if that is unknown;
    - ``next``, the fastest of the others, and its ratio to the winner with its interval.
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
                "reference": best["reference"] or records.REFERENCE,  # older runs have none
                "ties": [row["implementation"] for row in ties],
                "within": within.max(initial=1.0),
                "undecided_seconds": longer.max(initial=0.0) * timed_seconds.get(key, np.nan),
                "next": slower["implementation"],
                **{name.replace("best", "next"): slower[name] for name in _BEST[1:]},
            }
        )
    return pd.DataFrame(rows, columns=[*_WON, *_VERDICT]).astype(_NUMBERS)


def _is_slower(row: Row) -> bool:
    return row["best_ratio_low"] is not None and row["best_ratio_low"] > 1 + TIE_MARGIN


def _rounds_factor(row: Row) -> float:
    """Return the factor on the rounds that would decide a tie: intervals shrink with their root; nan if unknown."""
    low, ratio, high = (row[name] for name in ("best_ratio_low", "best_ratio", "best_ratio_high"))
    if low is None or high is None:
        too_few = ratio is not None and row["rounds"] < FEWEST_ROUNDS
        return FEWEST_ROUNDS / row["rounds"] if too_few else np.nan
    margin = np.log1p(TIE_MARGIN)
    return float(max(1.0, (np.log(high / low) / 2 / max(margin, np.log(ratio) - margin)) ** 2))


def totals(results: pd.DataFrame) -> pd.DataFrame:
    """Return the total time of suites whose cases have a ``weight`` above 1, for each choice of implementation.

    One row for each suite, dtype, layout, device, pass, threads, clock and memory, and for each implementation that is
    ok in all of its cases, fastest first: ``cases``, and ``calls`` by their weights; ``seconds`` with this one choice
    (the sum of weight x seconds); ``ratio`` to the reference's; and ``best_of_each``, the seconds with the fastest of
    every case. A weighted list is one network: its dtypes, layouts and passes are totalled together, and are "".
    """
    by = ["suite", "dtype", "layout", "device", "pass", "threads", "clock", "memory"]
    rows = []
    listed = results["suite"].astype(str).map(is_list).astype(bool)
    merged = results.assign(**{name: results[name].mask(listed, "") for name in ("dtype", "layout", "pass")})
    for key, group in merged.groupby(by, sort=False, dropna=False):
        if not (group["weight"] > 1).any() and not is_list(str(key[0])):
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
                "calls": int(measured.groupby("case")["weight"].first().sum()),
                "implementation": name,
                "seconds": seconds,
                "ratio": None if reference is None else seconds / reference,
                "best_of_each": wide.min(axis="columns").sum(),
            }
            for name, seconds in everywhere.items()
        ]
    return pd.DataFrame(rows, columns=[*by, "cases", "calls", "implementation", "seconds", "ratio", "best_of_each"])
