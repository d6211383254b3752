"""A run as the store gives it."""

from dataclasses import dataclass

import pandas as pd

from gapbench import summary
from gapbench.compare import Side
from gapbench.store import Store


@dataclass(frozen=True, slots=True)
class Stored(Side):
    """A run as a side of comparisons, and `summary.winners` of its results."""

    winners: pd.DataFrame


def load(store: Store, run: str) -> Stored:
    """Read the run of this id."""
    read = side(store, run)
    return Stored(read.run, read.results, read.samples, summary.winners(read.results, read.samples))


def side(store: Store, run: str) -> Side:
    """Read the run of this id as a side of a comparison."""
    return Side(store.describe(run), store.results([run], whole=True), store.samples([run], whole=True))
