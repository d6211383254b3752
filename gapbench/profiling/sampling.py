"""Sample calls with and without a profiler in turn, so that both share the machine's state; and write traces.

All of this runs in a worker and is timed by the one timing loop.
"""

import gzip
import itertools
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import torch

from gapbench.machine.devices import Device
from gapbench.measuring import probes
from gapbench.measuring.clocks import base
from gapbench.profiling import events
from gapbench.profiling.events import MEMORY, Event, Node
from gapbench.profiling.split import OUTSIDE, Observed
from gapbench.workloads.passes import Call

_PAIRS = 21
_WINDOW_SECONDS = 5e-3
_MOST_CALLS = 200
_MARK = "gapbench's window"
_FRESH_BYTES = 1 << 26
"""More than malloc keeps for itself (glibc: up to 32 MiB), so that the memory comes from the operating system."""


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive calls, all figures per call: see `Observed`."""

    seconds: float
    on_core: float
    faults: float

    @property
    def share_on_core(self) -> float:
        """The share of the time that was not lost to waiting or other work."""
        return self.on_core / self.seconds


@dataclass(frozen=True, slots=True)
class Watched:
    """The samples of one case: ``observed``, and the table of the profile behind it."""

    observed: Observed
    rows: list[events.Operator]
    calls: int


def window(calls: Sequence[Call], count: int, target: Device) -> Window:
    """Time ``count`` consecutive calls, on an accelerator until their work is done."""
    target.synchronize()  # what warmed up is no part of the window
    faults, on_core = getrusage(RUSAGE_SELF).ru_minflt, time.thread_time()
    seconds, output = base.timed(base.cycled([*calls], count))
    waited, _ = base.timed(iter([lambda: (target.synchronize(), output)[1]]))
    on_core, faults = time.thread_time() - on_core, getrusage(RUSAGE_SELF).ru_minflt - faults
    return Window((seconds + waited) / count, min(seconds + waited, on_core) / count, faults / count)


def _profiler(target: Device, with_stack: bool = False) -> Any:
    """Create a profiler of shapes and memory. That of torch.profiler would import Dynamo, which takes 1.5 s."""
    device = None if target.name == "cpu" else target.name.partition(":")[0]
    return torch.autograd.profiler.profile(
        use_device=device, record_shapes=True, profile_memory=True, with_stack=with_stack, use_kineto=True
    )


def watch(calls: Sequence[Call], target: Device) -> Watched:
    """Sample warm calls: the medians of windows without the profiler, and the median window with it.

    Only the half of the windows of each kind that lost least time to other work is used.
    """
    one_call = min(window((calls[0],), 1, target).seconds for _ in range(3))
    count = max(1, min(_MOST_CALLS, round(_WINDOW_SECONDS / one_call)))
    plain: list[Window] = []
    profiled: list[tuple[Window, list[Event]]] = []
    for number in range(_PAIRS):
        call = calls[number % len(calls)]
        call()
        plain.append(window((call,), count, target))
        with probes.silent_stderr(), _profiler(target) as watching:
            call()
            with torch.autograd.profiler.record_function(_MARK):
                profiled_window = window((call,), count, target)
        profiled.append((profiled_window, events.read(watching.kineto_results)))
    plain = sorted(plain, key=lambda own: own.share_on_core)[_PAIRS // 2 :]
    undisturbed = sorted(profiled, key=lambda own: own[0].share_on_core)[_PAIRS // 2 :]
    middle, recorded = sorted(undisturbed, key=lambda own: own[0].on_core)[len(undisturbed) // 2]
    mark = next(node for root in events.nested(recorded) for node in root.walk() if node.event.name == _MARK)
    # The two clocks differ, so a kernel may end after the host stopped waiting for it.
    during = [event for event in recorded if mark.event.start <= event.start <= mark.event.end]
    inside = [event for event in during if event.name != _MARK]
    own, beneath, often = _own(mark, middle.seconds, count)
    seconds = statistics.median(own.seconds for own in plain)
    observed = Observed(
        seconds=seconds, on_core=min(seconds, statistics.median(own.on_core for own in plain)),
        faults=statistics.median(own.faults for own in plain), profiled_seconds=middle.seconds,
        profiled_on_core=middle.on_core, profiled_faults=middle.faults, own=own, beneath=beneath, calls=often,
        busy_seconds=None if target.name == "cpu" else events.busy_seconds(inside) / count,
    )  # fmt: skip
    return Watched(observed, events.table(mark.children, inside, count), count)


def _own(mark: Node, seconds: float, count: int) -> tuple[dict[str, float], ...]:
    """Return own seconds, direct children and calls by operator, all per call of ``seconds`` seconds."""
    own: dict[str, float] = defaultdict(float)
    often: dict[str, float] = defaultdict(float)
    beneath: dict[str, float] = defaultdict(float)
    for node in mark.walk():
        name = OUTSIDE if node is mark else node.event.name
        beneath[name] += len(node.children) / count
        if node is not mark and "Synchronize" not in name:  # waiting is not the host's work
            own[name] += node.own_seconds / count
            often[name] += 1 / count
    # not the mark's own time, which includes reading the clocks
    own[OUTSIDE] = max(0.0, seconds - sum(child.event.seconds for child in mark.children) / count)
    return dict(own), dict(beneath), dict(often)


def seconds_per_fault(target: Device) -> float:
    """Measure the seconds of the first touch of a page, including its release; 0 if fresh memory has no new pages."""
    there = torch.empty(_FRESH_BYTES // 4)

    def fresh() -> torch.Tensor:
        return torch.empty(_FRESH_BYTES // 4).fill_(1.0)

    def again() -> torch.Tensor:
        return there.fill_(1.0)

    again()
    pairs = [(window((fresh,), 2, target), window((again,), 2, target)) for _ in range(_PAIRS)]
    costs = [(a.on_core - b.on_core) / (a.faults - b.faults) for a, b in pairs if a.faults - b.faults >= 1]
    return max(0.0, statistics.median(costs)) if costs else 0.0


MOST_TRACE_BYTES = 500 * 10**6  # larger traces (uncompressed) are not kept, because viewers do not open them
_TRACED_CALLS = 5
_BYTES_PER_EVENT = 300  # a lower bound


@dataclass(frozen=True, slots=True)
class Trace:
    """The most bytes that a call allocated at once, the number of calls in the trace (0: there is none), and notes."""

    peak_bytes: int
    calls: int
    notes: list[str]


def trace(call: Call, target: Device, folder: Path, most_bytes: int) -> Trace:
    """Write a trace for Perfetto to ``folder``: of a few calls, of one if a few are too large, or none."""
    recorded = events.read(_record([call], target))
    peak_bytes, limit, plain = peak(recorded), f"{most_bytes / 1e6:,.0f} MB", folder / "trace.json"
    size = len(recorded) * _BYTES_PER_EVENT
    if size <= most_bytes:  # a larger one is not tried, because it would fill the disk
        _record([call], target, with_stack=True).save(str(plain))
        size = plain.stat().st_size
    if size > most_bytes:
        plain.unlink(missing_ok=True)
        return Trace(peak_bytes, 0, [f"no trace was kept: a single call makes more than {limit}"])
    notes = []
    if size * _TRACED_CALLS > most_bytes:
        notes.append(f"the trace has one call: {_TRACED_CALLS} would make more than {limit}")
    else:
        _record([call] * _TRACED_CALLS, target, with_stack=True).save(str(plain))
    with plain.open("rb") as source, gzip.open(folder / "trace.json.gz", "wb", compresslevel=6) as packed:
        shutil.copyfileobj(source, packed)
    plain.unlink()
    return Trace(peak_bytes, 1 if notes else _TRACED_CALLS, notes)


def _record(calls: Sequence[Call], target: Device, with_stack: bool = False) -> Any:
    output = None
    with probes.silent_stderr(), _profiler(target, with_stack) as watching:
        for call in calls:
            output = call()
        target.synchronize()
    del output
    return watching.kineto_results


def peak(recorded: Iterable[Event]) -> int:
    """Return the most bytes that one call had allocated at once, beyond those before it; 0 without allocations."""
    ordered = sorted(recorded, key=lambda event: event.start)
    return max(0, *itertools.accumulate((event.nbytes for event in ordered if event.name == MEMORY), initial=0))
