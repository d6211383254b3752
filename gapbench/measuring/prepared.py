"""Load the contenders of one case in a process: import, compile and call each contender's function once."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import psutil
import torch
from torch import Tensor

from gapbench import operations
from gapbench.errors import is_out_of_memory
from gapbench.implementations import Function, Implementation
from gapbench.implementations.user import BrokenImplementationError
from gapbench.machine.devices import Accelerator, device
from gapbench.machine.telemetry import host, nvml
from gapbench.measuring import cheat_checks, probes, side_modules
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.plan import Source
from gapbench.measuring.protocol import DEVICE_FULL, DEVICE_LOST, Prepared
from gapbench.measuring.side_modules import SideModules
from gapbench.workloads import inputs
from gapbench.workloads.cases import DTYPES, Case
from gapbench.workloads.passes import Call, make_call


@dataclass(frozen=True, slots=True)
class CaseTask:
    """What a process loads: contender i is implementation ``i % len(specs)`` of side ``i // len(specs)``.

    ``sources`` are the sides' checkouts, ``contenders`` the indices that this process loads; ``seed`` determines its
    noise and the order of loading.
    """

    case: Case
    specs: tuple[str, ...]
    sources: tuple[Source, ...]
    contenders: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Contender:
    """A loaded contender: ``first_call`` are the seconds of its first call, compilation included."""

    implementation: Implementation
    function: Function
    first_call: float
    compilation: probes.Compilation | None


@dataclass(slots=True)
class PreparedCase:
    """The contenders of one case in this process, by index, and the noise that its inputs are made from."""

    task: CaseTask
    sides: SideModules
    noise: Tensor
    contenders: dict[int, Contender] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        """The case."""
        return self.task.case

    def activate(self, index: int) -> None:
        """Install the modules of contender ``index``'s side."""
        self.sides.activate(index // len(self.task.specs))

    def sample(self, seed: int) -> Tensor:
        """Return an input with this process's noise, and rows' means drawn from ``seed``."""
        return inputs.sample(self.case, seed, self.noise)

    def make_call(self, index: int, x: Tensor, gradient: Tensor) -> Call:
        """Return the call of contender ``index`` on an input."""
        self.activate(index)
        return make_call(self.case, self.contenders[index].function, x, gradient)


def prepare(task: CaseTask, current: CurrentContender) -> tuple[PreparedCase, Prepared]:
    """Load a task's contenders, or reject them with status and reason. Raises `MemoryError` if the case cannot fit."""
    case = task.case
    cheat_checks.remember()
    make_ready(case)
    loaded = PreparedCase(task, SideModules(task.sources, case.operation), inputs.noise(case, task.seed))
    x = loaded.sample(task.seed)
    rejected: dict[int, tuple[str, str]] = {}
    conflict = None
    several = len({index // len(task.specs) for index in task.contenders}) > 1
    state = side_modules.global_state()
    if len(task.sources) == 1:  # importing Dynamo sets some, and libraries have read them when the next one runs
        del state["environment variables"]
    for index in Random(task.seed).sample(task.contenders, len(task.contenders)):
        current.set(index)
        try:
            _load(loaded, index, x)
        except Exception as error:
            rejected[index] = status_of(error, case)
            end_if_lost(case)
        if reason := cheat_checks.replaced():
            rejected[index] = "failed", reason
        changed = None
        if conflict is None and len(task.contenders) > 1:
            changed = side_modules.conflict(state, side_modules.global_state())
        if several:
            conflict = conflict or changed
        elif changed and len(task.sources) == 1:
            side_modules.restore_state(state)
            rejected[index] = "failed", f"{changed}, in which others are measured too; leave that to the caller"
    current.clear()
    if several and conflict is None:
        conflict = _failed_on_one_side(task, rejected)
    for index in rejected:
        loaded.contenders.pop(index, None)
    first_call = {index: contender.first_call for index, contender in loaded.contenders.items()}
    forkable = case.device == "cpu" and psutil.Process().num_threads() == 1
    return loaded, Prepared(first_call, rejected, forkable, conflict)


def _load(loaded: PreparedCase, index: int, x: Tensor) -> None:
    task, case = loaded.task, loaded.case
    loaded.activate(index)
    spec = task.sources[index // len(task.specs)].spec(task.specs[index % len(task.specs)])
    if not operations.is_user_spec(spec) and not operations.taken(spec):
        raise RejectedError("unsupported", f"there is no implementation {spec} in this checkout")
    implementation = operations.load(spec)
    compiled = implementation.family == "compiled"
    # The preload of the CPU's compiler found out whether torch.compile works.
    compiler = sys.modules.get("gapbench.measuring.preload_compiler") if case.device == "cpu" else None
    if reason := implementation.unsupported_reason(case) or (compiled and getattr(compiler, "UNUSABLE", None)):
        raise RejectedError("unsupported", reason)
    function = implementation.prepare(case)
    gradient = inputs.upstream(case, task.seed, implementation.truth.shape(case))
    start = time.perf_counter()
    make_call(case, function, x, gradient)()  # compiles, allocates, fills caches
    device(case.device).synchronize()  # an error of its kernels is raised now, and not in the next contender's call
    first_call = time.perf_counter() - start
    if reason := implementation.proof():
        raise RejectedError("failed", reason)
    compilation = probes.compilation() if compiled else None
    loaded.contenders[index] = Contender(implementation, function, first_call, compilation)


def _failed_on_one_side(task: CaseTask, rejected: dict[int, tuple[str, str]]) -> str | None:
    """Return the reason of an implementation that only one side could load: sharing the process may be the cause."""
    count = len(task.specs)
    for index, (status, reason) in rejected.items():
        others = [other for other in task.contenders if other % count == index % count and other != index]
        if status == "failed" and any(other not in rejected for other in others):
            return reason
    return None


class RejectedError(Exception):
    """A contender cannot run on this case, or did not run as it claims; the message is the reason with its remedy."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def end_if_lost(case: Case) -> None:
    """End this process if its device is lost, so that the contender that is current bears it and no other."""
    try:
        device(case.device).synchronize()
    except Exception:
        os._exit(DEVICE_LOST)


def make_ready(case: Case) -> None:
    """Get this process ready for a case. Raises `MemoryError` where it would not fit the CPU's memory."""
    torch.set_num_threads(case.threads)
    target = device(case.device)
    if isinstance(target, Accelerator):
        _make_room(target, case)
        # A call from the other socket launches more slowly, and the scheduler moves processes between both.
        if near := target.near_cpus() & host.usable_cpus():
            os.sched_setaffinity(0, near)
        return
    # Two inputs with copies and the float32 noise that they are made from, and the same for the examiner. Checked
    # beforehand, because an operating system that overcommits memory would kill the process.
    needed, available = case.elements * (6 * DTYPES[case.dtype] + 3 * 4), psutil.virtual_memory().available
    if needed > available:
        raise MemoryError(f"the harness needs about {needed:,} bytes, {available:,} are available")


def _make_room(target: Accelerator, case: Case) -> None:
    """Make a device current. Raises `RejectedError` where others leave too little memory for two inputs and a flush."""
    needed, free = 2 * case.elements * DTYPES[case.dtype], 0
    try:
        target.make_current()
        free, total = target.torch.accelerator.get_memory_info(target.index)
        free += target.torch.accelerator.memory_reserved(target.index)  # by this process, which can use it
        needed += 2 * (target.cache_bytes or 0)
    except Exception as error:  # a backend may not tell, and a context may not fit
        total = needed if is_out_of_memory(error) else 0
    if free < needed <= total:
        others = "nvidia-smi lists them"
        with suppress(Exception), nvml.opened(target.name, target.uuid) as gpu:
            others = ", ".join(map(host.process, gpu.other_processes())) or others
        why = f"{free:,} bytes are free of {needed:,} that are needed, and other processes hold the rest ({others})"
        raise RejectedError("oom", f"{DEVICE_FULL}: {why}; end them, or choose another --device")


def status_of(error: Exception, case: Case) -> tuple[str, str]:
    """Return the status and reason for an exception."""
    if isinstance(error, (RejectedError, BrokenImplementationError)):
        return getattr(error, "status", "failed"), str(error)
    text = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
    if isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error):
        reason = f"out of memory, the case moves at least {case.bytes_moved:,} bytes; choose a smaller one ({text})"
        return "oom", reason
    return "failed", f"raised {text}"
