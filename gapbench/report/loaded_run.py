"""Load runs from the store, and compare a run with its baseline."""

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
    """A stored run, as a side of comparisons, with the `summary.winners` of its results."""

    winners: pd.DataFrame


def load(store: Store, run: str) -> Stored:
    """Load the run with this id."""
    read = side(store, run)
    results = summary.with_best(read.results, read.samples)
    return Stored(read.run, results, read.samples, summary.winners(results, read.samples))


def side(store: Store, run: str) -> Side:
    """Load the run with this id as a side of a comparison."""
    return Side(store.describe(run), store.results([run], validate=True), store.samples([run], validate=True))


MOST_ROWS = 1000  # larger runs are compared only with a named baseline: it takes milliseconds per row

_ALWAYS = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.EQUIVALENT, Verdict.INCONCLUSIVE)
"""Verdicts that are counted even if the count is 0."""

MOST_EARLIER = 8  # the earlier runs of a diff: enough to estimate how far runs differ


def alike(store: Store, suites: tuple[str, ...], head: Run) -> Iterator[str]:
    """Yield the complete plain runs of ``suites`` before ``head`` in the same environment, newest first."""
    for run, described in reversed(store.listing().runs.items()):
        same = described.is_complete and not described.is_comparison and described.suites == suites
        if run < head.id and same and not differences(described.environment, head.environment):
            yield run


def earlier(store: Store, base: Side, head: Side) -> list[Side]:
    """Load the newest other complete plain runs of base's suites in head's environment, without damaged ones."""
    sides: list[Side] = []
    for run in alike(store, base.run.suites, head.run):
        if run == base.run.id:
            continue
        with contextlib.suppress(GapbenchError):
            sides.append(side(store, run))
        if len(sides) == MOST_EARLIER:
            break
    return sides


def counts(diff: Diff) -> list[tuple[Verdict, int]]:
    """Return the number of rows by verdict, most urgent first."""
    counts = dict.fromkeys(_ALWAYS, 0) | diff.summary
    return [(verdict, counts[verdict]) for verdict in Verdict if verdict in counts]


def against(store: Store, stored: Stored, baseline: str | None) -> tuple[Diff | None, str]:
    """Compare a run with its baseline, by default the newest earlier run that can be; or return why there is no diff.

    Raises `GapbenchError` if a named baseline cannot be compared.
    """
    if baseline is not None:
        return _compared(store, baseline, stored), ""
    if not stored.run.is_complete:
        return None, f"no baseline: the run is not complete; gapbench run --resume {stored.run.id} completes it"
    if len(stored.results) > MOST_ROWS:
        remedy = f"gapbench report {stored.run.id} --baseline RUN"
        return None, f"not compared: {len(stored.results):,} rows take a while; compare with: {remedy}"
    for run in alike(store, stored.run.suites, stored.run):
        with contextlib.suppress(GapbenchError):  # a damaged or unrelated run is not a baseline
            return _compared(store, run, stored), ""
    return None, "no baseline: no earlier run of the same suites in this environment; name one with --baseline RUN"


def _compared(store: Store, baseline: str, stored: Stored) -> Diff:
    base = side(store, baseline)
    return compare(base, stored, earlier=earlier(store, base, stored))
