"""The timing loop, and the host's time."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice, repeat
from time import perf_counter_ns  # bound before any user's code is imported, which might replace time's

from torch import Tensor

from gapbench.passes import Call


def now() -> float:
    """Return the host's time in seconds, from an arbitrary zero."""
    return perf_counter_ns() * 1e-9


def cycled(calls: Sequence[Call], count: int, first: int = 0) -> Iterator[Call]:
    """Return ``count`` calls, cycling through ``calls`` from number ``first``."""
    if len(calls) == 1:
        return repeat(calls[0], count)
    first %= len(calls)
    return islice(cycle((*calls[first:], *calls[:first])), count)


def timed(calls: Iterator[Call]) -> tuple[float, Tensor]:
    """Make the calls back to back, each output alive until the next is there; return the host's seconds and the last.

    Nothing is waited for: of a device that computes later, this is what the calling thread pays.
    """
    output = None
    start = perf_counter_ns()
    for call in calls:
        output = call()
    end = perf_counter_ns()
    assert output is not None
    return (end - start) * 1e-9, output
