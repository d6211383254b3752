"""The machine's limits, as `measuring.ceilings` measured them for a run, and the comparison of times with them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from gapbench.store.records import Number, Whole

MEMORY = "memory"  # the level behind all caches, which holds data of any size

KIND_OF_PASS: Mapping[str, str] = {"forward": "read", "backward": "write"}
"""The kind of ceiling for a pass of global average pooling: it mostly reads its input, or writes its gradient.

A training pass does both in turn, and is compared with neither."""

SERVED_BY_CACHE = 8
"""Data of up to this many times a level's size is partly served by that level, if it is used repeatedly."""

IMPOSSIBLE = 2.0
"""An implementation that seems to be so many times faster than the fastest level that can hold its bytes did not move
them. Below that the ceiling may have been measured on a busy machine."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One limit of ``device``; ``threads`` None applies to any number of them.

    ``kind`` is ``read``, ``copy`` (bytes read and bytes written, added), ``write`` or ``datasheet`` (the peak by clock
    and bus width), all in ``gbps`` (10^9 bytes a second); or, in ``seconds``, ``dispatch`` (the caller's time for the
    smallest operation) or ``kernel`` (the device's). A ``level`` holds up to ``bytes`` (None: any number). A limit that
    could not be measured is null, and ``reason`` says why.
    """

    level: str | None = None
    kind: str = "read"
    device: str | None = None
    threads: Whole | None = None
    bytes: Whole | None = None
    gbps: Number | None = None
    seconds: Number | None = None
    reason: str | None = None


Known = Sequence[Ceiling] | None  # the ceilings of a run, None if it has none


def bandwidths(ceilings: Known, kinds: Iterable[str] = ("read", "copy", "write")) -> list[Ceiling]:
    """Return the measured bandwidths of these ``kinds``."""
    return [ceiling for ceiling in ceilings or () if _positive(ceiling.gbps) and ceiling.kind in kinds]


def limit_of(ceilings: Known, row: Mapping[str, Any]) -> Ceiling | None:
    """Return the ceiling of a row of results: of the smallest level that holds its bytes, memory's by a cold clock.

    None if none was measured for its device and number of threads, or if bandwidth does not limit such a time.
    """
    kind = KIND_OF_PASS.get(row["pass"])
    if kind is None or row["times_launch"] or not _positive(row["bytes_moved"]):
        return None
    levels = [level for level in bandwidths(ceilings, [kind]) if _is_of(level, row)]
    if row["cold"]:
        levels = [level for level in levels if not _positive(level.bytes)]
    return min((level for level in levels if row["bytes_moved"] <= _size(level)), key=_size, default=None)


def partly_cached(ceilings: Known, row: Mapping[str, Any]) -> bool:
    """Tell whether a faster level than a row's own may have served part of its bytes, which are used repeatedly."""
    if row["cold"] or not _positive(row["bytes_moved"]):
        return False
    sizes = (_size(level) for level in bandwidths(ceilings, ["read", "write"]) if _is_of(level, row))
    return any(size < row["bytes_moved"] <= SERVED_BY_CACHE * size for size in sizes)


def impossible(ceilings: Known, row: Mapping[str, Any]) -> Ceiling | None:
    """Return the fastest level that may have served a row's bytes, if the row is `IMPOSSIBLE` times as fast."""
    limit = limit_of(ceilings, row)
    if limit is None or not _positive(row["gbps"]):
        return None
    if not row["cold"]:
        levels = [level for level in bandwidths(ceilings, [limit.kind]) if _is_of(level, row)]
        serving = [level for level in levels if row["bytes_moved"] <= SERVED_BY_CACHE * _size(level)]
        limit = max(serving, key=lambda level: level.gbps or 0.0)
    return limit if row["gbps"] > IMPOSSIBLE * (limit.gbps or math.inf) else None


def fraction(ceilings: Known, row: Mapping[str, Any]) -> float | None:
    """Return the share of its ceiling that a row of results reaches, None if either is unknown."""
    limit = limit_of(ceilings, row)
    return row["gbps"] / limit.gbps if limit is not None and limit.gbps and _positive(row["gbps"]) else None


def datasheet_peak(ceilings: Known) -> float | None:
    """Return the memory's peak in GB/s by its datasheet, if exactly one device has one."""
    peaks = {ceiling.device: ceiling.gbps for ceiling in bandwidths(ceilings, ["datasheet"])}
    return next(iter(peaks.values())) if len(peaks) == 1 else None


def said(ceiling: Ceiling) -> str:
    """Return a ceiling's name for sentences: ``read ceiling (L2)``."""
    return f"{ceiling.kind} ceiling ({ceiling.level})"


def _is_of(ceiling: Ceiling, row: Mapping[str, Any]) -> bool:
    """Tell whether a ceiling applies to a row's device and number of threads, neither of which may be null."""
    pairs = ((ceiling.device, row["device"]), (ceiling.threads, row["threads"]))
    return all(own is None or (isinstance(value, (str, Real)) and own == value) for own, value in pairs)


def _size(ceiling: Ceiling) -> float:
    return ceiling.bytes if ceiling.bytes is not None and _positive(ceiling.bytes) else math.inf


def _positive(value: Any) -> bool:
    """Tell whether it is a number above 0, which None, NaN and pandas' NA are not."""
    return isinstance(value, Real) and float(value) > 0
