"""Share text between the formats of a diff: order, counts, remedies, explanations, and commands to measure again."""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil, log, prod

from gapbench.analysis.compare import Diff, Matrix, Row
from gapbench.analysis.compare.counts import COUNTS
from gapbench.analysis.compare.rows import FEWER, MORE, Count
from gapbench.report import format as fmt
from gapbench.repository.git import Git
from gapbench.statistics.verdicts import Verdict
from gapbench.store import profiles
from gapbench.store.run import Run
from gapbench.store.store import Store
from gapbench.workloads.cases import Case

RED = (Verdict.REGRESSED, Verdict.FAILED_HEAD)  # verdicts that a change is responsible for

FOLDED = (Verdict.EQUIVALENT, Verdict.ENVIRONMENT_MISMATCH)
"""Verdicts that are counted rather than listed: no change, or the same reason for all rows."""

SUMMARIZED = (Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)
"""Verdicts of which a table lists only the `MOST_LISTED` rows with the largest measured changes."""

MOST_LISTED = 10
_LONGEST = 10  # the most times longer that a run should get: beyond that gapbench ab decides sooner


def by_relevance(diff: Diff) -> list[Row]:
    """Return the rows, most urgent verdicts first, largest changes first within a verdict."""
    order = list(Verdict)
    return sorted(diff.rows, key=lambda row: (order.index(row.verdict), -abs((row.ratio or 1) - 1)))


def red(diff: Diff) -> list[Row]:
    """Return the rows that a change is responsible for, largest changes first."""
    return [row for row in by_relevance(diff) if row.verdict in RED]


