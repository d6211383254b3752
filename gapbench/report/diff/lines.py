"""What the formats of a diff share: order, counts, and the command that measures a row again."""

import shlex
from collections.abc import Mapping
from typing import Any

from gapbench.cases import Case
from gapbench.compare import Diff, Row
from gapbench.report import format as fmt
from gapbench.verdicts import Verdict

RED = (Verdict.REGRESSED, Verdict.FAILED_HEAD)
"""What a change is answerable for."""

FOLDED = (Verdict.EQUIVALENT, Verdict.ENVIRONMENT_MISMATCH)
"""What is counted rather than listed: nothing happened, or the same reason holds for all."""


def by_relevance(diff: Diff) -> list[Row]:
    """Return the rows, the most pressing verdicts first, and the largest changes first among equals."""
    order = list(Verdict)
    return sorted(diff.rows, key=lambda row: (order.index(row.verdict), -abs((row.ratio or 1) - 1)))


def red(diff: Diff) -> list[Row]:
    """Return the rows that a change is answerable for, the largest changes first."""
    return [row for row in by_relevance(diff) if row.verdict in RED]


def counts(diff: Diff) -> str:
    """Return how many rows have each verdict, in a line."""
    return ", ".join(f"{count} {verdict}" for verdict, count in diff.summary.items()) or "nothing to compare"


def side(run: Mapping[str, Any]) -> str:
    """Return what a person needs to recognise a run."""
    git = run.get("git") or {}
    if side := run.get("side"):
        commit = f"{git['commit'][:12]}" if git else "no commit"
        uncommitted = f"with uncommitted changes, {git['diff_hash']}" if git.get("dirty") else None
        said = ", ".join(str(note) for note in (git.get("subject"), uncommitted) if note)
        return f"{side['ref']}: {commit}" + (f" ({said})" if said else "")
    notes = [run.get("tag"), git.get("branch"), git.get("subject"), "uncommitted changes" if git.get("dirty") else None]
    known = ", ".join(str(note) for note in notes if note)
    return f"{run['run']}" + (f" ({known})" if known else "")


def change(row: Row) -> str:
    """Return the ratio of head to base with its interval: ``1.05× [1.031, 1.072]``."""  # noqa: RUF002
    return f"{fmt.ratio(row.ratio)} {fmt.ratio_interval(row.ratio, row.ratio_low, row.ratio_high)}".strip()


def command(row: Row) -> str:
    """Return the command that measures a row again, ready for a shell."""
    case = Case.from_id(row.case)
    words = [*row.again, *([] if case.operation == "gap" else [row.suite])]
    words += ["--shape", "x".join(map(str, case.shape)), "--dtype", case.dtype, "--layout", case.layout]
    words += ["--device", case.device, "--pass", case.pass_, "--threads", str(case.threads)]
    return shlex.join([*words, "--clock", row.clock, "--impl", row.spec])
