"""Cold by rotation: inputs that together exceed the cache so far that none is left in it when its turn comes again."""

from collections.abc import Sequence

from gapbench.devices.caches import UNKNOWN_CACHE
from gapbench.measuring.clocks.base import ClockRefusedError
from gapbench.passes import Call


def inputs_beyond(factor: int, cache_bytes: int | None, case_bytes: int) -> int:
    """Return how many inputs of ``case_bytes`` together exceed ``factor`` times the cache."""
    return factor * (cache_bytes or UNKNOWN_CACHE) // max(1, case_bytes) + 1


def refuse_fewer(calls: Sequence[Call], needed: int | None) -> None:
    """Refuse calls with fewer inputs than the clock asked for."""
    assert needed is not None, "a clock is asked for its rotations before it measures"
    if len(calls) < needed:
        raise ClockRefusedError(
            f"{len(calls)} inputs were rotated where {needed} are needed to exceed the cache: the time would be warm"
        )
