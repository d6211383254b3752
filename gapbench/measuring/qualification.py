"""May this implementation be timed on this case? And what does one call of it cost besides time?"""

import time

from torch import Tensor, nn

from gapbench import inputs, operations, oracle
from gapbench.cases import Case
from gapbench.implementations import Function, Implementation
from gapbench.measuring import defence, probes
from gapbench.passes import Call, bind
from gapbench.records import Qualification


def qualify(case: Case, spec: str, seed: int) -> Qualification:
    """Judge one implementation on one case, and probe it if it passes. What it raises is the caller's to handle."""
    if not operations.is_user_spec(spec) and not operations.taken(spec):
        return Qualification("unsupported", f"there is no implementation {spec} in this checkout")
    implementation = operations.load(spec)
    if reason := implementation.why_not(case):
        return Qualification("unsupported", reason)
    compiled = implementation.family == "compiled"
    function = implementation.prepare(case)
    compile_seconds = _first_call(case, implementation, function, seed) if compiled else None
    judgement = oracle.examine(case, function, seed, implementation.truth)
    errors = judgement.max_error, judgement.max_error_ulp
    if judgement.reason:
        return Qualification("wrong", judgement.reason, *errors)
    x = defence.Untouched(inputs.sample(case, seed))
    call = _call(case, implementation, function, x.tensor, seed)
    if reason := implementation.proof() or defence.replaced_clock() or defence.work_elsewhere(call, case.threads):
        return Qualification("failed", reason, *errors)
    if not x:
        return Qualification("wrong", "changes its input, not in the first calls, but later", *errors)
    # Asked before other probes make the function compile for what is not measured.
    counted, code_path = probes.compilation() if compiled else None, implementation.code_path(function)
    footprint = probes.footprint(call) if case.device == "cpu" else None
    return Qualification(
        max_error=judgement.max_error,
        max_error_ulp=judgement.max_error_ulp,
        peak_extra_bytes=footprint.peak_extra_bytes if footprint else None,
        operators=footprint.operators if footprint else None,
        saved_bytes=probes.saved_bytes(case, function, x.tensor) if implementation.differentiable else None,
        compile_seconds=compile_seconds,
        code_path=code_path,
        graph_breaks=counted.graph_breaks if counted else None,
        recompilations=counted.recompilations if counted else None,
        parameters=probes.parameters(function) if isinstance(function, nn.Module) else None,
        warm_compile_seconds=_compile_again(case, implementation, seed) if compiled else None,  # forgets what ran
    )


def bound(case: Case, spec: str, seed: int) -> Call:
    """Return the call of an implementation that qualified, on an input of its own."""
    implementation = operations.load(spec)
    return _call(case, implementation, implementation.prepare(case), inputs.sample(case, seed), seed)


def _call(case: Case, implementation: Implementation, function: Function, x: Tensor, seed: int) -> Call:
    return bind(case, function, x, inputs.upstream(case, seed, implementation.truth.shape(case)))


def _first_call(case: Case, implementation: Implementation, function: Function, seed: int) -> float:
    x = inputs.sample(case, seed)
    start = time.perf_counter()
    _call(case, implementation, function, x, seed)()
    return time.perf_counter() - start


def _compile_again(case: Case, implementation: Implementation, seed: int) -> float:
    import torch

    torch.compiler.reset()  # forgets what is in memory; the cache on disk stays
    return _first_call(case, implementation, implementation.prepare(case), seed)
