"""What a comparison is made of: stored runs, their rows, and their verdicts in numbers and words."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import pandas as pd

from gapbench.errors import GapbenchError, NothingMatchedError, counted
from gapbench.statistics.verdicts import Evidence, Judgement, Verdict
from gapbench.store import records
from gapbench.store.run import Run

Key = tuple[str, str, str, str | None]
"""Case, implementation, clock, and the condition of memory (None where the run does not say)."""

MARGIN = 0.01
"""A change within 1 % is none."""

_DEFINITION = ("operation", "reference", "elements", "bytes_moved", "parameters")
"""Columns that say what a row measures: where they differ, the same name means different work."""


@dataclass(frozen=True, slots=True)
class Side:
    """A stored run: what is known of it, its results and samples."""

    run: Run
    results: pd.DataFrame
    samples: pd.DataFrame

    def spec(self, case: str, implementation: str) -> str:
        """Return how the run was told of an implementation: its name, or a user's FILE.py:FUNCTION."""
        return self.run.specs(case).get(implementation, implementation)


@dataclass(frozen=True, slots=True)
class Row:
    """The verdict on one case x implementation x clock x memory.

    ``ratio`` is head / base with its 95 % interval, above 1 is slower, None where nothing was compared; ``rounds`` are
    those that decided, of the side with fewer. ``suite`` and ``spec`` are what ``gapbench run`` calls suite and
    implementation; ``again`` are the words of the command that measured, which the selection of a row follows.
    ``explanation`` is what profiles of both sides said of why (`gapbench.profiling.explain`), None without them.
    ``memory`` is one of `records.MEMORY`; ``rounds_needed`` would probably decide an inconclusive row, None where more
    rounds are no remedy.
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
    again: tuple[str, ...] = ("gapbench", "run")
    explanation: Mapping[str, Any] | None = None
    memory: str | None = None
    rounds_needed: int | None = None


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed from ``base`` to ``head``: two runs, or one as each of its sides (`is_interleaved`).

    ``environment`` has a sentence for each difference, ``notes`` what else a reader must know.
    """

    base: Run
    head: Run
    margin: float
    rows: tuple[Row, ...]
    environment: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_interleaved(self) -> bool:
        """Whether one run measured both."""
        return self.base.id == self.head.id

    @property
    def summary(self) -> dict[Verdict, int]:
        """How many rows have each verdict, those that occur, most pressing first."""
        found = [row.verdict for row in self.rows]
        return {verdict: found.count(verdict) for verdict in Verdict if verdict in found}


Result = Mapping[str, Any]
"""A row of results."""


def rows_of(side: Side, contender: str = records.THIS) -> dict[Key, Result]:
    """Return the rows of a run's contender, refusing a run that has not ended or has none."""
    run = side.run.id
    if not side.run.is_complete:
        raise GapbenchError(f"run {run} is not complete; complete it with: gapbench run --resume {run}")
    results = side.results[side.results["contender"] == contender]
    if results.empty:
        raise NothingMatchedError(f"run {run} has no results to compare; measure again with: gapbench run")
    rows = records.plain_rows(results)
    return {(row["case"], row["implementation"], row["clock"], row["memory"]): row for row in rows}


def row_key(key: object) -> Key:
    """Return the key of a group of samples: by case, implementation, clock and memory, null as an empty string."""
    assert isinstance(key, tuple)
    case, implementation, clock, memory = map(str, key)
    return case, implementation, clock, memory or None


def unmeasured(row: Result | None) -> bool:
    """Tell whether a side did not or could not measure a row."""
    return row is None or row["status"] == "unsupported"


def matched(old: Mapping[Key, Result], new: Mapping[Key, Result]) -> Iterator[tuple[Key, Result | None, Result | None]]:
    """Yield each row with what base and head have of it, in head's order; not what neither measured.

    What the sides measured in different conditions of memory only is one row, with both as they are.
    """
    conditions: list[dict[tuple[str, str, str], dict[str | None, Result]]] = [{}, {}]
    for found, rows in zip(conditions, (old, new), strict=True):
        for key, row in rows.items():
            found.setdefault(key[:3], {})[key[3]] = row
    for key in dict.fromkeys([*new, *old]):
        before, after = old.get(key), new.get(key)
        theirs, ours = (found.get(key[:3], {}) for found in conditions)
        if theirs and ours and not theirs.keys() & ours.keys():
            if after is None:
                continue
            before = next(iter(theirs.values()))
        if not (unmeasured(before) and unmeasured(after)):
            yield key, before, after


def other_memory(before: Result | None, after: Result | None) -> str:
    """Return how the conditions of memory differ that the sides measured a row in; empty where they do not."""
    if before is None or after is None or before["memory"] == after["memory"]:
        return ""
    was, now = (row["memory"] or "not recorded" for row in (before, after))
    return f"memory is {now}, was {was}: the allocator was told something else; measure base again as head was measured"


def structural(before: Result | None, after: Result | None) -> tuple[Verdict, str] | None:
    """Return the verdict on a row that cannot be tested, and why; None for one that can.

    What fails on both sides is ``failed_base``: head did not break it.
    """
    if after is None or unmeasured(after):
        return Verdict.REMOVED, "head did not measure it" if after is None else str(after["reason"])
    if before is None or unmeasured(before):
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


def _failure(row: Result) -> str:
    return str(row["status"]) if row["reason"] is None else f"{row['status']}: {row['reason']}"


def judged(
    row: Row, evidence: Evidence, judgement: Judgement, *said: str, paired: bool = False, raced: bool = False
) -> Row:
    """Return ``row`` with the verdict of ``judgement``; what else is ``said`` joins its reason.

    ``paired`` rounds measured both sides at once, others one of them. A row that was ``raced`` stopped early, when
    it was clearly slower than the best.
    """
    ratio = evidence.change.exp()
    undecided = _undecided(judgement, evidence, paired, raced) if judgement.verdict is Verdict.INCONCLUSIVE else ""
    return replace(
        row,
        verdict=judgement.verdict,
        reason="; ".join(filter(None, (undecided, *said))),
        ratio=ratio.estimate if isfinite(ratio.estimate) else None,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        p_value=judgement.p_value,
        rounds=evidence.rounds,
        rounds_needed=judgement.rounds_needed,
    )


def _undecided(judgement: Judgement, evidence: Evidence, paired: bool, raced: bool) -> str:
    rounds, needed = counted(evidence.rounds, "round"), judgement.rounds_needed
    if paired:
        if needed is None:
            return f"{rounds} cannot decide, nor would 1000: about as large as the margin, or too noisy"
        return f"{rounds} cannot decide, about {needed} would: give it more time with --budget"
    if raced:
        return f"{rounds} a side cannot decide; it is slow and stopped early: measure all of them with --all"
    if needed is None:
        return (
            f"{rounds} a side cannot decide, nor would more: runs differ by more than their rounds, or the "
            "change is about as large as the margin; gapbench ab measures both sides together"
        )
    return f"{rounds} a side cannot decide; about {needed} would"
