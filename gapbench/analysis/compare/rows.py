"""Define the parts of a comparison: stored runs, their rows, and verdicts in numbers and words."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import pandas as pd

from gapbench.errors import GapbenchError, NothingMatchedError, counted
from gapbench.statistics.verdicts import Evidence, Judgement, Verdict
from gapbench.store import records
from gapbench.store.run import Run

Key = tuple[str, str, str, str | None]
"""Case, implementation, clock, and memory condition (None if the run does not record it)."""

ROW: list[Hashable] = ["case", "implementation", "clock", "memory"]  # columns of samples that make a `Key`

MARGIN = 0.01  # ignore changes smaller than this (0.01 is 1 %)

_DEFINITION = ("operation", "reference", "elements", "bytes_moved", "parameters")
"""Columns that define the work of a row: if they differ, the same name stands for different work."""


@dataclass(frozen=True, slots=True)
class Side:
    """A stored run: its metadata, results and samples."""

    run: Run
    results: pd.DataFrame
    samples: pd.DataFrame

    def spec(self, case: str, implementation: str) -> str:
        """Return how an implementation was given to the run: by its name, or as FILE.py:FUNCTION."""
        return self.run.specs(case).get(implementation, implementation)


MORE, FEWER = "more", "fewer"
MORE_WORK = "more_work"


@dataclass(frozen=True, slots=True)
class Count:
    """A count per call of ``base`` and ``head``: ``verdict`` is more, fewer, same or inconclusive.

    ``ratio`` is head / base, of counts of at least 1, with its 95 % interval, which bytes do not have.
    """

    name: str
    base: float
    head: float
    verdict: str
    ratio: float
    ratio_low: float | None = None
    ratio_high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """The verdict on one case x implementation x clock x memory.

    ``ratio`` is head / base with its 95 % interval, above 1 is slower, None if nothing was compared; ``rounds`` are the
    deciding ones, of the side with fewer. ``suite`` and ``spec`` are as ``gapbench run`` takes them; ``again`` are the
    words of the measuring command, to which a selection is appended. ``explanation`` compares profiles
    (`gapbench.profiling.explain`). ``memory`` is one of `records.MEMORY`. ``rounds_needed`` would probably decide an
    inconclusive row; None if more would not help. ``counts`` are those of its work on a CPU.
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
    counts: tuple[Count, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes from ``base`` to ``head``: sentences on the ``environment``, and ``notes`` with caveats."""

    base: Run
    head: Run
    margin: float
    rows: tuple[Row, ...]
    environment: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_interleaved(self) -> bool:
        """Whether one run measured both sides."""
        return self.base.id == self.head.id

    @property
    def summary(self) -> dict[Verdict, int]:
        """The number of rows by verdict, most urgent first; verdicts without rows are left out."""
        counts = Counter(row.verdict for row in self.rows)
        return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}

    @property
    def outcomes(self) -> set[str]:
        """What ``--fail-on`` asks for: the verdicts that occur, and `MORE_WORK` if a count of head is higher."""
        more = any(count.verdict == MORE for row in self.rows for count in row.counts)
        return {*self.summary, *([MORE_WORK] if more else [])}


Result = Mapping[str, Any]  # a row of results


def rows_of(side: Side, contender: str = records.THIS) -> dict[Key, Result]:
    """Return a contender's rows. Raises `GapbenchError` for an incomplete run, `NothingMatchedError` without any."""
    run = side.run.id
    if not side.run.is_complete:
        raise GapbenchError(f"run {run} is not complete; complete it with: gapbench run --resume {run}")
    results = side.results[side.results["contender"] == contender]
    if results.empty:
        raise NothingMatchedError(f"run {run} has no results to compare; measure again with: gapbench run")
    rows = records.plain_rows(results)
    return {(row["case"], row["implementation"], row["clock"], row["memory"]): row for row in rows}


def row_key(key: object) -> Key:
    """Convert the label of a group of samples to a key; the label has an empty string for unknown memory."""
    assert isinstance(key, tuple)
    case, implementation, clock, memory = map(str, key)
    return case, implementation, clock, memory or None


def unmeasured(row: Result | None) -> bool:
    """Tell whether a side did not measure a row, or does not support it."""
    return row is None or row["status"] == "unsupported"


def matched(old: Mapping[Key, Result], new: Mapping[Key, Result]) -> Iterator[tuple[Key, Result | None, Result | None]]:
    """Yield each row that a side measured, with both results; rows that differ in memory conditions only are one."""
    conditions: tuple[defaultdict[tuple[str, str, str], list[Key]], ...] = (defaultdict(list), defaultdict(list))
    for keys, rows in zip(conditions, (old, new), strict=True):
        for key in rows:
            keys[key[:3]].append(key)
    for key in dict.fromkeys([*new, *old]):
        before, after = old.get(key), new.get(key)
        theirs, ours = (keys[key[:3]] for keys in conditions)
        if theirs and ours and not {*theirs} & {*ours}:
            if after is None:
                continue
            before = old[theirs[0]]
        if not (unmeasured(before) and unmeasured(after)):
            yield key, before, after


def structural(before: Result | None, after: Result | None, refused: str = "") -> tuple[Verdict, str] | None:
    """Return the verdict and reason of a row that cannot be tested (``refused`` by its environments), else None."""
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
        if None not in (before[name], after[name]) and before[name] != after[name]  # older runs have nulls
    ]
    if changed:
        return Verdict.CHANGED_DEFINITION, "; ".join(changed)
    if not refused and before["memory"] != after["memory"]:
        was, now = (row["memory"] or "not recorded" for row in (before, after))
        remedy = "measure base again as head was measured"
        refused = f"memory is {now}, was {was}: the allocator's settings differ; {remedy}"
    return (Verdict.ENVIRONMENT_MISMATCH, refused) if refused else None


def _failure(row: Result) -> str:
    return str(row["status"]) if row["reason"] is None else f"{row['status']}: {row['reason']}"


def judged(
    row: Row, evidence: Evidence, judgement: Judgement, *remarks: str, paired: bool = False, raced: bool = False
) -> Row:
    """Return ``row`` with a verdict and ``remarks``; ``paired`` rounds are of both sides, ``raced`` rows slow."""
    ratio = evidence.change.exp()
    undecided = _undecided(judgement, evidence, paired, raced) if judgement.verdict is Verdict.INCONCLUSIVE else ""
    return replace(
        row, verdict=judgement.verdict, reason="; ".join(filter(None, (undecided, *remarks))),
        ratio=ratio.estimate if isfinite(ratio.estimate) else None, ratio_low=ratio.low, ratio_high=ratio.high,
        p_value=judgement.p_value, rounds=evidence.rounds, rounds_needed=judgement.rounds_needed,
    )  # fmt: skip


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
