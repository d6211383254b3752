"""What an implementation may not do to look fast, and how it is caught. Nothing here runs inside a timed batch.

The oracle catches wrong answers, also those given only after timing. These checks catch right answers whose work was
not timed: done on other threads, or with a replaced clock. Who remembers answers is found out by the `examiner`.
"""

import sys
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gapbench.workloads.cases import Case

_USED = (
    (time, ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns", "process_time")),
    (torch, ("equal", "allclose", "isclose", "where", "Event")),  # the methods of torch.Event cannot be set
    (torch.cuda.Event, ("elapsed_time", "record", "synchronize", "query")),
    (Tensor, ("double", "abs", "max", "all", "clone", "copy_", "view", "contiguous", "__eq__", "__sub__")),
)
"""What times and what compares."""
_OWN_SIDES = ("gapbench.implementations", "gapbench.operations")
"""Packages whose modules are swapped when another side's turn comes."""


class _Genuine:
    """What measures and compares, as it was before any implementation was loaded in this process."""

    members: Mapping[object, Mapping[str, object]] = {}


def remember() -> None:
    """Take down what `replaced` compares with, once; before foreign code runs, and when all of gapbench is loaded."""
    if _Genuine.members:
        return
    own = [module for name, module in sorted(sys.modules.items()) if _is_harness(name)]
    classes = {kind for module in own for kind in vars(module).values() if isinstance(kind, type)}
    harness = [*own, *(kind for kind in classes if _is_harness(kind.__module__))]
    _Genuine.members = {
        **{owner: {name: value for name, value in vars(owner).items() if callable(value)} for owner in harness},
        **{owner: {name: getattr(owner, name) for name in names} for owner, names in _USED},
    }


def _is_harness(module: str) -> bool:
    return module.partition(".")[0] == "gapbench" and not module.startswith(_OWN_SIDES)


_thread_time_ns, _process_time_ns, _perf_counter = time.thread_time_ns, time.process_time_ns, time.perf_counter

_ELSEWHERE_ALLOWED = 0.1
_WATCH_SECONDS = (0.01, 0.03, 0.1)
"""The system's two counters are read one after the other, and may move in steps of milliseconds: on a busy machine, a
watch of 10 ms accused honest code. Whoever works elsewhere does so in all of them."""


def replaced() -> str | None:
    """Return what was replaced of torch, the clocks and gapbench since `remember`, or None; and put all back."""
    first = None
    for owner, members in _Genuine.members.items():
        for name, genuine in members.items():
            if getattr(owner, name, None) is not genuine and vars(owner).get(name) is not genuine:
                setattr(owner, name, genuine)  # whoever is looked at next has not done this
                first = first or f"{getattr(owner, '__name__', owner)}.{name}"
    if first is None:
        return None
    return f"replaces {first}; an implementation may not touch what times or compares"


def off_thread_work(call: Callable[[], Tensor], case: Case) -> str | None:
    """Return what share of the calls' processor time other threads than the caller's spent, if that is much.

    Only meaningful for one thread of the CPU. With more, OpenMP's are meant to work; on accelerators autograd launches
    from a thread of its own, and clocks find work on other streams. Runs ``call`` for about 10 ms, and for longer where
    that seems much.
    """
    if case.threads > 1 or case.device != "cpu":
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
