"""What the formats of a diff share: order, counts, and the command that measures a row again."""

import shlex

from gapbench.cases import Case
from gapbench.compare import Diff, Row
from gapbench.git import Git
from gapbench.report import format as fmt
from gapbench.run import Run
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


def side(run: Run) -> str:
    """Return what a person needs to recognise a run, or a side of one."""
    git = run.git or Git()
    if (ref := run.sides[0].ref) is not None:
        name = f"{ref}: {git.commit[:12] if git.commit else 'no commit'}"
        notes = [git.subject, f"with uncommitted changes, {git.diff_hash}" if git.dirty else None]
    else:
        name, notes = run.id, [run.tag, git.branch, git.subject, "uncommitted changes" if git.dirty else None]
    said = ", ".join(filter(None, notes))
    return f"{name} ({said})" if said else name


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
