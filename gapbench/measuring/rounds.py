"""One round of one case, in a process of its own: make inputs, take turns by every clock, check all outputs again."""

import gc
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from random import Random

from torch import Tensor

from gapbench.machine import telemetry
from gapbench.machine.devices import device
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

_SURPRISES = 2
"""Elements that are changed for each contender after either half of a round's turns."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One round of one case.

    ``entries`` say by clock which contenders, by index, it times, of all processes that share the round;
    ``processes`` in which of them each contender is. ``calibration`` are batch lengths known from earlier rounds, by
    clock. ``seed`` makes this round's inputs, their places in memory, and orders. The turns end with the slice, or
    after ``most_turns``; contenders in ``once`` take one.
    """

    entries: Mapping[str, tuple[int, ...]]
    seed: int
    slice_seconds: float
    batch_seconds: float
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    most_turns: int = schedule.MOST_TURNS
    processes: Mapping[int, int] = field(default_factory=dict)
    once: frozenset[int] = frozenset()


def seeds(seed: int) -> tuple[int, int]:
    """Return those of the content of both halves of a round."""
    return seed, seed ^ 1


class _Inputs:
    """The inputs of a round: the same content at several places in memory, replaced half-way through the turns.

    Everything for both halves is made beforehand: temporaries of that size in between would change where in memory
    the implementations' own lie in the second half.
    """

    def __init__(self, prepared: PreparedCase, seed: int, rotations: int, rng: Random) -> None:
        self._prepared, self.half = prepared, 0
        self._questions = oracle.questions(prepared.case, seeds(seed), prepared.noise, stressed=False)
        first, later = (question.x for question in self._questions)
        self._contents = first.clone(), later
        others = [inputs.copy_at_random_offset(first, prepared.case, rng.getrandbits(32)) for _ in range(rotations - 1)]
        self.xs = [inputs.GuardedTensor(x, self._contents[0]) for x in (first, *others)]
        self._gradients: dict[Truth, tuple[inputs.GuardedTensor, tuple[Tensor, ...]]] = {}

    def _gradient(self, index: int) -> Tensor:
        """Return what is sent back to contender ``index``: one gradient serves all of one truth."""
        truth = self._prepared.contenders[index].implementation.truth
        if truth not in self._gradients:
            contents = tuple(question.gradient(self._prepared.case, truth) for question in self._questions)
            self._gradients[truth] = inputs.GuardedTensor(contents[self.half].clone(), contents[self.half]), contents
        return self._gradients[truth][0].tensor

    def calls(self, index: int) -> list[Call]:
        """Bind contender ``index`` to each place, for the content that the inputs have now."""
        gradient = self._gradient(index)
        return [self._prepared.make_call(index, x.tensor, gradient) for x in self.xs]

    def replace(self) -> None:
        """Put other content in the same memory: what was remembered instead of computed becomes wrong."""
        self.half = 1 - self.half
        for x in self.xs:
            x.replace(self._contents[self.half])
        for gradient, contents in self._gradients.values():
            gradient.replace(contents[self.half])

    def restore(self) -> None:
        for x in self.xs:
            x.restore()

    @property
    def untouched(self) -> bool:
        return all(self.xs)


def measure(
    prepared: PreparedCase,
    assignment: Assignment,
    current: CurrentContender,
    examiner: Examiner,
    sync: SideSync = SINGLE_PROCESS,
) -> RoundResult | RoundFailure:
    """Measure one round, or return the first failure that was found; then the round does not count.

    ``examiner`` has begun the paper with this round's `seeds`. With ``sync`` this process times those contenders that
    it has loaded; all have the same assignment.
    """
    case = prepared.case
    gc.disable()
    order = Random(assignment.seed)  # the same in all processes
    rng = Random(f"{assignment.seed}/{sync.process}")
    where = device(case.device)
    kept = memory.shuffle_heap(rng)
    timers: dict[str, clocks.Clock] = {}
    rotations: dict[str, int] = {}
    for name in assignment.entries:
        try:
            timers[name] = clocks.clock(name, where)
            rotations[name] = timers[name].rotations(case.elements * DTYPES[case.dtype])
        except clocks.ClockError as refusal:
            return RoundFailure(None, refusal.status, str(refusal), name)
    shared = _Inputs(prepared, assignment.seed, max(rotations.values()), rng)
    examiner.wait()
    taking_part = {index for entries in assignment.entries.values() for index in entries} & prepared.contenders.keys()
    calls: dict[int, list[Call]] = {}
    buffers: dict[int, Bytes] = {}
    for index in rng.sample(sorted(taking_part), len(taking_part)):
        current.set(index)
        calls[index] = shared.calls(index)
        if case.pass_ == "update":
            examiner.show(index, WEIGHTS, pack(passes.first_weight(prepared.contenders[index].function)))
        buffers[index] = pack(calls[index][0]()).content
        if reason := cheat_checks.replaced():
            return RoundFailure(index, "failed", reason)
    play = _Round(prepared, assignment, current, sync, examiner, shared, calls, buffers, order)
    found = RoundResult({}, {}, {}, {}, {})
    with telemetry.open_probe(case.device, where.uuid) as probe:
        readings = [probe.read()]
        for name in order.sample(list(timers), len(timers)):
            timer = timers[name]
            try:
                # The device is at work from the first clock on: only that one waits for its frequency to rise.
                preparation = timer.prepare() if not found.batches else timer.prepare(0.0)
            except clocks.ClockError as refusal:
                return RoundFailure(None, refusal.status, str(refusal), name)
            measured = play.by(timer, rotations[name])
            if isinstance(measured, RoundFailure):
                return measured
            found.batches[name], found.calibration[name] = measured
            found.preparations[name] = asdict(preparation)
            if timer.slowdown is not None:
                found.slowdowns[name] = timer.slowdown
            readings.append(probe.read())
    del kept  # not before
    examiner.finish()
    found.telemetry.update(telemetry.between(*readings))
    return found


