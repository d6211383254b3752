"""The table of a profile: every operator and kernel with its calls, times, bytes and GB/s."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gapbench.profiling.events import ITEMSIZES, MEMORY, Event, Node

ALLOCATES = ("aten::empty", "aten::new_empty", "aten::resize")
"""How the names of operators begin that do nothing but get memory."""

VIEWS = frozenset(
    f"aten::{name}"
    for name in (
        "alias", "as_strided", "as_strided_", "detach", "expand", "expand_as", "flatten", "lift_fresh", "narrow",
        "permute", "reshape", "result_type", "select", "slice", "squeeze", "t", "transpose", "unflatten", "unsqueeze",
        "view", "_reshape_alias", "_unsafe_view",
    )
) | {"detach"}  # fmt: skip
"""Operators that touch no element."""

_STARTS = frozenset({"aten::fill_", "aten::zero_"})
"""What a reduction begins with; it touches its output only."""


@dataclass(frozen=True, slots=True)
class Operator:
    """All calls of one operator (or kernel) with arguments of the same dtypes, per call of the implementation.

    ``self_seconds`` is its time without that of the operators that it called, as the profiler saw it. ``bytes`` are
    those of its tensors, arguments and results once each; None where it left the work to others, or where shapes do not
    tell: an argument that is expanded counts in full.
    """

    name: str
    dtypes: tuple[str, ...]
    calls: float
    self_seconds: float
    total_seconds: float
    bytes: float | None
    device: bool = False

    @property
    def gbps(self) -> float | None:
        """Return 10^9 bytes a second of its own time."""
        return self.bytes / self.self_seconds / 1e9 if self.bytes and self.self_seconds > 0 else None


def allocates(name: str) -> bool:
    """Tell whether an operator only gets memory."""
    return name.startswith(ALLOCATES)


def computes(name: str) -> bool:
    """Tell whether an operator may touch elements, rather than get memory or make a view."""
    return not allocates(name) and name not in VIEWS


def table(roots: Sequence[Node], events: Iterable[Event], calls: int) -> list[Operator]:
    """Return what ran beneath ``roots`` and on the accelerator in ``calls`` calls, the most expensive first."""
    found: dict[tuple[str, tuple[str, ...], bool], list[float]] = {}
    sizes: dict[tuple[str, tuple[str, ...], bool], float | None] = {}

    def add(event: Event, own_seconds: float, nbytes: float | None) -> None:
        key = (event.name, tuple(dtype for _, dtype in event.tensors), event.device)
        sums = found.setdefault(key, [0.0, 0.0, 0.0])
        for place, value in enumerate((1.0, own_seconds, event.seconds)):
            sums[place] += value
        before = sizes.setdefault(key, 0.0)
        sizes[key] = None if before is None or nbytes is None else before + nbytes

    given = [event for event in events if event.name == MEMORY and event.nbytes > 0]
    for root in roots:
        for node in root.walk():
            add(node.event, node.own_seconds, moved(node, given))
    for event in events:
        if event.device:
            add(event, event.seconds, None)
    rows = [
        Operator(
            name, dtypes, count / calls, own / calls, total / calls, _each(sizes[name, dtypes, device], calls), device
        )
        for (name, dtypes, device), (count, own, total) in found.items()
    ]
    return sorted(rows, key=lambda row: -row.self_seconds)


def _each(value: float | None, calls: int) -> float | None:
    return value / calls if value else None


def moved(node: Node, given: Sequence[Event]) -> float | None:
    """Return the bytes of an operator's tensors: its arguments, and the memory that it was ``given`` for results."""
    event = node.event
    if not computes(event.name) or not event.tensors:
        return None
    if any(
        computes(one.event.name) and one.event.name not in _STARTS for child in node.children for one in child.walk()
    ):
        return None
    arguments = sum(math.prod(shape) * ITEMSIZES[dtype] for shape, dtype in event.tensors)
    results = sum(one.nbytes for one in given if event.start <= one.start <= event.end and one.thread == event.thread)
    return float(arguments + results)
