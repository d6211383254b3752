"""A run as the store gives it."""

from dataclasses import dataclass

import pandas as pd

from gapbench import summary
from gapbench.compare import Side
from gapbench.errors import GapbenchError
from gapbench.run import differences
from gapbench.store import Store


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
    return Side(store.describe(run), store.results([run], whole=True), store.samples([run], whole=True))


MOST_EARLIER = 8
"""Earlier runs that a diff reads: enough to tell how far runs lie apart."""


def earlier(store: Store, base: Side, head: Side) -> list[Side]:
    """Return the newest other plain runs of base's suites in head's environment that are complete and can be read."""
    found: list[Side] = []
    for run, described in reversed(store.listing().runs.items()):
        if run in (base.run.id, head.run.id) or not described.is_complete or run > head.run.id:
            continue
        if described.suites != base.run.suites or differences(described.environment, head.run.environment):
            continue
        try:
            read = side(store, run)
        except GapbenchError:
            continue
        if not read.run.is_comparison:
            found.append(read)
        if len(found) == MOST_EARLIER:
            break
    return found
