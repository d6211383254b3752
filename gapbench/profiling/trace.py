"""A trace of a few calls with the Python stack, for Perfetto; and what one call allocated."""

import gzip
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gapbench.devices import Device
from gapbench.passes import Call
from gapbench.profiling import sampling
from gapbench.profiling.events import MEMORY, Event

NAME = "trace.json.gz"

MOST_BYTES = 500 * 10**6
"""Larger traces (before they are packed) are not kept: viewers do not open them."""

_CALLS = 5
_BYTES_PER_EVENT = 300  # at the least

Timeline = list[tuple[float, int]]
"""Seconds from the first event, and the bytes that are allocated from then on beyond those at the beginning."""

MOST = 1000
"""Points that are kept of a timeline."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one call allocated, how many calls the trace has (0: there is none), and what is to be said of it."""

    timeline: Timeline
    calls: int
    notes: list[str] = field(default_factory=list)


def write(call: Call, target: Device, folder: Path, most_bytes: int = MOST_BYTES) -> Trace:
    """Write a trace to `NAME` in ``folder``: of a few calls, of one where a few would be too much, or none."""
    _, recorded = sampling.record([call], target, with_stack=False)
    allocated = timeline(recorded)
    limit = f"{most_bytes / 1e6:,.0f} MB"
    too_much = Trace(allocated, 0, [f"the trace was stopped: one call alone makes more than {limit}"])
    if len(recorded) * _BYTES_PER_EVENT > most_bytes:
        return too_much  # not even tried: it would fill the disk
    plain = folder / "trace.json"
    size = _save([call], target, plain)
    if size > most_bytes:
        plain.unlink()
        return too_much
    if size * _CALLS > most_bytes:
        _pack(plain)
        return Trace(allocated, 1, [f"the trace has one call: {_CALLS} would make more than {limit}"])
    _save([call] * _CALLS, target, plain)
    _pack(plain)
    return Trace(allocated, _CALLS)


def _save(calls: list[Call], target: Device, path: Path) -> int:
    """Write a trace of ``calls``, and return its bytes."""
    results, _ = sampling.record(calls, target, with_stack=True)
    results.save(str(path))
    return path.stat().st_size


def _pack(plain: Path) -> None:
    with plain.open("rb") as source, gzip.open(plain.with_name(NAME), "wb", compresslevel=6) as packed:
        shutil.copyfileobj(source, packed)
    plain.unlink()


def timeline(events: Iterable[Event]) -> Timeline:
    """Return the timeline of one call: frees of what was there before make it negative."""
    ordered = sorted(events, key=lambda event: event.start)
    if not ordered:
        return []
    began, allocated = ordered[0].start, 0
    points: Timeline = [(0.0, 0)]
    for event in ordered:
        if event.name == MEMORY:
            allocated += event.nbytes
            points.append(((event.start - began) * 1e-9, allocated))
    return thinned(points)


def thinned(points: Timeline, most: int = MOST) -> Timeline:
    """Return at most ``most`` (3 or more) points of a timeline, its peak and its ends among them."""
    if len(points) <= most:
        return points
    top = max(range(len(points)), key=lambda index: points[index][1])
    step = -(-len(points) // (most - 2))
    return [points[index] for index in sorted({top, len(points) - 1, *range(0, len(points), step)})]


def peak(points: Timeline) -> int:
    """Return the most that was allocated at once, in bytes; 0 where nothing was."""
    return max((allocated for _, allocated in points), default=0)
