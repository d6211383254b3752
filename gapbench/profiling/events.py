"""What a profiler recorded, freed of the profiler: events with a beginning and a duration, nested by thread."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

ITEMSIZES = {
    "float32": 4, "bfloat16": 2, "float16": 2, "float64": 8, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1,
}  # fmt: skip
"""Bytes of an element by dtype."""

_DTYPES = {
    "float": "float32", "c10::BFloat16": "bfloat16", "c10::Half": "float16", "double": "float64", "long int": "int64",
    "long": "int64", "int": "int32", "short int": "int16", "signed char": "int8", "unsigned char": "uint8",
    "bool": "bool",
}  # fmt: skip
_GRAPH = re.compile(r"## Call CompiledFxGraph \w+ ##")
_REGION = re.compile(r"Torch-Compiled Region: \S+")
GENERATED = "Inductor's generated code"

MEMORY = "[memory]"
"""The name of an event that is no work: ``nbytes`` were allocated, or freed where that is negative."""


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
    children: tuple["Node", ...]

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
    began = kineto.trace_start_ns()
    found = [_event(one, began) for one in kineto.events() if not (_on_device(one) and one.is_user_annotation())]
    return sorted(found, key=lambda event: (event.start, -event.nanoseconds))


def _on_device(one: Any) -> bool:
    return not str(one.device_type()).endswith("CPU")


def _event(one: Any, began: int) -> Event:
    tensors = tuple(
        (tuple(shape), _DTYPES[dtype])
        for shape, dtype in zip(one.shapes(), one.dtypes(), strict=False)
        if dtype in _DTYPES and all(isinstance(size, int) for size in shape)
    )
    return Event(
        name=_REGION.sub("Torch-Compiled Region", _GRAPH.sub(GENERATED, one.name())),
        start=one.start_ns() - began,
        nanoseconds=one.duration_ns(),
        thread=one.start_thread_id(),
        device=_on_device(one),
        tensors=tensors,
        nbytes=one.nbytes() if one.name() == MEMORY else 0,
    )


def nested(events: Iterable[Event]) -> list[Node]:
    """Return the host's events as trees, those of all threads one after the other.

    An event lies beneath the latest one of its thread that had begun and was not over.
    """
    threads: dict[int, list[Event]] = {}
    for event in events:
        if not event.device and event.name != MEMORY:
            threads.setdefault(event.thread, []).append(event)
    return [node for own in threads.values() for node in _trees(own)]


def _trees(events: list[Event]) -> list[Node]:
    roots: list[Node] = []
    open_: list[tuple[Event, list[Node]]] = []

    def close() -> None:
        event, children = open_.pop()
        (open_[-1][1] if open_ else roots).append(Node(event, tuple(children)))

    for event in sorted(events, key=lambda one: (one.start, -one.nanoseconds)):
        while open_ and open_[-1][0].end <= event.start:
            close()
        open_.append((event, []))
    while open_:
        close()
    return roots


def busy_seconds(events: Iterable[Event]) -> float:
    """Return for how long at least one kernel ran on the accelerator: overlapping ones count once."""
    busy, until = 0, 0
    for event in sorted((one for one in events if one.device), key=lambda one: one.start):
        busy += max(0, event.end - max(event.start, until))
        until = max(until, event.end)
    return busy * 1e-9
