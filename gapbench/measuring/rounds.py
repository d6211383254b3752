"""One round of one case, in a process of its own: make inputs, take turns by every clock, check all outputs again."""

import gc
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import chain
from random import Random

from msgspec.structs import replace
from torch import Tensor

from gapbench.machine import telemetry
from gapbench.machine.devices import Accelerator, device
from gapbench.measuring import cheat_checks, clocks, memory, schedule
from gapbench.measuring.examiner import Bytes, Examiner, Packed, can_change, pack
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.prepared import PreparedCase
from gapbench.measuring.protocol import WEIGHTS, Batches, Calibration, RoundFailure, RoundResult
from gapbench.measuring.schedule import Turns
from gapbench.measuring.side_sync import SINGLE_PROCESS, SideSync, merged
from gapbench.workloads import inputs, oracle, passes
from gapbench.workloads.cases import DTYPES
from gapbench.workloads.passes import Call
from gapbench.workloads.truth import Truth

_SURPRISES = 2  # elements that are changed for each contender after either half of a round's turns


@dataclass(frozen=True, slots=True)
class Assignment:
    """One round of one case.

    ``entries`` are the indices of the contenders that each clock times, in all processes that share the round;
    ``processes`` maps a contender to the number of its process. ``calibration`` are batch lengths from earlier rounds,
    by clock. ``seed`` determines inputs, memory placement and order. The turns end after ``slice_seconds`` or
    ``most_turns``; contenders in ``once`` take one turn.
    """

    entries: Mapping[str, tuple[int, ...]]
    seed: int
    slice_seconds: float
    batch_seconds: float
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    most_turns: int = schedule.MOST_TURNS
    processes: Mapping[int, int] = field(default_factory=dict)
    once: frozenset[int] = frozenset()

    @property
    def contenders(self) -> frozenset[int]:
        """The contenders that any clock times."""
        return frozenset(chain.from_iterable(self.entries.values()))


def seeds(seed: int) -> tuple[int, int]:
    """Return the seeds of the inputs' content in the two halves of a round."""
    return seed, seed ^ 1


class _Inputs:
    """A round's inputs: copies of one content, replaced half-way by another that is made before the first turn."""

    def __init__(self, prepared: PreparedCase, seed: int, rotations: int, rng: Random) -> None:
        self._prepared, self.half = prepared, 0
        self._questions = oracle.questions(prepared.case, seeds(seed), prepared.noise, stressed=False)
        first, later = (question.x for question in self._questions)
        self._contents = first.clone(), later
        others = [inputs.copy_at_random_offset(first, prepared.case, rng.getrandbits(32)) for _ in range(rotations - 1)]
        self.xs = [inputs.GuardedTensor(x, self._contents[0]) for x in (first, *others)]
        self._gradients: dict[Truth, tuple[inputs.GuardedTensor, tuple[Tensor, ...]]] = {}

    def calls(self, index: int) -> list[Call]:
        # One gradient serves all contenders of one truth.
        truth = self._prepared.contenders[index].implementation.truth
        if truth not in self._gradients:
            contents = tuple(question.gradient(self._prepared.case, truth) for question in self._questions)
            self._gradients[truth] = inputs.GuardedTensor(contents[self.half].clone(), contents[self.half]), contents
        gradient = self._gradients[truth][0].tensor
        return [self._prepared.make_call(index, x.tensor, gradient) for x in self.xs]

    def replace(self) -> None:
        """Put the other half's content in the same memory, so that remembered outputs become wrong."""
        self.half = 1 - self.half
        for x in self.xs:
            x.replace(self._contents[self.half])
        for gradient, contents in self._gradients.values():
            gradient.replace(contents[self.half])


