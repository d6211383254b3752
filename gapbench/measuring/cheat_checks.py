"""What an implementation may not do to look fast, and how it is caught. Nothing here runs inside a timed batch.

The oracle catches wrong answers, also those given only after timing. These checks catch right answers whose work was
not timed: done on other threads, with a replaced clock, or remembered from an earlier call.
"""

import time
from collections.abc import Callable
from random import Random

import torch
from torch import Tensor

from gapbench import oracle
from gapbench.cases import Case
from gapbench.implementations import Implementation
from gapbench.truth import GLOBAL_AVERAGE

_GENUINE = {
    (owner, name): getattr(owner, name)
    for owner, names in (
        (time, ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns", "process_time")),
        (torch, ("equal", "allclose", "isclose", "where", "Event")),  # the methods of torch.Event cannot be set
        (torch.cuda.Event, ("elapsed_time", "record", "synchronize", "query")),
        (torch.Tensor, ("double", "abs", "max", "all", "clone", "copy_", "__eq__", "__sub__", "__truediv__")),
    )
    for name in names
}
"""What times and what compares, as it was before any implementation was imported."""
_thread_time_ns, _process_time_ns, _perf_counter = time.thread_time_ns, time.process_time_ns, time.perf_counter

_ELSEWHERE_ALLOWED = 0.1
_CHANGE, _LARGEST_CHANGE = 0.05, 2048.0
"""By which share an element's change moves the mean of its row at least, as far as float16 can sum what it adds."""

_WATCH_SECONDS = (0.01, 0.03, 0.1)
"""The system's two counters are read one after the other, and may move in steps of milliseconds: on a busy machine, a
watch of 10 ms accused honest code. Whoever works elsewhere does so in all of them."""


def replaced() -> str | None:
    """Return what of the harness's means was replaced since gapbench was loaded, or None; and put all back."""
    changed = [(owner, name) for (owner, name), genuine in _GENUINE.items() if getattr(owner, name) is not genuine]
    for owner, name in changed:
        setattr(owner, name, _GENUINE[owner, name])  # whoever is looked at next has not done this
    if not changed:
        return None
    owner, name = changed[0]
    return f"replaces {owner.__name__}.{name}; an implementation may not touch what times or compares"


def remembered_answer(
    case: Case, implementation: Implementation, call: Callable[[], Tensor], x: Tensor, rng: Random, tries: int
) -> str | None:
    """Change one random element of ``x`` at a time, and return a reason where an answer does not follow; x is restored.

    Who remembers answers does so by something cheaper than reading the input: by its place, its version (which this
    leaves alone) or a sample of its elements. A sample of a tenth notices all of four such changes once in ten thousand
    times, one of a half once in sixteen. Only of forward averages, whose answer for one row is cheap to know.
    """
    if case.pass_ != "forward" or implementation.truth is not GLOBAL_AVERAGE or not case.elements:
        return None
    bound = oracle.tolerance(case.dtype, case.window)
    for _ in range(tries):
        sample, channel, *position = (rng.randrange(size) for size in x.shape)
        row = x.data[sample, channel]
        kept = row[tuple(position)].clone()
        before = row.double().mean()
        row[tuple(position)] += min(_LARGEST_CHANGE, max(10 * bound, _CHANGE) * float(row.abs().mean()) * case.window)
        answer, after, scale = call()[sample, channel].double(), row.double().mean(), row.double().abs().mean()
        row[tuple(position)] = kept
        if not abs(answer - after) <= bound * scale:  # nor for a NaN
            if abs(answer - before) <= bound * scale:
                return "answers without reading its input: it missed a change of one element"
            return (
                f"was right when examined; asked again it answers {float(answer):.6g} where {float(after):.6g} is right"
            )
    return None


def off_thread_work(call: Callable[[], Tensor], threads: int) -> str | None:
    """Return what share of the calls' processor time other threads than the caller's spent, if that is much.

    Only meaningful for one thread: with more, OpenMP's are meant to work. Runs ``call`` for about 10 ms, and for longer
    where that seems much.
    """
    if threads > 1:
        return None
    elsewhere = 1.0
    for seconds in _WATCH_SECONDS:
        started, caller, process = _perf_counter(), _thread_time_ns(), _process_time_ns()
        while _perf_counter() - started < seconds:
            call()
        caller, process = _thread_time_ns() - caller, _process_time_ns() - process
        elsewhere = min(elsewhere, 1 - caller / process if process else 0.0)
        if elsewhere <= _ELSEWHERE_ALLOWED:
            return None
    return (
        f"{elsewhere:.0%} of its processor time was spent on other threads than the caller's, though the case "
        "allows one; compute in the calling thread, or measure with --threads"
    )
