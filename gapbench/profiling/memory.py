"""What one call allocates, moment by moment."""

from collections.abc import Iterable

from gapbench.profiling.events import MEMORY, Event

Timeline = list[tuple[float, int]]
"""Seconds from the first event, and the bytes that are allocated from then on beyond those at the beginning."""

MOST = 1000
"""Points that are kept of a timeline."""


def timeline(events: Iterable[Event]) -> Timeline:
    """Return the timeline of one call: frees of what was there before make it negative."""
    ordered = sorted(events, key=lambda event: event.start)
    if not ordered:
        return []
    began, allocated = ordered[0].start, 0
    found: Timeline = [(0.0, 0)]
    for event in ordered:
        if event.name == MEMORY:
            allocated += event.nbytes
            found.append(((event.start - began) * 1e-9, allocated))
    return thinned(found)


def thinned(points: Timeline, most: int = MOST) -> Timeline:
    """Return at most ``most`` (3 or more) points of a timeline, its peak and its ends among them."""
    if len(points) <= most:
        return points
    top = max(range(len(points)), key=lambda place: points[place][1])
    step = -(-len(points) // (most - 2))
    return [points[place] for place in sorted({top, len(points) - 1, *range(0, len(points), step)})]


def peak(points: Timeline) -> int:
    """Return the most that was allocated at once, in bytes; 0 where nothing was."""
    return max((allocated for _, allocated in points), default=0)
