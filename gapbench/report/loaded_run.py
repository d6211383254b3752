"""A run as the store gives it, and what its page says of change: against which run, and how many rows of a verdict."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from gapbench.analysis import summary
from gapbench.analysis.compare import Diff, Side, compare
from gapbench.errors import GapbenchError
from gapbench.statistics.verdicts import Verdict
from gapbench.store.run import Run, differences
from gapbench.store.store import Store


@dataclass(frozen=True, slots=True)
class Stored(Side):
    """A run as a side of comparisons, and `summary.winners` of its results."""

    winners: pd.DataFrame


def load(store: Store, run: str) -> Stored:
    """Read the run of this id."""
    read = side(store, run)
    results = summary.with_best(read.results, read.samples)
    return Stored(read.run, results, read.samples, summary.winners(results, read.samples))


def side(store: Store, run: str) -> Side:
    """Read the run of this id as a side of a comparison."""
    return Side(store.describe(run), store.results([run], validate=True), store.samples([run], validate=True))


MOST_ROWS = 1000  # runs of more rows are compared only where a baseline is named: weighing takes milliseconds a row

_ALWAYS = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.EQUIVALENT, Verdict.INCONCLUSIVE)
"""Verdicts whose count is said even where it is 0."""

MOST_EARLIER = 8  # earlier runs that a diff reads: enough to tell how far runs lie apart


def alike(store: Store, suites: tuple[str, ...], head: Run) -> Iterator[str]:
    """Yield the complete runs of ``suites`` before ``head``, in its environment, newest first."""
    for run, described in reversed(store.listing().runs.items()):
        same = described.is_complete and described.suites == suites
        if run < head.id and same and not differences(described.environment, head.environment):
            yield run


def earlier(store: Store, base: Side, head: Side) -> list[Side]:
    """Return the newest other plain runs of base's suites in head's environment that are complete and can be read."""
    sides: list[Side] = []
    for run in alike(store, base.run.suites, head.run):
        if run == base.run.id:
            continue
        with contextlib.suppress(GapbenchError):
            read = side(store, run)
            sides += [] if read.run.is_comparison else [read]
        if len(sides) == MOST_EARLIER:
            break
    return sides


def counts(diff: Diff) -> list[tuple[Verdict, int]]:
    """Return how many rows have each verdict, most pressing first."""
    counts = dict.fromkeys(_ALWAYS, 0) | diff.summary
    return [(verdict, counts[verdict]) for verdict in Verdict if verdict in counts]


def against(store: Store, stored: Stored, baseline: str | None) -> tuple[Diff | None, str]:
    """Return what changed from a run's baseline, or None and a sentence that says why nothing was compared.

    Without a ``baseline`` it is the newest earlier complete run of the same suites in the same environment. Raises
    `GapbenchError` where a baseline that was named cannot be compared with.
    """
    if baseline is not None:
        return _compared(store, baseline, stored), ""
    if not stored.run.is_complete:
        return None, f"no baseline: the run is not complete; gapbench run --resume {stored.run.id} completes it"
    if len(stored.results) > MOST_ROWS:
        remedy = f"gapbench report {stored.run.id} --baseline RUN"
        return None, f"not compared: with {len(stored.results):,} rows that takes a while; compare with: {remedy}"
    for run in alike(store, stored.run.suites, stored.run):
        with contextlib.suppress(GapbenchError):  # one that cannot be read or has nothing in common is no baseline
            return _compared(store, run, stored), ""
    return None, "no baseline: no earlier run of the same suites in this environment; name one with --baseline RUN"


def _compared(store: Store, baseline: str, stored: Stored) -> Diff:
    base = side(store, baseline)
    return compare(base, stored, earlier=earlier(store, base, stored))
