"""Catch right outputs whose work was not timed, on other threads or by another clock; never in a timed batch."""

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
"""Functions that time and compare."""
_OWN_SIDES = ("gapbench.implementations", "gapbench.operations")
"""Packages whose modules are replaced when another side runs."""

_GENUINE: dict[object, Mapping[str, object]] = {}
"""Functions that time and compare, by owner and name, as they were before any implementation was loaded."""


def remember() -> None:
    """Store the genuine functions, once; to be called when all of gapbench is loaded, before foreign code runs."""
    if _GENUINE:
        return
    own = [module for name, module in sorted(sys.modules.items()) if _is_harness(name)]
    classes = {kind for module in own for kind in vars(module).values() if isinstance(kind, type)}
    harness = [*own, *(kind for kind in classes if _is_harness(kind.__module__))]
    _GENUINE.update(
        {owner: {name: value for name, value in vars(owner).items() if callable(value)} for owner in harness}
    )
    _GENUINE.update({owner: {name: getattr(owner, name) for name in names} for owner, names in _USED})


def _is_harness(module: str) -> bool:
    return module.partition(".")[0] == "gapbench" and not module.startswith(_OWN_SIDES)


_thread_time_ns, _process_time_ns, _perf_counter = time.thread_time_ns, time.process_time_ns, time.perf_counter

_ELSEWHERE_ALLOWED = 0.1
_WATCH_SECONDS = (0.01, 0.03, 0.1)
"""Several, because the system's two counters are read one after the other and may move in steps of milliseconds: on a
busy machine, 10 ms accused honest code. Off-thread work shows in all of them."""


def replaced() -> str | None:
    """Name the first function of torch, the clocks or gapbench replaced since `remember`, or None; restore all."""
    first = None
    for owner, members in _GENUINE.items():
        for name, genuine in members.items():
            if getattr(owner, name, None) is not genuine and vars(owner).get(name) is not genuine:
                setattr(owner, name, genuine)  # so that the next contender is not accused
                first = first or f"{getattr(owner, '__name__', owner)}.{name}"
    if first is None:
        return None
    return f"replaces {first}; an implementation must not change functions that time or compare"


def off_thread_work(call: Callable[[], Tensor], case: Case) -> str | None:
    """Return a reason if other threads than the caller's spent over 10 % of the calls' processor time, else None.

    Only for one thread of the CPU: on accelerators autograd launches from another. Runs ``call`` for 10 ms or more.
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
        f"{elsewhere:.0%} of its processor time was spent on threads other than the caller's, though the case allows "
        "one; compute in the calling thread, or measure with --threads"
    )
