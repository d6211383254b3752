"""One round of one case, in a fresh process: make inputs, warm up, take turns, and check everything again."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from torch import Tensor

from gapbench import implementations, inputs, oracle, telemetry
from gapbench.cases import Case
from gapbench.measuring import clocks, defence, schedule
from gapbench.measuring.template import RunningContender
from gapbench.passes import bind


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
    """What a round measured; ``faults`` says per contender index why its numbers may not be used.

    ``telemetry`` are the columns of `records.SAMPLES` that say how the machine was meanwhile.
    """

    batches: schedule.Batches
    faults: dict[int, str] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundFailure:
    """A contender prevented the round; ``status`` and ``reason`` as in `Qualification`."""

    contender: int
    status: str
    reason: str


@dataclass(slots=True)
class _Bound:
    """A contender ready to be timed."""

    call: schedule.Call
    batch_calls: int


def measure(running: RunningContender, assignment: Assignment) -> RoundResult | RoundFailure:
    """Measure one round. All that is random (inputs, their place in memory, orders) follows from its seed.

    The turns are taken in two halves with different content in the same input memory, and the last outputs of each
    half are judged: an answer that was remembered instead of computed is wrong in one of them.
    """
    case = assignment.case
    gc.disable()
    rng = Random(assignment.seed)
    x = defence.Untouched(inputs.sample(case, assignment.seed))
    gradient = defence.Untouched(inputs.upstream(case, assignment.seed))
    expected = oracle.expect(case, x.tensor, gradient.tensor)
    clock = clocks.clock(assignment.clock)

    bound: dict[int, _Bound] = {}
    turn_seconds = 0.0
    for index in rng.sample(range(len(assignment.specs)), len(assignment.specs)):
        running.set(index)
        implementation = implementations.load(assignment.specs[index])
        call = bind(case, implementation.prepare(case), x.tensor, gradient.tensor)
        call()  # compiles, allocates, fills caches
        if reason := implementation.proof() or defence.replaced_clock():
            return RoundFailure(index, "failed", reason)
        batch_calls, seconds = schedule.calibrate(clock, call, assignment.batch_seconds)
        if not x:
            return RoundFailure(index, "wrong", "changes its input")
        bound[index] = _Bound(call, batch_calls)
        turn_seconds += seconds

    contenders = [bound[index] for index in range(len(assignment.specs))]
    turns = schedule.turns_within(assignment.slice_seconds, turn_seconds)
    batches = schedule.Batches()
    with telemetry.open_probe(case.device) as probe:
        readings = [probe.read()]
        for half in (turns - turns // 2, turns // 2):
            if batches.turn:
                other = assignment.seed ^ 1
                x.replace(inputs.sample(case, other))
                gradient.replace(inputs.upstream(case, other))
                expected = oracle.expect(case, x.tensor, gradient.tensor)
            outputs = schedule.play(
                clock,
                [one.call for one in contenders],
                [one.batch_calls for one in contenders],
                half,
                rng,
                running.set,
                batches,
            )
            readings.append(probe.read())
            if faults := _faults(case, x, contenders, outputs, expected):
                return RoundResult(batches, faults)
    return RoundResult(batches, {}, telemetry.between(*readings))


def _faults(
    case: Case,
    x: defence.Untouched,
    contenders: Sequence[_Bound],
    outputs: Sequence[Tensor],
    expected: oracle.Expected,
) -> dict[int, str]:
    """Return what is wrong after timing, by contender."""
    if not x:
        return _who_changes(x, contenders)
    return {
        index: f"was right when examined; after timing {reason}"
        for index, output in enumerate(outputs)
        if (reason := oracle.judge(case, output, expected).reason)
    }


def _who_changes(x: defence.Untouched, contenders: Sequence[_Bound]) -> dict[int, str]:
    """Find the contender that changes its input only now and then, by trying each alone."""
    for index, one in enumerate(contenders):
        x.restore()
        for _ in range(10 * one.batch_calls):
            one.call()
        if not x:
            return {index: "changes its input, not always, but while it is timed"}
    return dict.fromkeys(range(len(contenders)), "the input was changed while it was timed, and by whom is unknown")
