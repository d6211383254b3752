"""Profile one implementation on one case in a fresh worker, and write the trace and sources to a folder."""

import gc
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from msgspec import Struct, to_builtins

from gapbench import operations
from gapbench.implementations import Function, Implementation, inductor
from gapbench.machine.devices import Device, device
from gapbench.measuring import clocks, memory, prepared, probes
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.plan import HERE, Source
from gapbench.measuring.protocol import Answer, Channel
from gapbench.profiling import counters, sampling
from gapbench.profiling.split import PARTS, Split, split
from gapbench.workloads import inputs
from gapbench.workloads.cases import DTYPES, Case
from gapbench.workloads.passes import Call, make_call

_EXPLAINED = 2.0
_COUNTED_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Request:
    """A request to profile ``spec`` of ``source`` on ``case`` into ``folder``, in up to so many ``attempts``."""

    case: Case
    spec: str
    folder: Path = Path()
    most_trace_bytes: int = sampling.MOST_TRACE_BYTES
    source: Source = HERE
    attempts: int = 3


class Measured(Struct, frozen=True, kw_only=True, tag_field="status", tag="ok"):
    """A worker's profile, all figures per call; ``seconds`` are without the profiler, ``shares`` per cent of them."""

    reason: None = None
    family: str
    seconds: float
    shares: dict[str, float]
    page_faults: float
    page_fault_share: float
    one_element_seconds: float | None
    profiled_seconds: float
    calls: int
    attempts: int
    gbps: float | None
    operators: list[dict[str, Any]]
    peak_extra_bytes: int | None
    generated: dict[str, Any] | None
    counters: list[counters.Counter]
    trace_calls: int
    notes: list[str]


def profile(channel: Channel, current: CurrentContender, request: Request) -> None:  # noqa: ARG001
    """Send the profile as a document (see `gapbench.profiling.profiles`), or the reason for none."""
    try:
        request.source.activate(request.case.operation)
        prepared.make_ready(request.case)
        channel.send(Answer(to_builtins(_profile(request))))
    except Exception as error:
        status, reason = prepared.status_of(error, request.case)
        channel.send(Answer({"status": status, "reason": reason}))


def _profile(request: Request) -> Measured | dict[str, Any]:
    case, target = request.case, device(request.case.device)
    implementation = operations.load(request.source.spec(request.spec))
    if reason := implementation.unsupported_reason(case):
        return {"status": "unsupported", "reason": reason}
    gc.disable()
    kept = memory.shuffle_heap(Random(0))
    function, calls = _prepared(implementation, case, target)
    if reason := implementation.proof():
        return {"status": "failed", "reason": reason}
    if torch._C._autograd._profiler_enabled():
        reason = "the implementation left a profiler active; end it before the function returns"
        return {"status": "failed", "reason": reason}
    code, sources = _generated(function) if implementation.family == "compiled" else (None, {})
    traced = sampling.trace(calls[0], target, request.folder, request.most_trace_bytes)
    watched, one_element, parts, attempts, notes = _watch(implementation, calls, request, target)
    del kept
    rows, observed = watched.rows, watched.observed
    if observed.busy_seconds is not None and not any(row.device for row in rows):
        notes.append("the profiler recorded no kernel: the driver may restrict them to administrators")
    for name, source in sources.items():
        (request.folder / name).write_text(source, encoding="utf-8")
    return Measured(
        family=implementation.family, seconds=observed.seconds, shares={part: parts.share(part) for part in PARTS},
        page_faults=observed.faults, page_fault_share=100 * parts.fault_seconds / observed.seconds,
        one_element_seconds=one_element.observed.seconds if one_element else None,
        profiled_seconds=observed.profiled_seconds, calls=watched.calls, attempts=attempts,
        gbps=case.bytes_moved / observed.seconds / 1e9 if case.operation == "gap" and case.bytes_moved else None,
        operators=[asdict(row) | {"gbps": row.gbps} for row in rows], peak_extra_bytes=traced.peak_bytes,
        generated=code, counters=_counted(calls[0], observed.seconds, target), trace_calls=traced.calls,
        notes=notes + traced.notes,
    )  # fmt: skip


