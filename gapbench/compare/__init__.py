"""Two stored runs, base and head, compared: a verdict for each case x implementation x clock.

`weighing` says what is compared with what, `surroundings` what must be the same, `gapbench.verdicts` decides. What
cannot be compared gets a structural verdict: no row of either run is passed over, but for what neither supports.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import exp, isfinite
from typing import Any

import pandas as pd

from gapbench import records
from gapbench.compare.surroundings import ENVIRONMENT, differences
from gapbench.compare.weighing import Key, Weighed, weigh
from gapbench.errors import GapbenchError, NothingMatchedError, unknown
from gapbench.verdicts import LEVEL, Judgement, Verdict, judge

__all__ = ["ENVIRONMENT", "MARGIN", "Diff", "Row", "Side", "compare"]

MARGIN = 0.01
"""A change within 1 % is none."""

_DEFINITION = ("operation", "reference", "elements", "bytes_moved", "parameters")
"""Columns that say what a row measures: where they differ, the same name means different work."""


@dataclass(frozen=True, slots=True)
class Side:
    """A stored run: its run.json, results and samples."""

    run: Mapping[str, Any]
    results: pd.DataFrame
    samples: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Row:
    """The verdict on one case x implementation x clock.

    ``ratio`` is head / base with its 95 % interval, above 1 is slower, None where nothing was compared; ``rounds`` are
    those of the side with fewer. ``suite`` and ``spec`` are what ``gapbench run`` calls suite and implementation.
    """

    suite: str
    case: str
    implementation: str
    clock: str
    spec: str
    verdict: Verdict
    reason: str = ""
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    p_value: float | None = None
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from ``base`` to ``head`` (their run.json); ``environment`` has a sentence for each difference."""

    base: Mapping[str, Any]
    head: Mapping[str, Any]
    margin: float
    rows: tuple[Row, ...]
    environment: tuple[str, ...] = ()

    @property
    def summary(self) -> dict[Verdict, int]:
        """How many rows have each verdict, those that occur, most pressing first."""
        found = [row.verdict for row in self.rows]
        return {verdict: found.count(verdict) for verdict in Verdict if verdict in found}


def compare(
    base: Side, head: Side, margin: float = MARGIN, allowed: Collection[str] = (), level: float = LEVEL
) -> Diff:
    """Compare two runs; ``allowed`` are the fields of `ENVIRONMENT` that may differ.

    Raises `GapbenchError` for a run that is incomplete or compared with itself and for an unknown field,
    `NothingMatchedError` for a run without results and for two that have no row in common.
    """
    for name in allowed:
        if name not in ENVIRONMENT:
            raise unknown("environment field", name, ENVIRONMENT)
    if base.run["run"] == head.run["run"]:
        raise GapbenchError(f"run {base.run['run']} would be compared with itself; name another BASE or HEAD")
    old, new = _rows(base), _rows(head)
    if all(_unmeasured(old[key]) and _unmeasured(new[key]) for key in old.keys() & new.keys()):
        raise NothingMatchedError(
            f"runs {base.run['run']} and {head.run['run']} have no case and implementation in common; measure the same "
            "suite on both sides"
        )
    differing = differences(base.run, head.run)
    refused = "; ".join(sentence for name, sentence in differing.items() if name not in allowed)
    rows: dict[Key, Row] = {}
    tested: dict[Key, str] = {}
    for key in dict.fromkeys([*new, *old]):  # in the order of the newer run
        before, after = old.get(key), new.get(key)
        if _unmeasured(before) and _unmeasured(after):
            continue
        found = _structural(before, after)
        if found is None and refused:
            found = Verdict.ENVIRONMENT_MISMATCH, refused
        known, side = (before, base) if after is None else (after, head)
        assert known is not None  # a key is of one run or the other
        rows[key] = Row(known["suite"], *key, _spec(side.run, *key), *(found or (Verdict.INCONCLUSIVE,)))
        if found is None:
            tested[key] = known["reference"] or records.REFERENCE  # runs of old have none
    weighed = dict(weigh(base.samples, head.samples, tested, margin))
    judgements = judge([one.evidence for one in weighed.values()], level)
    for (key, one), judgement in zip(weighed.items(), judgements, strict=True):
        rows[key] = _judged(rows[key], one, judgement, len(weighed))
    return Diff(base.run, head.run, margin, tuple(rows.values()), tuple(differing.values()))


