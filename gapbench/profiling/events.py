"""Convert what a profiler recorded: events nested by thread, and a table of operators and kernels."""

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
MEMORY = "[memory]"  # the name of an event that allocates ``nbytes``, or frees them if negative


@dataclass(frozen=True, slots=True)
class Event:
    """One recorded event; times are integer nanoseconds from the beginning of the recording, which keeps them exact.

    ``device`` is True for a kernel on an accelerator. ``tensors`` are the shapes and dtypes of the tensor arguments.
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
        """The time of its end, in nanoseconds."""
        return self.start + self.nanoseconds

    @property
    def seconds(self) -> float:
        """Its duration in seconds."""
        return self.nanoseconds * 1e-9


@dataclass(frozen=True, slots=True)
class Node:
    """An event with its direct children."""

    event: Event
    children: list["Node"]

    @property
    def own_seconds(self) -> float:
        """The seconds of the event without those of its children."""
        return max(0, self.event.nanoseconds - sum(child.event.nanoseconds for child in self.children)) * 1e-9

    def walk(self) -> Iterator["Node"]:
        """Yield the node and all its descendants."""
        yield self
        for child in self.children:
            yield from child.walk()


def read(kineto: Any) -> list[Event]:
    """Read the events of Kineto (``profiler.kineto_results``), in order of time."""
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
            start=recorded.start_ns() - began, nanoseconds=recorded.duration_ns(),
            thread=recorded.start_thread_id(), device=on_device, tensors=tensors,
            nbytes=recorded.nbytes() if recorded.name() == MEMORY else 0,
        )  # fmt: skip
        events.append(event)
    return sorted(events, key=lambda event: (event.start, -event.nanoseconds))


def nested(events: Iterable[Event]) -> list[Node]:
    """Return the host's events as trees, by thread: a parent is the latest event that had started and not ended."""
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
    """Return the seconds during which at least one kernel ran on the accelerator; overlaps count once."""
    busy, until = 0, 0
    for event in sorted((event for event in events if event.device), key=lambda event: event.start):
        busy += max(0, event.end - max(event.start, until))
        until = max(until, event.end)
    return busy * 1e-9


ALLOCATES = ("aten::empty", "aten::new_empty", "aten::resize")

VIEWS = frozenset(
    f"aten::{name}"
    for name in (
        "alias", "as_strided", "as_strided_", "detach", "expand", "expand_as", "flatten", "lift_fresh", "narrow",
        "permute", "reshape", "result_type", "select", "slice", "squeeze", "t", "transpose", "unflatten", "unsqueeze",
        "view", "_reshape_alias", "_unsafe_view",
    )
) | {"detach"}  # fmt: skip
"""Operators that do not touch elements."""

_STARTS = frozenset({"aten::fill_", "aten::zero_"})  # a reduction starts with these; they touch only its output


@dataclass(frozen=True, slots=True)
class Operator:
    """All calls of one operator (or kernel) with arguments of the same dtypes, per call of the implementation.

    ``self_seconds`` is without the operators that it called. ``bytes`` are those of its tensors, arguments and results
    once each; None if it left the work to other operators, or if the shapes are unknown.
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
        """The bandwidth in 10^9 bytes per second of its own time."""
        return self.bytes / self.self_seconds / 1e9 if self.bytes and self.self_seconds > 0 else None


def allocates(name: str) -> bool:
    """Tell whether an operator only allocates memory."""
    return name.startswith(ALLOCATES)


def computes(name: str) -> bool:
    """Tell whether an operator may touch elements; others allocate memory or make views."""
    return not allocates(name) and name not in VIEWS


def table(roots: Sequence[Node], events: Iterable[Event], calls: int) -> list[Operator]:
    """Tabulate what ran beneath ``roots`` and on the accelerator, per call, most expensive first."""
    given = [event for event in events if event.name == MEMORY and event.nbytes > 0]
    work = [(node.event, node.own_seconds, moved(node, given)) for root in roots for node in root.walk()]
    work += [(event, event.seconds, None) for event in events if event.device]
    groups = defaultdict(list)
    for event, own, nbytes in work:
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
    """Return the bytes of an operator's arguments and ``given`` results; None without any, or if others compute."""
    event = node.event
    if not computes(event.name) or not event.tensors:
        return None
    beneath = [below.event.name for child in node.children for below in child.walk()]
    if any(computes(name) and name not in _STARTS for name in beneath):
        return None
    arguments = sum(math.prod(shape) * getattr(torch, dtype).itemsize for shape, dtype in event.tensors)
    own = [memory for memory in given if memory.thread == event.thread and event.start <= memory.start <= event.end]
    return float(arguments + sum(memory.nbytes for memory in own))
