"""One round of one case in a fresh process: make inputs, warm up, take turns by every clock, check all again."""

import gc
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from random import Random
from typing import Any

from torch import Tensor

from gapbench import inputs, operations, oracle, telemetry
from gapbench.cases import DTYPES, Case
from gapbench.devices import device
from gapbench.implementations import Function
from gapbench.measuring import clocks, defence, heap, schedule
from gapbench.measuring.relay import ALONE, Calibrated, Peers
from gapbench.measuring.template import RunningContender
from gapbench.passes import Call, bind, expect
from gapbench.truth import Expected, Truth


@dataclass(frozen=True, slots=True)
class Assignment:
    """One round of one case.

    ``specs`` name the contenders; ``entries`` say by clock which of them, by index, it times. ``seed`` makes this
    round's inputs, their places in memory, and orders. The turns end with the slice, or after ``most_turns``.
    """

    case: Case
    specs: tuple[str, ...]
    entries: Mapping[str, tuple[int, ...]]
    seed: int
    slice_seconds: float
    batch_seconds: float
    most_turns: int = schedule.MOST_TURNS


@dataclass(frozen=True, slots=True)
class Fault:
    """Why numbers may not be used: a contender's, or everyone's (None); by one clock, or by any (None)."""

    contender: int | None
    status: str
    reason: str
    clock: str | None = None


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round measured, by clock.

    ``preparations`` are the clocks' own findings (event floor, launch time), ``slowdowns`` how much longer the device
    took for a fixed piece of work in its worst batch than at the start, ``telemetry`` the columns of
    `records.SAMPLES` that say how the machine was meanwhile.
    """

    batches: Mapping[str, schedule.Batches]
    preparations: Mapping[str, dict[str, float | None]] = field(default_factory=dict)
    slowdowns: Mapping[str, float] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Question:
    """What is asked of those with the same truth: the gradient that is sent back, and the answer."""

    gradient: defence.Untouched
    expected: Expected
    later: tuple[Tensor, Expected]
    """Gradient and answer for the content of the second half."""

    def turn(self) -> None:
        """Ask the same of the content of the second half."""
        gradient, self.expected = self.later
        self.gradient.replace(gradient)


class _Inputs:
    """The inputs of a round: the same content at several places in memory, replaced half-way through the turns.

    Everything for both halves is made beforehand: temporaries of that size in between would change where in memory
    the implementations' own lie in the second half.
    """

    def __init__(self, case: Case, seed: int, rotations: int, rng: Random) -> None:
        self._case, self._seeds = case, (seed, seed ^ 1)
        first, self._later = (inputs.sample(case, one) for one in self._seeds)
        others = [inputs.place(first, case, rng.getrandbits(32)) for _ in range(rotations - 1)]
        self.xs = [defence.Untouched(x) for x in (first, *others)]
        self._questions: dict[object, _Question] = {}

    def question(self, truth: Truth, function: Function) -> _Question:
        """Return what ``function`` is asked; one question serves all of one truth."""
        key = function if self._case.pass_ == "update" else truth  # an update is judged by the weights it began with
        if key not in self._questions:
            gradients = [inputs.upstream(self._case, seed, truth.shape(self._case)) for seed in self._seeds]
            first, later = (
                expect(self._case, truth, function, x, gradient)
                for x, gradient in zip((self.xs[0].tensor, self._later), gradients, strict=True)
            )
            self._questions[key] = _Question(defence.Untouched(gradients[0]), first, (gradients[1], later))
        return self._questions[key]

    def turn(self) -> None:
        """Put other content in the same memory: what was remembered instead of computed becomes wrong."""
        for x in self.xs:
            x.replace(self._later)
        for one in self._questions.values():
            one.turn()

    def restore(self) -> None:
        for x in self.xs:
            x.restore()

    @property
    def untouched(self) -> bool:
        return all(self.xs)


@dataclass(slots=True)
class _Entrant:
    """A contender's function, what it is asked, and its call on each input."""

    case: Case
    function: Function
    question: _Question
    calls: list[Call] = field(default_factory=list)

    def bind(self, shared: _Inputs) -> None:
        """Make the calls, for the content that the inputs have now."""
        gradient = self.question.gradient.tensor
        self.calls = [bind(self.case, self.function, x.tensor, gradient) for x in shared.xs]


