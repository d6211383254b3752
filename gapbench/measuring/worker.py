"""The jobs of worker processes: load a case and fork its rounds, judge its contenders, measure a round or ceilings."""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from torch import Tensor, nn

from gapbench.machine.devices import device
from gapbench.measuring import ceilings, cheat_checks, forkserver_process, prepared, probes, rounds
from gapbench.measuring.examiner import Examiner, ExaminerGoneError, can_change, pack
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.prepared import CaseTask, PreparedCase
from gapbench.measuring.protocol import WEIGHTS, Answer, Channel, Judged, Prepared, RoundFailure, RoundResult
from gapbench.measuring.rounds import Assignment
from gapbench.measuring.side_sync import SINGLE_PROCESS, SideSync, TokenSync
from gapbench.store.records import Qualification
from gapbench.workloads import oracle, passes
from gapbench.workloads.inputs import GuardedTensor
from gapbench.workloads.oracle import Question

_SURPRISES = 4  # input elements that are changed, one by one, for each contender


class _Loaded:
    """The case that `serve_case` has loaded in this process, for the workers that it forks."""

    case: PreparedCase | None = None


@dataclass(frozen=True, slots=True)
class ProcessSlot:
    """The number of a process in its round, and the processor that all of them compute on, where one is enough."""

    process: int = 0
    core: int | None = None


def serve_case(channel: Channel, _: CurrentContender, task: CaseTask, descriptors: tuple[int, ...]) -> None:
    """Load the contenders of a case, send `Prepared`, and fork workers that share them, if that is possible."""
    byte, control = descriptors
    current = CurrentContender(byte)
    _Loaded.case, forkable = _load(channel, current, task)
    if forkable:
        forkserver_process.serve(socket.socket(fileno=control), current)


def judge_contenders(
    channel: Channel,
    current: CurrentContender,
    task: CaseTask | None,
    indices: Sequence[int],
    seeds: tuple[int, ...],
    descriptors: tuple[int, ...],
) -> None:
    """Send `Judged` for each contender, in order, up to the first that is not ok.

    The worker loads ``task`` and sends `Prepared` first, unless it was forked from a process that has (None). The
    descriptor is the examiner's, whose paper has ``seeds``.
    """
    examiner = Examiner(descriptors[0])
    examiner.begin(0)
    case = _Loaded.case if task is None else _load(channel, current, task)[0]
    if case is not None:
        loaded = [index for index in indices if index in case.contenders]
        for judged in judge(case, loaded, seeds, current, examiner):
            channel.send(judged)


def judge(
    loaded: PreparedCase, indices: Iterable[int], seeds: Sequence[int], current: CurrentContender, examiner: Examiner
) -> Iterator[Judged]:
    """Judge contenders up to the first that is not ok, which may have changed this process."""
    questions = oracle.questions(loaded.case, seeds, loaded.noise)
    guards = [GuardedTensor(question.x) for question in questions]
    examiner.wait()
    for index in indices:
        current.set(index)
        try:
            qualification = _judge_one(loaded, index, questions, guards, examiner)
        except ExaminerGoneError:
            raise
        except Exception as error:
            qualification = Qualification(*prepared.status_of(error, loaded.case))
            prepared.end_if_lost(loaded.case)
        examiner.finish()
        yield Judged(index, qualification)
        if qualification.status != "ok":
            return