@dataclass
class _Round:
    """The turns of one round by one clock after another."""

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
        self._random = Random()  # unlike all else not from the seed, which a contender could know

    def by(self, timer: clocks.Clock, rotations: int) -> tuple[Batches, Calibration] | RoundFailure:
        """Take one clock's turns, in two halves with different content; judge an output of each contender in both."""
        assignment, sync = self.assignment, self.sync
        entries = assignment.entries[timer.name]
        mine = [index for index in entries if index in self.calls]
        try:
            calibration = merged([sync.agree(self._calibrate(timer, mine, rotations))], self._implementations)
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
                calls = {index: self.calls[index][:rotations] for index in mine}
                shown, outputs = self._chosen(steps), dict[int, Packed]()
                keep = partial(self._keep, shown, outputs)
                schedule.run_turns(timer, self._mine(steps), calls, lengths, self._begin, batches, keep)
                for _ in sync.own(range(sync.processes)):  # another side's batches would feel this work
                    if failure := self._failure(timer.name, outputs, lengths) or self._remembered(mine):
                        return failure
                    if first < turns.count:
                        self.shared.replace()
                        self._bind_again()
        except clocks.ClockError as refusal:
            return RoundFailure(self.current.get(), refusal.status, str(refusal), timer.name)
        return batches, calibration

    def _calibrate(self, timer: clocks.Clock, mine: list[int], rotations: int) -> Calibration:
        earlier = self.assignment.calibration.get(timer.name, {})
        calibration: Calibration = {}
        on_cpu = self.prepared.case.device == "cpu"
        for index in mine:
            self._begin(index)
            calls = timer.at_place(self.calls[index][:rotations], 0)
            if index in earlier:
                calibration[index] = earlier[index]
                if on_cpu and index not in self.assignment.once:
                    schedule.prefault(timer, calls, earlier[index][0])
                continue
            if on_cpu:
                count, _ = schedule.calibrate(timer, calls, self.assignment.batch_seconds)
                schedule.prefault(timer, calls, count)
            calibration[index] = schedule.calibrate(timer, calls, self.assignment.batch_seconds)
        return calibration

    def _chosen(self, steps: Sequence[schedule.Batch]) -> set[schedule.Batch]:
        """Return one batch of each contender, whose output will be judged; nobody can know which."""
        own: dict[int, list[schedule.Batch]] = {}
        for step in steps:
            own.setdefault(step.contender, []).append(step)
        return {self._random.choice(batches) for batches in own.values()}

    def _keep(
        self, shown: Collection[schedule.Batch], outputs: dict[int, Packed], step: schedule.Batch, output: Tensor
    ) -> None:
        if step in shown:
            outputs[step.contender] = pack(output, self.buffers[step.contender])

    def _begin(self, index: int) -> None:
        self.prepared.activate(index)
        self.current.set(index)

    def _mine(self, steps: list[schedule.Batch]) -> Iterator[schedule.Batch]:
        """Yield those of the steps that are this process's, each when it is its turn."""
        processes = self.assignment.processes
        return (steps[place] for place in self.sync.own([processes.get(step.contender, 0) for step in steps]))

    def _bind_again(self) -> None:
        """Bind all contenders to the new content: what a graph remembers of its input is of the one before.

        Those of the other clocks too, and those that a clock has refused: they are judged against this content.
        """
        if self.prepared.case.pass_ == "backward":
            for index in self.calls:
                self.current.set(index)
                self.calls[index] = self.shared.calls(index)

    def _failure(self, clock: str, outputs: dict[int, Packed], lengths: Mapping[int, int]) -> RoundFailure | None:
        """Return what is wrong after timing."""
        if not self.shared.untouched:
            return self._who(
                lengths,
                lambda: None if self.shared.untouched else "changes its input, not always, but while it is timed",
            )
        if cheat_checks.replaced():
            return self._who(lengths, cheat_checks.replaced)
        for index in list(outputs):
            if reason := self.examiner.show(index, self.shared.half, outputs.pop(index), clock):
                return RoundFailure(index, "wrong", reason)
        return None

    def _remembered(self, mine: Sequence[int]) -> RoundFailure | None:
        """Return who remembers answers instead of computing them."""
        case, contenders = self.prepared.case, self.prepared.contenders
        for index in mine:
            if not can_change(case, contenders[index].implementation.truth):
                continue
            self._begin(index)
            chosen = self._random.randrange(len(self.calls[index]))
            x, call = self.shared.xs[chosen].tensor, self.calls[index][chosen]
            if reason := self.examiner.remembered(index, self.shared.half, x, call, _SURPRISES):
                return RoundFailure(index, "wrong", reason)
        return None

    def _who(self, lengths: Mapping[int, int], broken: Callable[[], str | None]) -> RoundFailure:
        """Find the contender that breaks a rule only now and then, by trying each alone."""
        for index in self.calls.keys() & lengths.keys():
            self.shared.restore()
            self._begin(index)
            for _ in range(10 * lengths[index]):
                self.calls[index][0]()
            if reason := broken():
                return RoundFailure(index, "wrong", reason)
        return RoundFailure(None, "failed", "a rule was broken while the round was timed, and by whom is unknown")
