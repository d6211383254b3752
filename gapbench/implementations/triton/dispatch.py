"""The function for a case: its first call times the plans and stores the choice in Triton's cache folder."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import triton
from torch import Tensor
from triton.runtime.cache import get_cache_manager
from triton.runtime.errors import OutOfResources

from gapbench.implementations.triton import kernels, op
from gapbench.implementations.triton.plans import FORWARD, Chip, Geometry, Plan, backward_plans, forward_plans
from gapbench.workloads.cases import Case

_WORTH = 0.97
_FILE = "gapbench.plan.txt"
_WARMUP_MS, _REPEAT_MS = 5, 20


def chip_of(device: str) -> Chip:
    """Return a device's figures for plans; an H100's where torch does not give them."""
    if not device.startswith("cuda"):
        return Chip()
    properties = torch.cuda.get_device_properties(device)
    return Chip(properties.multi_processor_count, getattr(properties, "warp_size", Chip().lanes))


def can_time(x: Tensor) -> bool:
    """Tell whether launches on ``x`` can be timed: not in the interpreter, and not while a graph is captured."""
    capturing = x.is_cuda and torch.cuda.is_current_stream_capturing()
    return not (x.is_cpu or capturing or x.numel() == 0)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the median device time of one call with a cold L2 cache; infinite where the GPU cannot hold its tile."""
    try:
        return float(triton.testing.do_bench(call, warmup=_WARMUP_MS, rep=_REPEAT_MS, return_mode="median"))
    except OutOfResources:
        return float("inf")


class Memory:
    """The plan chosen for a workload, in Triton's cache folder; the key has GPU, versions, kernels and plans."""

    def __init__(self, plans: Sequence[Plan], device: torch.device, *workload: object) -> None:
        gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        source = Path(kernels.__file__).read_text(encoding="utf-8")
        identity = (source, triton.__version__, torch.__version__, gpu, *map(str, (*plans, *workload)))
        self._plans = {str(plan): plan for plan in plans}
        self._cache = get_cache_manager(hashlib.sha256(json.dumps(identity).encode()).hexdigest())

    def recall(self) -> Plan | None:
        """Return the plan that `remember` stored in this or another process, or None."""
        path = self._cache.get_file(_FILE)
        return None if path is None else self._plans.get(Path(path).read_text(encoding="utf-8"))

    def remember(self, plan: Plan) -> None:
        """Store the choice."""
        self._cache.put(str(plan), _FILE, binary=False)


def choose(plans: Sequence[Plan], time: Callable[[Plan], float], memory: Memory | None = None) -> Plan:
    """Return the remembered or only plan; otherwise time all, and return the fastest.

    The first is left only for one more than 3 % faster: another choice in each process would look like changed code.
    """
    if len(plans) == 1:
        return plans[0]
    chosen = memory.recall() if memory else None
    if chosen is None:
        times = [time(plan) for plan in plans]
        best = min(range(len(plans)), key=times.__getitem__)
        chosen = plans[best if times[best] < _WORTH * times[0] else 0]
        if memory:
            memory.remember(chosen)
    return chosen


class Gap:
    """GAP for the shape, dtype and layout of one case, by one ``kernel`` or by the fastest plan of all.

    Other strides are slower. The first call times the plans of the case's pass for about a second; where calls cannot
    be timed (inside ``torch.compile``, a graph's capture, the interpreter), arithmetic chooses.
    """

    def __init__(self, case: Case, kernel: str | None = None) -> None:
        geometry, chip = Geometry.of(case), chip_of(case.device)
        forward = forward_plans(geometry, chip) if kernel is None else FORWARD[kernel](geometry, chip)
        backward = backward_plans(geometry, chip, kernel)
        timed = {"forward": forward, "backward": backward}
        self._geometry = geometry
        self._chosen = {pass_: str(plans[0]) for pass_, plans in timed.items()}
        self._untimed = timed if case.pass_ == "training" else {case.pass_: timed[case.pass_]}
        self._passes = tuple(self._untimed)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the average of x (N, C, *spatial) as (N, C, 1, ..., 1)."""
        if self._untimed and not torch.compiler.is_compiling() and can_time(x):
            self._tune(x.detach())
        y: Tensor = op.gap(x, self._chosen["forward"], self._chosen["backward"])
        return y

    @property
    def plan(self) -> str:
        """The text of the plan of the case's pass, of both passes in training."""
        return "; ".join(self._chosen[pass_] for pass_ in self._passes)

    def _tune(self, x: Tensor) -> None:
        untimed, self._untimed = self._untimed, {}
        gradient, order = x.new_ones((x.shape[0], x.shape[1], *(1 for _ in x.shape[2:]))), op.storage_order(x)
        timers = {
            "forward": lambda plan: milliseconds(lambda: op.gap(x, str(plan), self._chosen["backward"])),
            "backward": lambda plan: milliseconds(lambda: op.gap_backward(gradient, x.shape, order, str(plan))),
        }
        for pass_, candidates in untimed.items():
            memory = Memory(candidates, x.device, self._geometry, x.dtype)
            self._chosen[pass_] = str(choose(candidates, timers[pass_], memory))
