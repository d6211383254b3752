"""What got slower, or faster, since a run."""

from collections.abc import Sequence
from dataclasses import dataclass

from gapbench.errors import GapbenchError
from gapbench.history.order import Order, commit_of
from gapbench.history.trends import SHORTEST, Trend, ratio_of, segment
from gapbench.store import Store


@dataclass(frozen=True, slots=True)
class Difference:
    """A trend's newest segment against the one that the run lies in, as a ratio of mean times (above 1 is slower).

    ``causes`` are those of the steps between, ``environment`` what changed with them. The interval is unpaired: both
    means hold what the machine was like.
    """

    case: str
    implementation: str
    clock: str
    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    runs_before: int
    runs_after: int
    causes: list[str]
    environment: list[str]
    memory: str | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """What became of all trends since ``run``: the slower ones, worst first, the faster ones, and how many neither.

    ``undecided`` counts those with too few runs for a step to show, ``absent`` those that were not measured by then.
    """

    run: str
    slower: list[Difference]
    faster: list[Difference]
    unchanged: int
    undecided: int
    absent: int


def find(store: Store, name: str) -> str:
    """Return the run that ``name`` means: as everywhere, or by a tag, branch or other name that git knows.

    Raises `GapbenchError` if there is none.
    """
    try:
        return store.resolve(name)
    except GapbenchError:
        commit = commit_of(name)
        if commit is None:
            raise
        runs = store.runs()
        if commit not in set(runs["commit"]):
            raise GapbenchError(f"{name} is commit {commit[:7]}, of which {store.url} has no run; name a run") from None
        return store.resolve(commit)


def since(trends: Sequence[Trend], order: Order, run: str) -> Since:
    """Return what is slower and what is faster in the newest segment of each trend than in the one of ``run``.

    A trend that ``run`` did not measure begins with its last run before that. Without a step since then it is
    unchanged, and so it is where the interval of the ratio holds 1: there and back again.
    """
    place = {one: index for index, one in enumerate(order.runs)}
    differences, unchanged, undecided, absent = [], 0, 0, 0
    for trend in trends:
        before = [index for index, point in enumerate(trend.points) if place[point.run] <= place[run]]
        if not before:
            absent += 1
        elif len(trend.points) < 2 * SHORTEST:
            undecided += 1
        elif (difference := _difference(trend, before[-1])) is not None:
            differences.append(difference)
        else:
            unchanged += 1
    slower = sorted((one for one in differences if one.ratio > 1), key=lambda one: -one.ratio)
    faster = sorted((one for one in differences if one.ratio < 1), key=lambda one: one.ratio)
    return Since(run, slower, faster, unchanged, undecided, absent)


def _difference(trend: Trend, index: int) -> Difference | None:
    changes = [change for change in trend.changes if change.index > index]
    if not changes:
        return None
    found = [change.index for change in trend.changes]
    before, after = segment(trend.points, found, index), segment(trend.points, found, len(trend.points) - 1)
    ratio = ratio_of(after, before)
    if ratio.low is not None and ratio.high is not None and ratio.low <= 1 <= ratio.high:
        return None
    return Difference(
        trend.case,
        trend.implementation,
        trend.clock,
        ratio.estimate,
        ratio.low,
        ratio.high,
        len(before),
        len(after),
        list(dict.fromkeys(change.cause for change in changes)),
        list(dict.fromkeys(news for point in trend.points[index + 1 :] for news in point.environment)),
        trend.memory,
    )
