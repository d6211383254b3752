"""A run as the store gives it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gapbench import summary
from gapbench.compare import Side
from gapbench.compare.surroundings import differences
from gapbench.errors import GapbenchError
from gapbench.store import Store


@dataclass(frozen=True, slots=True)
class Stored:
    """A run's ``run.json``, results and samples, and `summary.winners` of them."""

    run: Mapping[str, Any]
    results: pd.DataFrame
    samples: pd.DataFrame
    winners: pd.DataFrame

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.run.get("run") or "unnamed")

    @property
    def side(self) -> Side:
        """The run as a side of a comparison."""
        return Side(self.run, self.results, self.samples)


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
        if run in (base.run["run"], head.run["run"]) or described["ended"] is None or run > head.run["run"]:
            continue
        if described["suites"] != base.run.get("suites") or differences(described, head.run):
            continue
        try:
            read = side(store, run)
        except GapbenchError:
            continue
        if "ab" not in read.run:
            found.append(read)
        if len(found) == MOST_EARLIER:
            break
    return found
