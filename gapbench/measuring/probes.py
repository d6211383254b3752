"""Measure once per implementation and case, outside timed batches: memory, operators, compilation."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor, nn

from gapbench.implementations import Function
from gapbench.machine.devices import Accelerator, Device
from gapbench.workloads import inputs
from gapbench.workloads.cases import Case

_REPETITIONS = 3


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory and operators of one call.

    ``peak_extra_bytes`` includes the output. ``operators`` is the number of ATen operators, nested ones too, 0 for code
    that Inductor generated. ``allocated_bytes`` is the sum of all allocations, None on an accelerator.
    """

    peak_extra_bytes: int | None
    operators: int
    allocated_bytes: int | None = None


def footprint(call: Callable[[], Tensor], device: Device) -> Footprint:
    """Return the footprint of one warm call by autograd's profiler; an accelerator's memory by its allocator."""
    call()
    target = device if isinstance(device, Accelerator) else None
    accelerator = device.torch.accelerator
    counts = target and hasattr(accelerator, "max_memory_allocated")  # torch 2.9
    device.synchronize()
    if target and counts:
        accelerator.reset_peak_memory_stats(target.index)
        before = accelerator.memory_allocated(target.index)
    # Not torch.profiler, which imports Dynamo (1.5 s in every worker).
    with silent_stderr(), torch.autograd.profiler.profile(profile_memory=target is None) as profiler:
        output = call()
    device.synchronize()
    # Kineto's own events, because torch's list of them merges allocations into the operators around them.
    events = sorted(profiler.kineto_results.events(), key=lambda event: event.start_ns())
    changes = [event.nbytes() for event in events if event.name() == "[memory]"]
    peak: int | None = max(accumulate(changes, initial=0))
    if target:
        peak = accelerator.max_memory_allocated(target.index) - before if counts else None
    del output
    operators = sum(event.name().startswith("aten::") for event in events)
    return Footprint(peak, operators, None if target else sum(max(0, size) for size in changes))


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr (Kineto does, at any log level)."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as discarded:
        os.dup2(discarded.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def saved_bytes(case: Case, function: Function, x: Tensor) -> int:
    """Return the bytes that autograd keeps for one call's backward pass, each storage once, weights not counted."""
    weights = function.parameters() if isinstance(function, nn.Module) else ()
    not_counted = {weight.untyped_storage().data_ptr() for weight in weights}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in not_counted:
            saved[storage.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function(x.detach().requires_grad_(case.elements > 0))
    return sum(saved.values())


def deterministic(call: Callable[[], Tensor]) -> bool:
    """Tell whether calls on the same input return the same bits."""
    first = call().clone()
    return all(inputs.same_bits(first, call()) for _ in range(_REPETITIONS))


def batch_invariant(case: Case, function: Function, x: Tensor) -> bool | None:
    """Tell whether the first sample alone gives the same bits as in its forward batch; None where undefined."""
    if case.pass_ != "forward" or case.n < 2 or not case.elements:
        return None
    alone = replace(case, shape=(1, *case.shape[1:]))
    try:
        y = function(inputs.empty(alone).copy_(x[:1]))
    except Exception:
        return None
    expected = function(x)[:1]
    return inputs.same_bits(y.contiguous(), expected.contiguous()) if y.shape == expected.shape else None


@dataclass(frozen=True, slots=True)
class Compilation:
    """Dynamo's counts since `forget_compilation`; graphs beyond those that breaks explain are recompilations."""

    graphs: int
    graph_breaks: int
    recompilations: int


def compilation() -> Compilation:
    """Read Dynamo's counters."""
    from torch._dynamo.utils import counters

    graphs, breaks = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    return Compilation(graphs, breaks, max(0, graphs - breaks - 1))


def forget_compilation() -> None:
    """Set Dynamo's counters to zero."""
    from torch._dynamo.utils import counters

    counters.clear()
