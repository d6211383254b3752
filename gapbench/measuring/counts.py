"""Count a process's instructions by Linux's perf events, without the harness's own share.

Those of the calling thread in user code: with several threads there is no count, since torch's pool is older than it.
Virtual machines and containers often refuse; then `instructions` is None, and `reason` says why.
"""

import ctypes
import os
import platform
import struct
from functools import cache, cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gapbench.measuring.clocks.base import Clock

HARDWARE, INSTRUCTIONS = 0, 1  # perf_event_attr.type and .config of retired instructions (linux/perf_event.h)
_SYSCALLS = {"x86_64": 298, "aarch64": 241}  # of perf_event_open
_SIZE = 128  # of perf_event_attr, the rest of which stays 0
_EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR = 1 << 5, 1 << 6
_CALLS = 100


class Counter:
    """An event counter of this thread: ``type`` and ``config`` as in perf_event_attr. Raises `OSError` if refused."""

    def __init__(self, kind: int = HARDWARE, config: int = INSTRUCTIONS) -> None:
        number = _SYSCALLS.get(platform.machine())
        if number is None or platform.system() != "Linux":
            raise OSError(0, f"perf events are not read on {platform.system()} {platform.machine()}")
        attributes = bytearray(_SIZE)
        struct.pack_into("=IIQ", attributes, 0, kind, _SIZE, config)
        struct.pack_into("=Q", attributes, 40, _EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR)
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = (ctypes.c_char * _SIZE).from_buffer(attributes)
        self._descriptor = libc.syscall(number, buffer, 0, -1, -1, 0)
        if self._descriptor < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"perf_event_open: {os.strerror(error)}")

    def read(self) -> int:
        """Return the count so far."""
        return int.from_bytes(os.read(self._descriptor, 8), "little")


def instructions() -> Counter | None:
    """Return this process's counter of instructions, None where it is refused, or other threads compute too."""
    return _instructions() if torch.get_num_threads() == 1 else None


@cache
def _instructions() -> Counter | None:
    try:
        return Counter()
    except OSError:
        return None


def reason() -> str | None:
    """Return why instructions cannot be counted here, None if they can."""
    try:
        Counter()
    except OSError as error:
        return str(error.strerror or error)
    return None


class Batches:
    """Counts what each batch of a clock adds per call, less what an empty call costs the same clock."""

    def __init__(self, clock: "Clock", counter: Counter | None = None) -> None:
        self._clock, self._counter = clock, counter

    @cached_property
    def _own(self) -> tuple[float, float]:
        """The harness's share of a batch and of each call, measured when it is this process's turn to compute."""
        assert self._counter is not None
        few, many = (min(self._empty(self._counter, count) for _ in range(3)) for count in (1, 1 + _CALLS))
        each = (many - few) / _CALLS
        return few - each * (1 + self._clock.uncounted_calls), each

    def _empty(self, counter: Counter, count: int) -> int:
        output = Tensor()
        before = counter.read()
        self._clock.batch([lambda: output], count)
        return counter.read() - before

    def begin(self) -> int | None:
        """Return the count before a batch."""
        return self._counter.read() if self._counter and self._own else None

    def per_call(self, before: int | None, count: int) -> float | None:
        """Return the instructions per call of the batch of ``count`` timed calls since ``before``."""
        if before is None or self._counter is None:
            return None
        added, (constant, each) = self._counter.read() - before, self._own
        return max(0.0, (added - constant) / (count + self._clock.uncounted_calls) - each)