def _judge_one(
    loaded: PreparedCase, index: int, questions: Sequence[Question], guards: Sequence[GuardedTensor], examiner: Examiner
) -> Qualification:
    case, contender = loaded.case, loaded.contenders[index]
    implementation, function = contender.implementation, contender.function
    truth = implementation.truth
    compiled = implementation.family == "compiled"
    if compiled:
        probes.forget_compilation()
    for number, question in enumerate(questions):
        if question.patterns is not None and not truth.stressed:
            continue
        call = loaded.make_call(index, question.x, question.gradient(case, truth))
        if case.pass_ == "update":
            examiner.show(index, WEIGHTS, pack(passes.first_weight(function)))
        reason = examiner.show(index, number, pack(call()))
        if not guards[number] and (number == 0 or reason is None):
            reason = "changes its input"
        if reason is not None:
            return Qualification("wrong", reason)
    x, gradient = guards[0].tensor, questions[0].gradient(case, truth)
    call = loaded.make_call(index, x, gradient)
    if reason := cheat_checks.replaced() or cheat_checks.off_thread_work(call, case):
        return Qualification("failed", reason)
    if not guards[0]:
        return Qualification("wrong", "changes its input, not in the first calls, but later")
    if can_change(case, truth) and (reason := examiner.remembered(index, 0, x, call, _SURPRISES)):
        return Qualification("wrong", reason)
    # Read before other probes make the function compile for calls that are not measured.
    again, code_path = probes.compilation() if compiled else None, implementation.code_path(function)
    if again and again.graph_breaks:
        return Qualification("failed", "torch.compile broke the graph when it was called again")
    # Compiled code of a forward case would be compiled once more, for training.
    saves = implementation.differentiable and not (compiled and case.pass_ == "forward")
    footprint = probes.footprint(call, device(case.device))
    first = contender.compilation
    return Qualification(
        peak_extra_bytes=footprint.peak_extra_bytes, operators=footprint.operators, code_path=code_path,
        allocated_bytes=footprint.allocated_bytes,
        saved_bytes=probes.saved_bytes(case, function, x) if saves else None,
        compile_seconds=contender.first_call if compiled else None,
        graph_breaks=first.graph_breaks if first else None,
        recompilations=first.recompilations + again.graphs if first and again else None,
        parameters=sum(map(Tensor.numel, function.parameters())) if isinstance(function, nn.Module) else None,
        deterministic=probes.deterministic(call),
        batch_invariant=None if compiled else probes.batch_invariant(case, function, x),
    )  # fmt: skip


def measure_rounds(
    channel: Channel,
    current: CurrentContender,
    jobs: Sequence[tuple[CaseTask | None, Assignment]],
    slot: ProcessSlot,
    descriptors: tuple[int, ...],
) -> None:
    """Measure a round of each case in turn, and send its `RoundResult`, or the `RoundFailure` that prevented it.

    Tasks are as for `judge_contenders`. The ``descriptors`` are the examiner's and, where processes share the round,
    those of this one's current byte, its inbox, and all outboxes.
    """
    examiner, *shared = descriptors
    sync = SINGLE_PROCESS
    if shared:
        byte, inbox, *outboxes = shared
        current = CurrentContender(byte)
        os.close(outboxes[slot.process])  # else the inbox would never reach an end of file
        others = {number: outbox for number, outbox in enumerate(outboxes) if number != slot.process}
        sync = TokenSync(channel, slot.process, inbox, others, current, slot.core)
    examining = Examiner(examiner)
    for paper, (task, assignment) in enumerate(jobs):
        current.clear()
        examining.begin(paper)
        channel.send(_measure_round(current, task, assignment, examining, sync))


def _measure_round(
    current: CurrentContender, task: CaseTask | None, assignment: Assignment, examiner: Examiner, sync: SideSync
) -> RoundResult | RoundFailure:
    loaded = _Loaded.case
    try:
        if task is not None:
            loaded, reply = prepared.prepare(task, current)
            for index, (status, reason) in reply.rejected.items():
                return RoundFailure(index, status, reason)
        assert loaded is not None
        return rounds.measure(loaded, assignment, current, examiner, sync)
    except ExaminerGoneError:
        raise
    except Exception as error:
        task = task or (loaded.task if loaded else None)
        assert task is not None
        prepared.end_if_lost(task.case)
        return RoundFailure(current.get(), *prepared.status_of(error, task.case))


def _load(channel: Channel, current: CurrentContender, task: CaseTask) -> tuple[PreparedCase | None, bool]:
    """Load a task's contenders and send `Prepared`; return them, and whether workers can be forked."""
    try:
        case, reply = prepared.prepare(task, current)
    except Exception as error:
        reason = prepared.status_of(error, task.case)
        channel.send(Prepared({}, dict.fromkeys(task.contenders, reason), forkable=False))
        return None, False
    channel.send(reply)
    return case, reply.forkable


def measure_ceilings(channel: Channel, _: CurrentContender, device_name: str, threads: tuple[int, ...]) -> None:
    """Measure a device's ceilings and send them as in run.json."""
    try:
        channel.send(Answer(ceilings.measure(device_name, threads)))
    except Exception as error:
        reason = f"measuring ceilings raised {type(error).__name__}: {error}"
        channel.send(Answer(ceilings.unmeasured(device_name, reason)))


def selftest(channel: Channel, current: CurrentContender, device_name: str) -> None:  # noqa: ARG001
    """Send the findings of `measuring.selftest`, each as soon as it is there."""
    from gapbench.measuring import selftest

    for finding in selftest.run(device(device_name)):
        channel.send(Answer(asdict(finding)))
