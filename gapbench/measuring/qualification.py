"""May this implementation be timed on this case? And what does one call of it cost besides time?"""

import time

from gapbench import implementations, inputs, oracle
from gapbench.cases import Case
from gapbench.implementations import Function, Implementation
from gapbench.measuring import defence, probes
from gapbench.passes import bind
from gapbench.records import Qualification


def qualify(case: Case, spec: str, seed: int) -> Qualification:
    """Judge one implementation on one case, and probe it if it passes. What it raises is the caller's to handle."""
    implementation = implementations.load(spec)
    compiled = implementation.family == "compiled"
    function = implementation.prepare(case)
    compile_seconds = _first_call(case, function, seed) if compiled else None
    judgement = oracle.examine(case, function, seed)
    errors = judgement.max_error, judgement.max_error_ulp
    if judgement.reason:
        return Qualification("wrong", judgement.reason, *errors)
    x, gradient = defence.Untouched(inputs.sample(case, seed)), inputs.upstream(case, seed)
    call = bind(case, function, x.tensor, gradient)
    if reason := implementation.proof() or defence.replaced_clock() or defence.work_elsewhere(call, case.threads):
        return Qualification("failed", reason, *errors)
    if not x:
        return Qualification("wrong", "changes its input, not in the first calls, but later", *errors)
    counted = probes.compilation() if compiled else None
    footprint = probes.footprint(call) if case.device == "cpu" else None
    return Qualification(
        max_error=judgement.max_error,
        max_error_ulp=judgement.max_error_ulp,
        peak_extra_bytes=footprint.peak_extra_bytes if footprint else None,
        operators=footprint.operators if footprint else None,
        saved_bytes=probes.saved_bytes(case, function, x.tensor) if implementation.differentiable else None,
        compile_seconds=compile_seconds,
        warm_compile_seconds=_compile_again(case, implementation, seed) if compiled else None,
        graph_breaks=counted.graph_breaks if counted else None,
        recompilations=counted.recompilations if counted else None,
    )


def _first_call(case: Case, function: Function, seed: int) -> float:
    x, gradient = inputs.sample(case, seed), inputs.upstream(case, seed)
    start = time.perf_counter()
    bind(case, function, x, gradient)()
    return time.perf_counter() - start


def _compile_again(case: Case, implementation: Implementation, seed: int) -> float:
    import torch

    torch.compiler.reset()  # forgets what is in memory; the cache on disk stays
    return _first_call(case, implementation.prepare(case), seed)