def measure(running: RunningContender, assignment: Assignment, peers: Peers = ALONE) -> RoundResult | Fault:
    """Measure one round, or return the first fault that was found; then the round does not count.

    With ``peers`` this process times one side of the round; all have the same assignment but for the specs.
    """
    case = assignment.case
    gc.disable()
    order, rng = Random(assignment.seed), Random(f"{assignment.seed}/{peers.side}")  # common to all sides, and our own
    bytes_of_input = case.elements * DTYPES[case.dtype]
    where = device(case.device)
    kept = heap.shuffle(rng)
    timers: dict[str, clocks.Clock] = {}
    rotations: dict[str, int] = {}
    for name in assignment.entries:
        try:
            timers[name] = clocks.clock(name, where)
            rotations[name] = timers[name].rotations(bytes_of_input)
        except clocks.ClockError as refusal:
            return Fault(None, refusal.status, str(refusal), name)
    shared = _Inputs(case, assignment.seed, max(rotations.values()), rng)

    entrants: dict[int, _Entrant] = {}
    for index in rng.sample(range(len(assignment.specs)), len(assignment.specs)):
        running.set(index)
        implementation = operations.load(assignment.specs[index])
        function = implementation.prepare(case)
        entrants[index] = _Entrant(case, function, shared.question(implementation.truth, function))
        entrants[index].bind(shared)
        entrants[index].calls[0]()  # compiles, allocates, fills caches
        if reason := implementation.proof() or defence.replaced_clock():
            return Fault(index, "failed", reason)

    batches: dict[str, schedule.Batches] = {}
    preparations: dict[str, dict[str, float | None]] = {}
    slowdowns: dict[str, float] = {}
    with telemetry.open_probe(case.device, where.uuid) as probe:
        readings = [probe.read()]
        for name in order.sample(list(timers), len(timers)):
            timer = timers[name]
            try:
                # The device is at work from the first clock on: only that one waits for its frequency to rise.
                preparation = timer.prepare() if not batches else timer.prepare(0.0)
            except clocks.ClockError as refusal:
                return Fault(None, refusal.status, str(refusal), name)
            entries = assignment.entries[name]
            mine = {index: entrants[index] for index in rng.sample(entries, len(entries))}
            played = _play(timer, mine, rotations[name], shared, assignment, order, running, peers)
            if isinstance(played, Fault):
                return played
            batches[name] = played
            preparations[name] = asdict(preparation)
            if timer.slowdown is not None:
                slowdowns[name] = timer.slowdown
            readings.append(probe.read())
    del kept  # not before
    return RoundResult(batches, preparations, slowdowns, telemetry.between(*readings))


def _play(
    timer: clocks.Clock,
    entrants: Mapping[int, _Entrant],
    rotations: int,
    shared: _Inputs,
    assignment: Assignment,
    order: Random,
    running: RunningContender,
    peers: Peers,
) -> schedule.Batches | Fault:
    """Take one clock's turns, in two halves with different content in the inputs; judge the last outputs of each."""
    contenders: dict[int, schedule.Contender] = {}
    calibrated: Calibrated = {}
    for index, entrant in entrants.items():
        running.set(index)
        try:
            calls = entrant.calls[:rotations]
            if assignment.case.device == "cpu":
                schedule.settle(timer, schedule.calibrate(timer, calls, assignment.batch_seconds)[0])
            contenders[index], seconds = schedule.calibrate(timer, calls, assignment.batch_seconds)
        except clocks.ClockError as refusal:
            return Fault(index, refusal.status, str(refusal), timer.name)
        calibrated[index] = contenders[index].batch_calls, seconds
    agreed = peers.agree(calibrated)
    contenders = {index: replace(one, batch_calls=agreed[index][0]) for index, one in contenders.items()}
    turn_seconds = sum(seconds for _, seconds in agreed.values())
    turns = schedule.turns_within(
        assignment.slice_seconds / len(assignment.entries), turn_seconds, assignment.most_turns
    )
    batches = schedule.Batches()
    for half in (turns - turns // 2, turns // 2):
        try:
            outputs = schedule.play(timer, contenders, half, order, running.set, batches, peers)
        except clocks.ClockError as refusal:
            return Fault(running.get(), refusal.status, str(refusal), timer.name)
        for _ in peers.own(range(peers.sides)):  # another side's batches would feel this work
            if fault := _fault(shared, entrants, contenders, outputs, assignment.case):
                return fault
            if len(batches.turn) < turns * len(contenders):
                shared.turn()
                contenders = _bound_again(contenders, entrants, shared, assignment.case, running)
    return batches


def _bound_again(
    contenders: dict[int, schedule.Contender],
    entrants: Mapping[int, _Entrant],
    shared: _Inputs,
    case: Case,
    running: RunningContender,
) -> dict[int, schedule.Contender]:
    """Return the contenders for the inputs' new content: what a graph remembers of its input is of the one before."""
    if case.pass_ != "backward":
        return contenders
    again = {}
    for index, one in contenders.items():
        running.set(index)
        entrants[index].bind(shared)
        again[index] = replace(one, calls=entrants[index].calls[: len(one.calls)])
    return again


def _fault(
    shared: _Inputs,
    entrants: Mapping[int, _Entrant],
    contenders: Mapping[int, schedule.Contender],
    outputs: Mapping[int, Tensor],
    case: Case,
) -> Fault | None:
    """Return what is wrong after timing."""
    if not shared.untouched:
        return _who_changes(shared, contenders)
    for index, output in outputs.items():
        expected = entrants[index].question.expected
        if oracle.accepts(case, output, expected):
            continue
        if reason := oracle.judge(case, output, expected).reason:
            return Fault(index, "wrong", f"was right when examined; after timing {reason}")
    return None


def _who_changes(shared: _Inputs, contenders: Mapping[int, schedule.Contender]) -> Fault:
    """Find the contender that changes its input only now and then, by trying each alone."""
    for index, one in contenders.items():
        shared.restore()
        for _ in range(10 * one.batch_calls):
            one.calls[0]()
        if not shared.untouched:
            return Fault(index, "wrong", "changes its input, not always, but while it is timed")
    return Fault(None, "failed", "the input was changed while it was timed, and by whom is unknown")
