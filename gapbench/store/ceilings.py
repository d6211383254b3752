"""The machine's limits as a run has them, and which of them a time is to be held against.

A ceiling is what was measured on the machine at hand, never a table of names. `measuring.ceilings` measures them, and
``run.json`` keeps them.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gapbench.store.records import Number, Whole

MEMORY = "memory"
"""The level behind all caches, which holds data of any size."""

KIND_OF_PASS: Mapping[str, str] = {"forward": "read", "backward": "write"}
"""What a pass of global average pooling does nearly all the time: it reads its input, or writes that one's gradient.

A training pass does one after the other, and is held against neither."""

SERVED_BY_CACHE = 8
"""Data of up to this many times a level's size is partly served by that level, if it is used over and over."""

IMPOSSIBLE = 2.0
"""Whoever moves bytes so many times faster than the fastest level that can hold them did not move them. Below that the
ceiling may have been measured on a busy machine."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One limit of ``device``; ``threads`` None holds for any number of them.

    ``kind`` is ``read``, ``copy`` (bytes read and bytes written, added), ``write`` or ``datasheet`` (the peak by clock
    and bus width), all in ``gbps`` (10^9 bytes a second); or, in ``seconds``, ``dispatch`` (the caller's time for the
    smallest operation) or ``kernel`` (the device's). A ``level`` holds up to ``bytes`` (None: any number). What could
    not be measured is null, and ``reason`` says why.
    """

    level: str | None = None
    kind: str = "read"
    device: str | None = None
    threads: Whole | None = None
    bytes: Whole | None = None
    gbps: Number | None = None
    seconds: Number | None = None
    reason: str | None = None


Known = Sequence[Ceiling] | None
"""Ceilings as a run has them; None where it has none."""


def bandwidths(known: Known, kinds: Iterable[str] = ("read", "copy", "write")) -> list[Ceiling]:
    """Return those that are a bandwidth of one of ``kinds``."""
    wanted = set(kinds)
    return [one for one in known or () if _known(one.gbps) and one.kind in wanted]


def limit_of(known: Known, row: Mapping[str, Any]) -> Ceiling | None:
    """Return the ceiling of a row of results: of the smallest level that holds its bytes, memory's by a cold clock.

    None where none was measured for its device and number of threads, or where none limits such a time.
    """
    kind = KIND_OF_PASS.get(row["pass"])
    if kind is None or row["times_launch"] or not _known(row["bytes_moved"]):
        return None
    mine = [one for one in bandwidths(known, [kind]) if _is_of(one, row)]
    if row["cold"]:
        mine = [one for one in mine if not _known(one.bytes)]
    return min((one for one in mine if row["bytes_moved"] <= _size(one)), key=_size, default=None)


def partly_cached(known: Known, row: Mapping[str, Any]) -> bool:
    """Tell whether a level nearer than its own may have served a part of a row's bytes, used over and over."""
    if row["cold"] or not _known(row["bytes_moved"]):
        return False
    nearer = (_size(one) for one in bandwidths(known, ["read", "write"]) if _is_of(one, row))
    return any(size < row["bytes_moved"] <= SERVED_BY_CACHE * size for size in nearer)


def impossible(known: Known, row: Mapping[str, Any]) -> Ceiling | None:
    """Return the fastest level that may have served a row's bytes, where the row is `IMPOSSIBLE` times as fast."""
    limit = limit_of(known, row)
    if limit is None or not _known(row["gbps"]):
        return None
    if not row["cold"]:
        levels = [level for level in bandwidths(known, [limit.kind]) if _is_of(level, row)]
        serving = [level for level in levels if row["bytes_moved"] <= SERVED_BY_CACHE * _size(level)]
        limit = max(serving, key=lambda level: level.gbps or 0.0)
    return limit if row["gbps"] > IMPOSSIBLE * (limit.gbps or math.inf) else None


def fraction(known: Known, row: Mapping[str, Any]) -> float | None:
    """Return which share of its ceiling a row of results reaches, None where either is not known."""
    limit = limit_of(known, row)
    return row["gbps"] / limit.gbps if limit is not None and limit.gbps and _known(row["gbps"]) else None


def _is_of(one: Ceiling, row: Mapping[str, Any]) -> bool:
    def agrees(key: str) -> bool:
        own = getattr(one, key)
        return own is None or _true(lambda: own == row[key])

    return agrees("device") and agrees("threads")


def datasheet_peak(known: Known, device: str | None = None) -> float | None:
    """Return the memory's peak in GB/s by its datasheet, of ``device`` or of the only one that has any."""
    peaks = {one.device: one.gbps for one in bandwidths(known, ["datasheet"])}
    if device is not None:
        return peaks.get(device)
    return next(iter(peaks.values())) if len(peaks) == 1 else None


def said(ceiling: Ceiling) -> str:
    """Name a ceiling: ``read ceiling (L2)``."""
    return f"{ceiling.kind} ceiling ({ceiling.level})"


def _size(one: Ceiling) -> float:
    return one.bytes if one.bytes is not None and _known(one.bytes) else math.inf


def _known(value: Any) -> bool:
    """Tell whether it is a number above 0: what JSON or a frame has for null is none, and compares as nothing does."""
    return _true(lambda: value > 0)


def _true(comparison: Callable[[], Any]) -> bool:
    try:
        return bool(comparison())
    except TypeError:  # with None, or with pandas' NA, which is neither true nor false
        return False