def listed(rows: list[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows that a table lists, and a sentence for each verdict with further rows."""
    kept, sentences = [], []
    for verdict in Verdict:
        of_it = [row for row in rows if row.verdict is verdict]
        most = MOST_LISTED if verdict in SUMMARIZED else len(of_it)
        kept += of_it[:most]
        if left := len(of_it[most:]):
            more = fmt.counted(left, f"more {verdict} row is", f"more {verdict} rows are")
            sentences.append(f"{more} not listed: --format json has all")
    return kept, sentences


def remedy(diff: Diff) -> str:
    """Summarize the inconclusive rows and how to decide them; empty if there are none."""
    rows = [row for row in diff.rows if row.verdict is Verdict.INCONCLUSIVE]
    if not rows:
        return ""
    sentences = [f"{fmt.counted(len(rows), 'row is', 'rows are')} inconclusive"]
    bounds = [(row.ratio_low, row.ratio_high) for row in rows if row.ratio_low and row.ratio_high]
    if bounds:
        low, high = min(low for low, _ in bounds) - 1, max(high for _, high in bounds) - 1
        sentences[0] += f": 95 % intervals reach from {low:+.1%} to {high:+.1%}"
    both = diff.base.sides[0].ref is not None  # one run measured both
    factors = sorted(row.rounds_needed / row.rounds for row in rows if row.rounds_needed and row.rounds)
    worth = [factor for factor in factors if factor <= _LONGEST]
    seconds = max(filter(None, (diff.base.wall_seconds, diff.head.wall_seconds)), default=None)
    if worth and seconds is not None:
        budget = 30 * ceil(seconds * worth[-1] / 30)
        runs = "a run" if both else "two runs"
        sentences.append(f"{runs} of {budget / 60:g} min (--budget {budget}s) would decide about {len(worth)} of them")
    if not both and len(worth) < len(rows):
        which = "the others" if worth else "them"
        sentences.append(f"gapbench ab decides {which}, measuring both commits together")
    return "; ".join(sentences)


def condition(row: Row) -> str:
    """Return the clock of a row, with its memory condition if that is recorded."""
    return row.clock if row.memory is None else f"{row.clock}, memory {row.memory}"


def counts(diff: Diff | Matrix) -> str:
    """Return the count of each verdict as a line."""
    return ", ".join(f"{count} {verdict}" for verdict, count in diff.summary.items()) or "nothing to compare"


def work(diff: Diff) -> list[str]:
    """Return a sentence for each row whose work per call has changed, the largest changes first."""
    changed = {
        (row.case, row.implementation, row.clock): (row, counts)
        for row in diff.rows
        if (counts := [count for count in row.counts if count.verdict in (MORE, FEWER)])
    }
    ordered = sorted(changed.values(), key=lambda each: -max(abs(log(count.ratio)) for count in each[1]))
    sentences = [f"{row.implementation}, {row.case}: {_counted(row, counts)}" for row, counts in ordered[:MOST_LISTED]]
    if left := len(ordered) - MOST_LISTED:
        sentences += [f"{fmt.counted(left, 'more row does', 'more rows do')} other work"] * (left > 0)
    if sentences:
        sentences.append(
            "counts do not show waiting for memory: the same work may take longer, and more of it no longer"
        )
    return sentences


def _counted(row: Row, counts: Sequence[Count]) -> str:
    changes = [
        f"{count.ratio - 1:+.1%} {COUNTS[count.name]} ({fmt.number(count.base)} → {fmt.number(count.head)} a call)"
        for count in counts
    ]
    time = "no difference shown" if row.verdict in SUMMARIZED else str(row.verdict)
    return f"{', '.join(changes)}; time: {time}"


def side(run: Run) -> str:
    """Describe a run, or one side of a run, so that people recognise it."""
    git = run.git or Git()
    if (ref := run.sides[0].ref) is not None:
        name = f"{ref}: {git.commit[:12] if git.commit else 'no commit'}"
        notes = [git.subject, f"with uncommitted changes, {git.diff_hash}" if git.dirty else None]
    else:
        name, notes = run.id, [run.tag, git.branch, git.subject, "uncommitted changes" if git.dirty else None]
    note = ", ".join(filter(None, notes))
    return f"{name} ({note})" if note else name


def change(row: Row) -> str:
    """Return the ratio of head to base with its interval: ``1.05× [1.031, 1.072]``."""  # noqa: RUF002
    return fmt.ratio_with_interval(row.ratio, row.ratio_low, row.ratio_high)


def command(*rows: Row) -> str:
    """Return the shell command that measures the rows of a diff again, and no other cases."""
    cases = [Case.from_id(row.case) for row in rows]
    kept = rows[0].again[1] != "run"  # which always keeps memory, and has no option for it
    values: dict[str, Iterable[str]] = {
        "": (row.suite for row in rows if any(case.operation != "gap" for case in cases)),
        "--shape": ("x".join(map(str, case.shape)) for case in cases), "--dtype": (case.dtype for case in cases),
        "--layout": (case.layout for case in cases), "--device": (case.device for case in cases[:1]),
        "--pass": (case.pass_ for case in cases), "--threads": (str(case.threads) for case in cases),
        "--memory": (row.memory for row in rows if row.memory is not None and not kept),
        "--clock": (row.clock for row in rows), "--impl": (row.spec for row in rows),
    }  # fmt: skip
    given = {option: list(dict.fromkeys(of_rows)) for option, of_rows in values.items()}
    ids = dict.fromkeys(row.case for row in rows)
    if len(ids) < prod(len(given[axis]) for axis in ("--shape", "--dtype", "--layout", "--pass", "--threads")):
        given["-k"] = [" or ".join(ids)]
    words = [word for option, of_rows in given.items() for value in of_rows for word in (option, value) if word]
    return shlex.join([*rows[0].again, *words])


def explained(store: Store, diff: Diff) -> Diff:
    """Add the explanations of ``gapbench ab --explain``, which the run's profiles keep, to a diff of its sides."""
    if not diff.is_interleaved:
        return diff
    explanations = {
        (profile["case"], profile["implementation"], Verdict.REGRESSED): profile["explanation"]
        for of_case in profiles.read(store, diff.head.id).values()
        for profile in of_case
        if profile.get("explanation")
    }
    keys = [(row.case, row.implementation, row.verdict) for row in diff.rows]
    rows = (replace(row, explanation=explanations.get(key)) for row, key in zip(diff.rows, keys, strict=True))
    return replace(diff, rows=tuple(rows))


def sentences(row: Row) -> list[str]:
    """Return why a row is slower: a summary, then the findings, largest first."""
    if row.explanation is None:
        return []
    return [row.explanation["sentence"], *(finding["sentence"] for finding in row.explanation["findings"])]