def _prepared(implementation: Implementation, case: Case, target: Device) -> tuple[Function, list[Call]]:
    function = implementation.prepare(case)
    copies = clocks.clock("host", target).rotations(case.elements * DTYPES[case.dtype]) if target.name == "cpu" else 1
    first = inputs.sample(case, 0)
    xs = [first, *(inputs.copy_at_random_offset(first, case, number) for number in range(1, copies))]
    gradient = inputs.upstream(case, 0, implementation.truth.shape(case))
    calls = [make_call(case, function, x, gradient) for x in xs]
    for call in calls:
        call()
    target.synchronize()
    return function, calls


def _generated(function: Function) -> tuple[dict[str, Any], dict[str, str]]:
    """Describe the code that Inductor generated for the last compiled function, and return its sources by file name.

    ``fallbacks`` are the operators of ATen (or an extern library) that are called instead of generated ``kernels``.
    """
    counted, sources = probes.compilation(), dict[str, str]()
    for is_backward, source in inductor.sources(function):
        stem = "backward" if is_backward else "generated"
        alike = sum(name.startswith(stem) for name in sources)
        sources[f"{stem}{alike + 1 if alike else ''}.py"] = source
    kernels = [kernel for source in sources.values() for kernel in inductor.kernels(source)]
    fallbacks = list(dict.fromkeys(name for source in sources.values() for name in inductor.fallbacks(source)))
    parts = []
    if kernels:
        names = [f"{name} ({count} times)" if count > 1 else name for name, count in Counter(kernels).items()]
        parts.append(f"generated {', '.join(names)}")
    if fallbacks:
        parts.append(f"left {', '.join(fallbacks)} to ATen")
    again = f"; recompilations: {counted.recompilations}" if counted.recompilations else ""
    text = f"Inductor {' and '.join(parts) or 'generated no kernel'}{again}"
    code = {
        "sentence": text if sources else "torch.compile kept no readable source", "kernels": kernels,
        "fallbacks": fallbacks, "graph_breaks": counted.graph_breaks, "recompilations": counted.recompilations,
    }  # fmt: skip
    return code, sources


def _watch(
    implementation: Implementation, calls: list[Call], request: Request, target: Device
) -> tuple[sampling.Watched, sampling.Watched | None, Split, int, list[str]]:
    """Sample the case and one element, again while too much is unexplained, and keep the best attempt."""
    case, notes = request.case, []
    small = replace(case, shape=(1,) * len(case.shape))
    try:
        if implementation.parameters(case):
            raise ValueError("its weights would not be smaller")
        if reason := implementation.unsupported_reason(small):
            raise ValueError(reason)
        _, small_calls = _prepared(implementation, small, target)
    except Exception as error:  # an implementation may rely on sizes
        small_calls = []
        notes.append(f"dispatch is counted as kernel, because one element could not be sampled: {error}")
    cost = sampling.seconds_per_fault(target) if target.name == "cpu" else 0.0
    tries: list[tuple[sampling.Watched, sampling.Watched | None, Split]] = []
    while len(tries) < request.attempts:
        least = sampling.watch(small_calls, target) if small_calls else None
        all_ = sampling.watch(calls, target)
        tries.append((all_, least, split(all_.observed, least.observed if least else None, cost)))
        if abs(tries[-1][2].share("unexplained")) <= _EXPLAINED:
            break
    watched, least, best = min(tries, key=lambda attempt: abs(attempt[2].share("unexplained")))
    if (left := best.share("unexplained")) and abs(left) > _EXPLAINED:
        notes.append(
            f"{left:+.1f} % of the time is unexplained: other work on the machine, or a call too short to divide"
        )
    return watched, least, best, len(tries), notes


def _counted(call: Call, seconds: float, target: Device) -> list[counters.Counter]:
    if target.name != "cpu":
        return []  # the parent asks ncu, which needs a process of its own
    calls = max(1, min(10_000, round(_COUNTED_SECONDS / seconds)))
    return counters.count(lambda: [call() for _ in range(calls)], calls)
