"""In what order runs belong: that of their commits, where the repository in the current folder knows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gapbench.history import commits
from gapbench.run import Run


@dataclass(frozen=True, slots=True)
class Order:
    """Runs, oldest first, ``by`` commit or start, and a phrase that says which and why."""

    runs: list[str]
    by: str
    phrase: str


def order(documents: Sequence[Run], folder: Path | None = None) -> Order:
    """Return the order of runs: by commit if the repository of ``folder`` has them all.

    Runs of one commit are in the order of their start. Where a commit is not known, commits and times would make two
    orders that contradict each other, so that all go by time.
    """
    runs = {one.id: one.commit for one in sorted(documents, key=lambda one: one.id)}  # ids are times
    places = commits.places([known for known in runs.values() if known], folder)
    if places is None:
        return Order(list(runs), "start", "by start time, as this folder is in no git repository")
    placed = {run: places[known] for run, known in runs.items() if known in places}
    if lacking := len(runs) - len(placed):
        phrase = f"by start time, as this repository lacks the commits of {lacking} of {len(runs)} runs"
        return Order(list(runs), "start", phrase)
    return Order(sorted(runs, key=lambda run: placed[run]), "commit", "in the order of their commits")
