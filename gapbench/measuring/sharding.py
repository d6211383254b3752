"""Which cases of a plan each of several machines measures: every case once, and about as much to do for all."""

from collections.abc import Sequence

from gapbench.errors import GapbenchError
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.trimming import estimate


def deal(contests: Sequence[Contest], effort: Effort, count: int) -> list[list[int]]:
    """Return for each of ``count`` shards the indices of its contests, in their order; no shard is empty.

    The longest come first, each to whom has least to do (Graham, SIAM J. Appl. Math. 17 (1969) 416), by estimates: the
    same plan is dealt alike everywhere. Raises `GapbenchError` if there are more shards than contests.
    """
    if count > len(contests):
        raise GapbenchError(
            f"{count} shards are too many: the selection has {len(contests)} cases, and every shard needs one"
        )
    costs = [estimate(contest, effort) for contest in contests]
    hands: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for index in sorted(range(len(contests)), key=lambda index: (-costs[index], index)):
        least = loads.index(min(loads))
        hands[least].append(index)
        loads[least] += costs[index]
    return [sorted(hand) for hand in hands]
