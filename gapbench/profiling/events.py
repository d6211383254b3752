"""What a profiler recorded, freed of the profiler: events nested by thread, and a table of operators and kernels."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_DTYPES = {
    "float": "float32", "c10::BFloat16": "bfloat16", "c10::Half": "float16", "double": "float64", "long int": "int64",
    "long": "int64", "int": "int32", "short int": "int16", "signed char": "int8", "unsigned char": "uint8",
    "bool": "bool",
}  # fmt: skip
_GRAPH = re.compile(r"## Call CompiledFxGraph \w+ ##")
_REGION = re.compile(r"Torch-Compiled Region: \S+")
GENERATED = "Inductor's generated code"

MEMORY = "[memory]"  # the name of an event that is no work: ``nbytes`` were allocated, or freed where that is negative


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was recorded, times in nanoseconds from the beginning of the recording: whole ones, to be exact.

    ``device`` tells a kernel on an accelerator from what the host did. ``tensors`` are shape and dtype of those
    arguments that are tensors, in their order.
    """

    name: str
    start: int
    nanoseconds: int = 0
    thread: int = 0
    device: bool = False
    tensors: tuple[tuple[tuple[int, ...], str], ...] = ()
    nbytes: int = 0

    @property
    def end(self) -> int:
        """When it was over."""
        return self.start + self.nanoseconds

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.nanoseconds * 1e-9


@dataclass(frozen=True, slots=True)
class Node:
    """An event with what lies directly beneath it."""

    event: Event
    children: list["Node"]

    @property
    def own_seconds(self) -> float:
        """Return its time without that of its children."""
        return max(0, self.event.nanoseconds - sum(child.event.nanoseconds for child in self.children)) * 1e-9

    def walk(self) -> Iterator["Node"]:
        """Yield it and all beneath it."""
        yield self
        for child in self.children:
            yield from child.walk()


def read(kineto: Any) -> list[Event]:
    """Return what Kineto recorded (``profiler.kineto_results``), in order of time."""
    events, began = [], kineto.trace_start_ns()
    for recorded in kineto.events():
        on_device = not str(recorded.device_type()).endswith("CPU")
        if on_device and recorded.is_user_annotation():
            continue
        tensors = tuple(
            (tuple(shape), _DTYPES[dtype])
            for shape, dtype in zip(recorded.shapes(), recorded.dtypes(), strict=False)
            if dtype in _DTYPES and all(isinstance(size, int) for size in shape)
        )
        event = Event(
            name=_REGION.sub("Torch-Compiled Region", _GRAPH.sub(GENERATED, recorded.name())),
            start=recorded.start_ns() - began,
            nanoseconds=recorded.duration_ns(),
            thread=recorded.start_thread_id(),
            device=on_device,
            tensors=tensors,
            nbytes=recorded.nbytes() if recorded.name() == MEMORY else 0,
        )
        events.append(event)
    return sorted(events, key=lambda event: (event.start, -event.nanoseconds))


def nested(events: Iterable[Event]) -> list[Node]:
    """Return the host's events as trees, those of all threads one after the other.

    An event lies beneath the latest one of its thread that had begun and was not over.
    """
    roots, open_ = defaultdict[int, list[Node]](list), defaultdict[int, list[Node]](list)
    work = (event for event in events if not event.device and event.name != MEMORY)
    for event in sorted(work, key=lambda event: (event.start, -event.nanoseconds)):
        above = open_[event.thread]
        while above and above[-1].event.end <= event.start:
            above.pop()
        node = Node(event, [])
        (above[-1].children if above else roots[event.thread]).append(node)
        above.append(node)
    return [node for own in roots.values() for node in own]


def busy_seconds(events: Iterable[Event]) -> float:
    """Return for how long at least one kernel ran on the accelerator: overlapping ones count once."""
    busy, until = 0, 0
    for event in sorted((event for event in events if event.device), key=lambda event: event.start):
        busy += max(0, event.end - max(event.start, until))
        until = max(until, event.end)
    return busy * 1e-9


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

_STARTS = frozenset({"aten::fill_", "aten::zero_"})  # what a reduction begins with; it touches its output only


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
    given = [event for event in events if event.name == MEMORY and event.nbytes > 0]
    seen = [(node.event, node.own_seconds, moved(node, given)) for root in roots for node in root.walk()]
    seen += [(event, event.seconds, None) for event in events if event.device]
    groups = defaultdict(list)
    for event, own, nbytes in seen:
        dtypes = tuple(dtype for _, dtype in event.tensors)
        groups[event.name, dtypes, event.device].append((own, event.seconds, nbytes))
    rows = []
    for (name, dtypes, device), group in groups.items():
        own, total = sum(own for own, _, _ in group) / calls, sum(seconds for _, seconds, _ in group) / calls
        sizes = [nbytes for _, _, nbytes in group if nbytes is not None]
        nbytes = sum(sizes) / calls if len(sizes) == len(group) else None
        rows.append(Operator(name, dtypes, len(group) / calls, own, total, nbytes or None, device))
    return sorted(rows, key=lambda row: -row.self_seconds)


def moved(node: Node, given: Sequence[Event]) -> float | None:
    """Return the bytes of an operator's tensors: its arguments, and the memory that it was ``given`` for results."""
    event = node.event
    if not computes(event.name) or not event.tensors:
        return None
    beneath = [below.event.name for child in node.children for below in child.walk()]
    if any(computes(name) and name not in _STARTS for name in beneath):
        return None
    arguments = sum(math.prod(shape) * getattr(torch, dtype).itemsize for shape, dtype in event.tensors)
    own = [memory for memory in given if memory.thread == event.thread and event.start <= memory.start <= event.end]
    return float(arguments + sum(memory.nbytes for memory in own))
