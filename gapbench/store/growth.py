"""How far a run is that is being written, as its files tell."""

from dataclasses import dataclass
from datetime import datetime

from gapbench.errors import GapbenchError
from gapbench.store.files import Files
from gapbench.store.reading import shards


@dataclass(frozen=True, slots=True)
class Growth:
    """How far a run is: the shards of finished rounds, when it was last written to (UTC), and whether it was ``left``.

    A run that was left has its results so far and no round since. One that was killed does not tell.
    """

    shards: int
    written: datetime
    left: bool


def growth(files: Files, run: str) -> Growth:
    """Return how far a run is. Raises `GapbenchError` if there is none, or it is just losing its shards."""
    names = shards(files, run)
    last = files.modified(run, "shards", names[-1]) if names else files.modified(run, "run.json")
    if last is None:
        raise GapbenchError(f"there is no run {run!r} in {files.url}")
    left = files.modified(run, "results.parquet")
    return Growth(len(names), max(last, left or last), left is not None and left >= last)
