"""What runs in a fresh worker process: qualify one implementation, or measure one round of one case."""

import gc
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random

import torch

from gapbench import implementations, inputs, oracle
from gapbench.cases import Case
from gapbench.implementations.user import BrokenImplementationError
from gapbench.measuring import clocks, schedule
from gapbench.measuring.template import RunningContender
from gapbench.passes import bind


@dataclass(frozen=True, slots=True)
class Qualification:
    """Whether an implementation may be timed on a case: a status of `records.STATUSES` and, if not ok, why."""

    status: str = "ok"
    reason: str | None = None
    max_error: float | None = None
    max_error_ulp: float | None = None
    compile_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One round of one case: ``specs`` name the contenders, ``seed`` makes this round's inputs and orders."""

    case: Case
    specs: tuple[str, ...]
    clock: str
    seed: int
    slice_seconds: float
    batch_seconds: float


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round measured; ``faults`` says per contender index what was wrong with its last timed output."""

    batches: schedule.Batches
    faults: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundFailure:
    """A contender raised, so that the round has no result; ``status`` and ``reason`` as in `Qualification`."""

    contender: int
    status: str
    reason: str


def qualify(connection: Connection, running: RunningContender, case: Case, spec: str, seed: int) -> None:  # noqa: ARG001
    """Judge one implementation on one case and send its `Qualification`."""
    torch.set_num_threads(case.threads)
    try:
        connection.send(_qualification(case, spec, seed))
    except Exception as error:
        connection.send(Qualification(*_status_of(error, case)))


def _qualification(case: Case, spec: str, seed: int) -> Qualification:
    implementation = implementations.load(spec)
    function = implementation.prepare(case)
    compile_seconds = None
    if implementation.family == "compiled":
        x, gradient = inputs.sample(case, seed), inputs.upstream(case, seed)
        start = time.perf_counter()
        bind(case, function, x, gradient)()
        compile_seconds = time.perf_counter() - start
    judgement = oracle.examine(case, function, seed)
    reason = judgement.reason or implementation.proof()
    status = "wrong" if judgement.reason else "failed" if reason else "ok"
    return Qualification(status, reason, judgement.max_error, judgement.max_error_ulp, compile_seconds)


def _status_of(error: Exception, case: Case) -> tuple[str, str]:
    """Return the status and the reason that an exception amounts to."""
    if isinstance(error, BrokenImplementationError):
        return "failed", str(error)
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    # Backends differ in how they say it: a type of their own, Python's, or a plain RuntimeError.
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in text.lower():
        return "oom", f"out of memory; the case moves {case.bytes_moved:,} bytes at least ({text})"
    return "failed", f"raised {text}"


def measure_round(connection: Connection, running: RunningContender, assignment: Assignment) -> None:
    """Measure one round of one case and send its `RoundResult`, or the `RoundFailure` that prevented it."""
    try:
        connection.send(_round(running, assignment))
    except Exception as error:
        connection.send(RoundFailure(running.get(), *_status_of(error, assignment.case)))


def _round(running: RunningContender, assignment: Assignment) -> RoundResult | RoundFailure:
    """Measure one round. All that is random (inputs, their place in memory, orders) follows from its seed."""
    case = assignment.case
    torch.set_num_threads(case.threads)
    gc.disable()
    rng = Random(assignment.seed)
    x, gradient = inputs.sample(case, assignment.seed), inputs.upstream(case, assignment.seed)
    untouched = x.clone()
    expected = oracle.expect(case, x, gradient)
    clock = clocks.clock(assignment.clock)

    contenders = range(len(assignment.specs))
    calls: dict[int, schedule.Call] = {}
    batch_calls: dict[int, int] = {}
    turn_seconds = 0.0
    for index in rng.sample(contenders, len(contenders)):
        running.set(index)
        implementation = implementations.load(assignment.specs[index])
        calls[index] = bind(case, implementation.prepare(case), x, gradient)
        calls[index]()  # compiles, allocates, fills caches
        if reason := implementation.proof():
            return RoundFailure(index, "failed", reason)
        batch_calls[index], seconds = schedule.calibrate(clock, calls[index], assignment.batch_seconds)
        turn_seconds += seconds

    batches, outputs = schedule.play(
        clock,
        [calls[index] for index in contenders],
        [batch_calls[index] for index in contenders],
        schedule.turns_within(assignment.slice_seconds, turn_seconds),
        rng,
        running.set,
    )
    if not torch.equal(x, untouched):
        return RoundResult(batches, dict.fromkeys(contenders, "the input was changed while this round was timed"))
    faults = {
        index: f"was right when examined; after timing {reason}"
        for index, output in enumerate(outputs)
        if (reason := oracle.judge(case, output, expected).reason)
    }
    return RoundResult(batches, faults)