def measure(
    prepared: PreparedCase,
    assignment: Assignment,
    current: CurrentContender,
    examiner: Examiner,
    sync: SideSync = SINGLE_PROCESS,
) -> RoundResult | RoundFailure:
    """Measure the contenders of a round that are loaded here, or return its first failure."""
    case = prepared.case
    gc.disable()
    order = Random(assignment.seed)  # the same in all processes
    rng = Random(f"{assignment.seed}/{sync.process}")
    target = device(case.device)
    kept = memory.shuffle_heap(rng)
    timers: dict[str, clocks.Clock] = {}
    rotations: dict[str, int] = {}
    for name in assignment.entries:
        try:
            timers[name] = clocks.clock(name, target)
            rotations[name] = timers[name].rotations(case.elements * DTYPES[case.dtype])
        except clocks.ClockError as refusal:
            return RoundFailure(None, refusal.status, str(refusal), name)
    shared = _Inputs(prepared, assignment.seed, max(rotations.values()), rng)
    examiner.wait()
    own = sorted(assignment.contenders & prepared.contenders.keys())
    calls: dict[int, list[Call]] = {}
    buffers: dict[int, Bytes] = {}
    for index in rng.sample(own, len(own)):
        current.set(index)
        calls[index] = shared.calls(index)
        if case.pass_ == "update":
            examiner.show(index, WEIGHTS, pack(passes.first_weight(prepared.contenders[index].function)))
        buffers[index] = pack(calls[index][0]()).content
        if reason := cheat_checks.replaced():
            return RoundFailure(index, "failed", reason)
    turns = _Round(prepared, assignment, current, sync, examiner, shared, calls, buffers, order)
    result = RoundResult({}, {}, {}, {}, {})
    refused: RoundFailure | None = None
    with telemetry.open_probe(case.device, target.uuid) as read:
        readings = [read()]
        for name in order.sample(list(timers), len(timers)):
            timer = timers[name]
            try:
                # The device is busy from the first clock on, so only that one waits for its frequency to rise.
                preparation = timer.prepare() if not result.batches else timer.prepare(0.0)
            except clocks.ClockError as refusal:
                return RoundFailure(None, refusal.status, str(refusal), name)
            measured = turns.take(timer, rotations[name], only_calibrate=refused is not None)
            if isinstance(measured, RoundFailure):
                refused = measured if refused is None else _joined(refused, measured)
                if measured.clock is None or measured.status == "wrong" or sync.processes > 1:
                    return refused
            if refused is not None:
                continue  # the round is lost: find what else would be refused, and time nothing
            assert not isinstance(measured, RoundFailure)
            result.batches[name], result.calibration[name] = measured
            result.preparations[name] = asdict(preparation)
            if timer.slowdown is not None:
                result.slowdowns[name] = timer.slowdown
            readings.append(read())
    del kept  # not before
    if refused is not None:
        return refused
    examiner.finish()
    result.telemetry.update(telemetry.between(*readings))
    return result


def _joined(first: RoundFailure, *others: RoundFailure) -> RoundFailure:
    flat = [replace(one, more=[]) for other in others for one in (other, *other.more)]
    return replace(first, more=[*first.more, *flat])


class _RefusedError(Exception):
    def __init__(self, refusals: Sequence[RoundFailure]) -> None:
        super().__init__()
        self.refusals = refusals


