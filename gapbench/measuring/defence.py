"""What an implementation may not do to look fast, and how it is caught. Nothing here runs inside a timed batch.

The oracle catches wrong answers, also those given only after timing. These checks catch right answers whose work was
not timed: done on other threads, with a replaced clock, or remembered from an earlier call.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

_CLOCKS = {
    name: getattr(time, name)
    for name in ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time", "time_ns", "process_time")
}
_thread_time_ns, _process_time_ns, _perf_counter = time.thread_time_ns, time.process_time_ns, time.perf_counter

_ELSEWHERE_ALLOWED = 0.1
_WATCH_SECONDS = (0.01, 0.03, 0.1)
"""The system's two counters are read one after the other, and may move in steps of milliseconds: on a busy machine, a
watch of 10 ms accused honest code. Whoever works elsewhere does so in all of them."""


def replaced_clock() -> str | None:
    """Return which clock of the time module was replaced since gapbench was loaded, or None; and put all back."""
    for name, original in _CLOCKS.items():
        if getattr(time, name) is not original:
            for every, genuine in _CLOCKS.items():
                setattr(time, every, genuine)  # whoever is looked at next has not done this
            return f"replaces time.{name}; an implementation may not touch clocks"
    return None


def work_elsewhere(call: Callable[[], Tensor], threads: int) -> str | None:
    """Return what share of the calls' processor time other threads than the caller's spent, if that is much.

    Only meaningful for one thread: with more, OpenMP's are meant to work. Runs ``call`` for about 10 ms, and for longer
    where that seems much.
    """
    if threads > 1:
        return None
    elsewhere = 1.0
    for seconds in _WATCH_SECONDS:
        started, caller, process = _perf_counter(), _thread_time_ns(), _process_time_ns()
        while _perf_counter() - started < seconds:
            call()
        caller, process = _thread_time_ns() - caller, _process_time_ns() - process
        elsewhere = min(elsewhere, 1 - caller / process if process else 0.0)
        if elsewhere <= _ELSEWHERE_ALLOWED:
            return None
    return (
        f"{elsewhere:.0%} of its processor time was spent on other threads than the caller's, though the case "
        "allows one; compute in the calling thread, or measure with --threads"
    )


_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _bits(tensor: Tensor) -> tuple[Tensor, ...]:
    """Return a tensor's bits as integers, eight bytes at a time where that is possible.

    Comparing bfloat16 takes eight times as long, and a NaN would differ from itself.
    """
    integers = tensor.view(_INTEGERS[tensor.element_size()])
    count = tensor.numel() * tensor.element_size()
    dense = count == 0 or tensor.numel() == 1 + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    if not dense or tensor.storage_offset() * tensor.element_size() % 8:
        return (integers,)
    flat = integers.as_strided((tensor.numel(),), (1,))
    whole = count // 8 * 8 // tensor.element_size()
    return flat[:whole].view(torch.int64), flat[whole:]


class Untouched:
    """A tensor that nobody but the harness may change, with a copy to tell by."""

    def __init__(self, tensor: Tensor, copy: Tensor | None = None) -> None:
        self.tensor = tensor
        self._copy = tensor.clone() if copy is None else copy

    def __bool__(self) -> bool:
        """Tell whether the tensor still holds what it should."""
        return all(map(torch.equal, _bits(self.tensor), _bits(self._copy)))

    def restore(self) -> None:
        """Put back what it should hold."""
        self.replace(self._copy)

    def replace(self, content: Tensor) -> None:
        """Put other content in the same memory, so that an answer remembered for this tensor becomes wrong.

        Autograd does not notice: the graph of the backward pass, recorded once, may have saved the tensor.
        """
        self.tensor.data.copy_(content)
        if content is not self._copy:
            self._copy.copy_(content)
