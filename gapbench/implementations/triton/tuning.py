"""The choice among plans: timed once per case on its device, and remembered.

Triton's own benchmark does the timing (device events, the L2 cache cleared before every call), and Triton's cache
folder does the remembering, beside the compiled kernels, so that every worker process of a run takes the same plan.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import triton
from torch import Tensor
from triton.runtime.cache import get_cache_manager
from triton.runtime.errors import OutOfResources

from gapbench.implementations.triton import kernels
from gapbench.implementations.triton.plans import Chip, Plan

_FILE = "gapbench.plan.txt"
_WARMUP_MS, _REPEAT_MS = 5, 20


def chip(device: str) -> Chip:
    """Return what plans need to know of a device; an H100's figures for what torch does not describe."""
    if not device.startswith("cuda"):
        return Chip()
    properties = torch.cuda.get_device_properties(device)
    return Chip(properties.multi_processor_count, getattr(properties, "warp_size", Chip().lanes))


def can_time(x: Tensor) -> bool:
    """Tell whether launches on ``x`` can be timed: not in the interpreter, nor while a graph is captured."""
    capturing = x.is_cuda and torch.cuda.is_current_stream_capturing()
    return not (x.is_cpu or capturing or x.numel() == 0)


def milliseconds(call: Callable[[], object]) -> float:
    """Return the median device time of one call with a cold L2 cache; infinite where the GPU cannot hold its tile."""
    try:
        return float(triton.testing.do_bench(call, warmup=_WARMUP_MS, rep=_REPEAT_MS, return_mode="median"))
    except OutOfResources:
        return float("inf")


class Memory:
    """The plan that was chosen among ``plans`` for a workload on a device, in Triton's cache folder.

    Another GPU, another version of Triton or of torch, another kernel or another list of plans is another memory.
    """

    def __init__(self, plans: Sequence[Plan], device: torch.device, *workload: object) -> None:
        gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        source = Path(kernels.__file__).read_text(encoding="utf-8")
        identity = (source, triton.__version__, torch.__version__, gpu, *map(str, (*plans, *workload)))
        self._plans = {str(plan): plan for plan in plans}
        self._cache = get_cache_manager(hashlib.sha256(json.dumps(identity).encode()).hexdigest())

    def recall(self) -> Plan | None:
        """Return the plan that `remember` was told, by whichever process; None where it was told none."""
        path = self._cache.get_file(_FILE)
        return None if path is None else self._plans.get(Path(path).read_text(encoding="utf-8"))

    def remember(self, plan: Plan) -> None:
        """Store the choice."""
        self._cache.put(str(plan), _FILE, binary=False)


def choose(plans: Sequence[Plan], time: Callable[[Plan], float], memory: Memory) -> Plan:
    """Return the plan of the least ``time``, the earlier of equals; the remembered one, or the only one, untimed."""
    if len(plans) == 1:
        return plans[0]
    chosen = memory.recall()
    if chosen is None:
        chosen = min(plans, key=time)
        memory.remember(chosen)
    return chosen