@dataclass
class _Round:
    prepared: PreparedCase
    assignment: Assignment
    current: CurrentContender
    sync: SideSync
    examiner: Examiner
    shared: _Inputs
    calls: dict[int, list[Call]]
    buffers: Mapping[int, Bytes]
    order: Random

    def __post_init__(self) -> None:
        self._implementations = len(self.prepared.task.specs)
        self._random = Random()  # unseeded: a contender could know a seed

    def take(
        self, timer: clocks.Clock, rotations: int, only_calibrate: bool = False
    ) -> tuple[Batches, Calibration] | RoundFailure:
        """Take a clock's turns in two halves of different content, and judge outputs of both; or ``only_calibrate``."""
        assignment, sync = self.assignment, self.sync
        own = [index for index in assignment.entries[timer.name] if index in self.calls]
        try:
            lengths_found: Calibration = {}
            for _ in sync.own(range(sync.processes)):  # another side's floor and batches would feel this work
                lengths_found = self._calibrate(timer, own, rotations)
            if only_calibrate:
                return Batches(), lengths_found
            calibration = merged([sync.agree(lengths_found)], self._implementations)
            lengths = {index: count for index, (count, _) in calibration.items()}
            turns = Turns.within(
                assignment.slice_seconds / len(assignment.entries), calibration, self._implementations,
                assignment.most_turns, assignment.once,
            )  # fmt: skip
            batches = Batches()
            first = 0
            for half in (turns.count - turns.count // 2, turns.count // 2):
                steps = schedule.order(turns, first, half, self._implementations, self.order)
                first += half
                calls = {index: self.calls[index][:rotations] for index in own}
                outputs = self._run(timer, steps, calls, lengths, batches)
                for _ in sync.own(range(sync.processes)):  # another side's batches would be slowed by this work
                    if failure := self._failure(timer.name, outputs, lengths) or self._remembered(own):
                        return failure
                    if first < turns.count:
                        self.shared.replace()
                        self._bind_again()
        except clocks.ClockError as refusal:
            return RoundFailure(self.current.get(), refusal.status, str(refusal), timer.name)
        except _RefusedError as error:
            return _joined(*error.refusals)
        return batches, calibration

    def _calibrate(self, timer: clocks.Clock, own: Sequence[int], rotations: int) -> Calibration:
        earlier = self.assignment.calibration.get(timer.name, {})
        calibration: Calibration = {}
        refusals: list[RoundFailure] = []
        for index in own:
            self._begin(index)
            timer.select(index)
            calls = timer.at_copy(self.calls[index][:rotations], 0)
            length = earlier.get(index)
            try:
                if not length:
                    timer.verify(calls)
                if self.prepared.case.device == "cpu" and not (length and index in self.assignment.once):
                    count, _ = length or schedule.calibrate(timer, calls, self.assignment.batch_seconds)
                    schedule.prefault(timer, calls, count)
                calibration[index] = length or schedule.calibrate(timer, calls, self.assignment.batch_seconds)
            except clocks.ClockError as refusal:
                refusals.append(RoundFailure(index, refusal.status, str(refusal), timer.name))
        if refusals:
            raise _RefusedError(refusals)
        return calibration

    def _run(
        self,
        timer: clocks.Clock,
        steps: Sequence[schedule.Batch],
        calls: Mapping[int, Sequence[Call]],
        lengths: Mapping[int, int],
        batches: Batches,
    ) -> dict[int, Packed]:
        """Run this process's batches; return an output of each contender, of a batch that it cannot predict."""
        processes = self.assignment.processes
        by_contender: dict[int, list[schedule.Batch]] = defaultdict(list)
        for step in steps:
            by_contender[step.contender].append(step)
        chosen = {self._random.choice(own) for own in by_contender.values()}
        outputs: dict[int, Packed] = {}

        def keep(step: schedule.Batch, output: Tensor) -> None:
            if step in chosen:
                outputs[step.contender] = pack(output, self.buffers[step.contender])

        owners = [processes.get(step.contender, 0) for step in steps]
        own_steps = (steps[number] for number in self.sync.own(owners))
        schedule.run_turns(timer, own_steps, calls, lengths, self._begin, batches, keep, self._ranges(timer.name))
        return outputs

    def _ranges(self, clock: str) -> Callable[[int], AbstractContextManager[object]]:
        case, target = self.prepared.case, device(self.prepared.case.device)
        if not isinstance(target, Accelerator):
            return lambda _: nullcontext()
        return lambda index: target.range(f"{case.id}/{self.prepared.contenders[index].implementation.name}/{clock}")

    def _begin(self, index: int) -> None:
        self.prepared.activate(index)
        self.current.set(index)

    def _bind_again(self) -> None:
        """Bind all contenders again, refused ones too: an autograd graph keeps its input's old content."""
        if self.prepared.case.pass_ == "backward":
            for index in self.calls:
                self.current.set(index)
                self.calls[index] = self.shared.calls(index)

    def _failure(self, clock: str, outputs: Mapping[int, Packed], lengths: Mapping[int, int]) -> RoundFailure | None:
        for broken_rule in (self._changed_input, cheat_checks.replaced):
            if broken_rule():
                return self._culprit(lengths, broken_rule)
        for index, output in outputs.items():
            if reason := self.examiner.show(index, self.shared.half, output, clock):
                return RoundFailure(index, "wrong", reason)
        return None

    def _changed_input(self) -> str | None:
        return None if all(self.shared.xs) else "changes its input, not always, but while it is timed"

    def _remembered(self, own: Sequence[int]) -> RoundFailure | None:
        case, contenders = self.prepared.case, self.prepared.contenders
        for index in own:
            if not can_change(case, contenders[index].implementation.truth):
                continue
            self._begin(index)
            chosen = self._random.randrange(len(self.calls[index]))
            x, call = self.shared.xs[chosen].tensor, self.calls[index][chosen]
            if reason := self.examiner.remembered(index, self.shared.half, x, call, _SURPRISES):
                return RoundFailure(index, "wrong", reason)
        return None

    def _culprit(self, lengths: Mapping[int, int], broken_rule: Callable[[], str | None]) -> RoundFailure:
        """Find the contender that breaks a rule in some calls only, by running each alone."""
        for index in self.calls.keys() & lengths.keys():
            for x in self.shared.xs:
                x.restore()
            self._begin(index)
            for _ in range(10 * lengths[index]):
                self.calls[index][0]()
            if reason := broken_rule():
                return RoundFailure(index, "wrong", reason)
        return RoundFailure(None, "failed", "a rule was broken while the round was timed, by an unknown contender")