_Result = Mapping[str, Any]


def _rows(side: Side) -> dict[Key, _Result]:
    """Return a run's rows of results, refusing a run that has not ended or has none."""
    run = side.run["run"]
    if side.run.get("ended") is None:
        raise GapbenchError(f"run {run} is not complete; complete it with: gapbench run --resume {run}")
    results = side.results[side.results["contender"] == records.THIS]
    if results.empty:
        raise NothingMatchedError(f"run {run} has no results to compare; measure again with: gapbench run")
    known = results.astype(object).where(results.notna(), None)
    return {
        (row["case"], row["implementation"], row["clock"]): {str(column): value for column, value in row.items()}
        for row in known.to_dict("records")
    }


def _spec(run: Mapping[str, Any], case: str, implementation: str, _clock: str) -> str:
    """Return how the run was told of an implementation: its name, or a user's FILE.py:FUNCTION."""
    plans = (one["specs"] for one in run.get("plan") or [] if one["case"] == case)
    specs: Mapping[str, str] = next(plans, {})
    return specs.get(implementation, implementation)


def _unmeasured(row: _Result | None) -> bool:
    return row is None or row["status"] == "unsupported"


def _structural(before: _Result | None, after: _Result | None) -> tuple[Verdict, str] | None:
    """Return the verdict on a row that cannot be tested, and why; None for one that can.

    What fails on both sides is ``failed_base``: head did not break it.
    """
    if after is None or _unmeasured(after):
        return Verdict.REMOVED, "head did not measure it" if after is None else str(after["reason"])
    if before is None or _unmeasured(before):
        if after["status"] != "ok":
            return Verdict.FAILED_HEAD, _failure(after)
        return Verdict.ADDED, "base did not measure it" if before is None else str(before["reason"])
    if before["status"] != "ok":
        return Verdict.FAILED_BASE, _failure(before) + ("" if after["status"] == "ok" else ", and so in head")
    if after["status"] != "ok":
        return Verdict.FAILED_HEAD, _failure(after)
    changed = [
        f"{name} is {after[name]}, was {before[name]}"
        for name in _DEFINITION
        if None not in (before[name], after[name]) and before[name] != after[name]  # runs of old have nulls
    ]
    return (Verdict.CHANGED_DEFINITION, "; ".join(changed)) if changed else None


def _failure(row: _Result) -> str:
    return str(row["status"]) if row["reason"] is None else f"{row['status']}: {row['reason']}"


def _judged(row: Row, weighed: Weighed, judgement: Judgement, rows: int) -> Row:
    evidence, change = weighed.evidence, weighed.evidence.change
    sentences = [_undecided(judgement, weighed, rows)] if judgement.verdict is Verdict.INCONCLUSIVE else []
    return replace(
        row,
        verdict=judgement.verdict,
        reason="; ".join(filter(None, [*sentences, weighed.note])),
        ratio=exp(change.estimate) if isfinite(change.estimate) else None,
        ratio_low=None if change.low is None else exp(change.low),
        ratio_high=None if change.high is None else exp(change.high),
        p_value=judgement.p_value,
        rounds=evidence.rounds,
    )


def _undecided(judgement: Judgement, weighed: Weighed, rows: int) -> str:
    rounds, needed = weighed.evidence.rounds, judgement.rounds_needed
    if judgement.hopeless:
        return (
            f"{rounds} rounds a side can never show a change among {rows} rows (the smallest p-value that they can "
            f"have is {weighed.evidence.smallest_p:.2g}); measure at least {needed} with --rounds {needed}"
        )
    if needed is None:
        return (
            f"{rounds} rounds a side do not decide, nor would 1000: the change is about as large as the margin, too "
            "noisy, or not confirmed"
        )
    return f"{rounds} rounds a side do not decide; about {needed} would: --rounds {needed} on both sides"
