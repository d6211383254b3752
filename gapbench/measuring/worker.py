"""The jobs of worker processes: load a case and fork its rounds, judge its contenders, measure one round of it.

Whatever goes wrong becomes a status and a reason; what kills the process is the parent's to tell.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gapbench.machine.devices import device
from gapbench.machine.telemetry import energy as energy_counter
from gapbench.machine.telemetry.unreadable import UnreadableError
from gapbench.measuring import ceilings, energy, forkserver_process, judge, prepared, rounds
from gapbench.measuring.examiner import Examiner, ExaminerGoneError
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.plan import HERE
from gapbench.measuring.prepared import CaseTask, PreparedCase
from gapbench.measuring.protocol import Answer, Channel, Prepared, RoundFailure
from gapbench.measuring.rounds import Assignment
from gapbench.measuring.side_sync import SINGLE_PROCESS, TokenSync
from gapbench.workloads import inputs
from gapbench.workloads.cases import Case


class _Loaded:
    """What `serve_case` has loaded in this process, for the workers that it forks."""

    case: PreparedCase | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Which process of a round this is, and the processor that all of them compute on, where one is enough."""

    process: int = 0
    core: int | None = None


def serve_case(channel: Channel, _: CurrentContender, task: CaseTask, descriptors: tuple[int, ...]) -> None:
    """Load the contenders of a case, say how that went, and fork workers that have them, if that is possible."""
    byte, control = descriptors
    current = CurrentContender(byte)
    try:
        _Loaded.case, reply = prepared.prepare(task, current)
    except Exception as error:
        channel.send(_rejected(task, error))
        return
    channel.send(reply)
    if reply.forkable:
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

    ``task`` is None in a worker that was forked from one that has loaded the case; else it is loaded here, and
    `Prepared` is sent first. The descriptor is that of the examiner, whose paper has ``seeds``.
    """
    examiner = Examiner(descriptors[0])
    examiner.begin(0)
    case = _case_of(channel, current, task)
    if case is not None:
        able = [index for index in indices if index in case.contenders]
        for judged in judge.judge(case, able, seeds, current, examiner):
            channel.send(judged)


def measure_round(
    channel: Channel,
    current: CurrentContender,
    task: CaseTask | None,
    assignment: Assignment,
    place: Place,
    descriptors: tuple[int, ...],
) -> None:
    """Measure one round and send its `RoundResult`, or the `RoundFailure` that prevented it.

    ``task`` as of `judge_contenders`, but without a word about its loading. The first of the ``descriptors`` is that of
    the examiner; where several processes share the round, those of the byte that says what runs, of the own inbox, and
    of every process's outbox follow.
    """
    examiner, *shared = descriptors
    _measure_round(channel, current, task, assignment, place, Examiner(examiner), 0, shared)


def _measure_round(
    channel: Channel,
    current: CurrentContender,
    task: CaseTask | None,
    assignment: Assignment,
    place: Place,
    examiner: Examiner,
    paper: int,
    shared: Sequence[int],
) -> None:
    sync = SINGLE_PROCESS
    if shared:
        byte, inbox, *outboxes = shared
        current = CurrentContender(byte)
        os.close(outboxes[place.process])  # else a token that never comes would not end in an end of file
        others = {number: outbox for number, outbox in enumerate(outboxes) if number != place.process}
        sync = TokenSync(channel, place.process, inbox, others, current, place.core)
    case = _Loaded.case
    try:
        examiner.begin(paper)
        if task is not None:
            case, reply = prepared.prepare(task, current)
            for index, (status, reason) in reply.rejected.items():
                channel.send(RoundFailure(index, status, reason))
                return
        assert case is not None
        channel.send(rounds.measure(case, assignment, current, examiner, sync))
    except ExaminerGoneError:
        raise
    except Exception as error:
        task = task or (case.task if case else None)
        assert task is not None
        channel.send(RoundFailure(current.get(), *prepared.status_of(error, task.case)))


def measure_rounds(
    channel: Channel,
    current: CurrentContender,
    jobs: Sequence[tuple[CaseTask, Assignment]],
    descriptors: tuple[int, ...],
) -> None:
    """Load and measure one round of each case in this process, and send what `measure_round` does of each in turn."""
    examiner = Examiner(descriptors[0])
    for number, (task, assignment) in enumerate(jobs):
        current.clear()
        _measure_round(channel, current, task, assignment, Place(), examiner, number, ())


def _case_of(channel: Channel, current: CurrentContender, task: CaseTask | None) -> PreparedCase | None:
    if task is None:
        return _Loaded.case
    try:
        case, reply = prepared.prepare(task, current)
    except Exception as error:
        channel.send(_rejected(task, error))
        return None
    channel.send(reply)
    return case


def _rejected(task: CaseTask, error: Exception) -> Prepared:
    reason = prepared.status_of(error, task.case)
    return Prepared({}, dict.fromkeys(task.contenders, reason), forkable=False)


def measure_ceilings(
    channel: Channel,
    current: CurrentContender,  # noqa: ARG001
    device_name: str,
    threads: tuple[int, ...],
) -> None:
    """Measure a device's limits and send them as run.json has them."""
    try:
        channel.send(Answer(ceilings.measure(device_name, threads)))
    except Exception as error:
        reason = f"measuring ceilings raised {type(error).__name__}: {error}"
        channel.send(Answer(ceilings.unmeasured(device_name, reason)))


def energy_source(channel: Channel, current: CurrentContender, device_name: str) -> None:  # noqa: ARG001
    """Send the name of what counts a device's energy, and None; or None, and why nothing does."""
    try:
        with energy_counter.opened(device_name, device(device_name).uuid) as counter:
            channel.send(Answer([counter.source, None]))
    except UnreadableError as error:
        channel.send(Answer([None, str(error)]))


def measure_energy(channel: Channel, current: CurrentContender, case: Case, spec: str, seed: int) -> None:
    """Send the joules of one call, or the sentence that says why they are not known."""
    try:
        loaded, reply = prepared.prepare(CaseTask(case, (spec,), (HERE,), (0,), seed), current)
        for _, reason in reply.rejected.values():
            channel.send(Answer(reason))
            return
        where = device(case.device)
        truth = loaded.contenders[0].implementation.truth
        call = loaded.bind(0, loaded.sample(seed), inputs.upstream(case, seed, truth.shape(case)))

        def run(count: int) -> None:
            for _ in range(count):
                call()
            where.synchronize()

        with energy_counter.opened(case.device, where.uuid) as counter:
            channel.send(Answer(energy.joules_per_call(run, counter)))
    except Exception as error:
        channel.send(Answer(f"{type(error).__name__}: {error}"))
