"""Joules per call: a window of calls back to back, from one step of the device's energy counter to another.

Counters move in steps (NVML's by 20 to 100 ms, RAPL's by 1 ms), so a window that began and ended anywhere would be
wrong by a step at each end.
"""

from collections.abc import Callable

from gapbench.machine.telemetry.energy import Counter
from gapbench.machine.telemetry.unreadable import UnreadableError
from gapbench.measuring.clocks import base

WINDOW_SECONDS = 0.25
"""A window's least length."""

_PATIENCE = 2.0
_BATCH_SECONDS = 1e-3


def joules_per_call(run: Callable[[int], object], counter: Counter) -> float:
    """Return what one call takes; ``run(count)`` makes so many, and returns when their work is done.

    Raises `UnreadableError` if the counter stands still.
    """
    count = _batch(run)
    _until_step(run, count, counter)
    began, before = base.now(), counter.joules()
    calls = 0
    while base.now() - began < WINDOW_SECONDS:
        run(count)
        calls += count
    calls += _until_step(run, count, counter)
    return (counter.joules() - before) / calls


def _batch(run: Callable[[int], object]) -> int:
    """Return how many calls take about a millisecond, beside which reading the counter is short."""
    count = 1
    while True:
        began = base.now()
        run(count)
        if base.now() - began >= _BATCH_SECONDS / 2:
            return count
        count *= 2


def _until_step(run: Callable[[int], object], count: int, counter: Counter) -> int:
    """Go on until the counter has moved; return how many calls that took."""
    began, before, calls = base.now(), counter.joules(), 0
    while counter.joules() == before:
        if base.now() - began > _PATIENCE:
            raise UnreadableError(f"{counter.source} did not move in {_PATIENCE:g} s of work")
        run(count)
        calls += count
    return calls
