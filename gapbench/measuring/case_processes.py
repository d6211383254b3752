"""The processes of one case: they load its contenders, judge them, and measure its rounds.

On the CPU a process loads the case once, and some rounds are forked from it (`serve_case`). Where that is impossible
(an accelerator, threads that are left running), every round loads the case itself. Sides share a process if they can;
else each has its own, and they pass a token (`side_sync`).
"""

import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from gapbench import operations
from gapbench.measuring import examiner, forkserver, protocol, rounds, side_sync, worker
from gapbench.measuring.events import Event, Qualified, SidesSeparated, WorkerLost
from gapbench.measuring.examiner import Examination, Paper
from gapbench.measuring.plan import HERE, CasePlan, Plan
from gapbench.measuring.prepared import CaseTask
from gapbench.measuring.rounds import Assignment
from gapbench.measuring.servers import Servers
from gapbench.measuring.side_sync import merged
from gapbench.measuring.worker import ProcessSlot
from gapbench.store.records import NULL, Qualification

SECONDS_PER_WEIGHT = 1e-6
"""Seconds added to the timeout for each weight of a head: making and judging one takes about a tenth of this."""

ROUNDS_PER_PARENT = 4
"""Rounds forked from one process before another one, with its code elsewhere in memory, replaces it."""

_DEATHS_FORGIVEN = 1


@dataclass(slots=True)
class _Group:
    """Sides that share a process: ``branch`` has loaded ``task``, None where each round loads it; and its examiners."""

    sides: tuple[int, ...]
    branch: forkserver.Branch | None = None
    examiner: forkserver.Branch | None = None
    task: CaseTask | None = None
    rounds: int = 0
    forkable: bool = False

    def close(self) -> None:
        for branch in (self.branch, self.examiner):
            if branch is not None:
                branch.close()
        self.branch = self.examiner = None


class CaseProcesses:
    """The processes of one case plan; contender i is implementation ``i % n`` (of ``names``) of side ``i // n``.

    ``refused`` are pairs of a clock's name and a contender that the clock does not time.
    """

    def __init__(self, case_plan: CasePlan, plan: Plan, servers: Servers) -> None:
        self.case_plan, self.case = case_plan, case_plan.case
        self.names, self.specs = tuple(case_plan.specs), tuple(case_plan.specs.values())
        self.qualifications: dict[int, Qualification] = {}
        self.refused: set[tuple[str, int]] = set()
        self._plan, self._servers = plan, servers
        self._count = len(self.names)
        self._total = self._count * len(plan.sides)
        self._deaths: Counter[int | None] = Counter()
        self._timed: set[tuple[str, int]] = set()
        """Clocks and contenders that a refusal of theirs is forgiven: they have been timed since the last one."""
        self._generation = 0
        by_python: dict[str, list[int]] = {}
        for number, side in enumerate(plan.sides):
            by_python.setdefault(side.python, []).append(number)
        self._groups = [_Group(tuple(sides)) for sides in by_python.values()]
        weights = sum(operations.parameters(spec, self.case) for spec in self.specs)
        self._timeout = plan.effort.patience + SECONDS_PER_WEIGHT * weights * len(plan.sides)

    @property
    def contenders(self) -> tuple[int, ...]:
        """The contenders that are ok so far."""
        return tuple(index for index, result in sorted(self.qualifications.items()) if result.status == "ok")

    def close(self) -> None:
        """End the processes that have the case loaded; another round would load it again."""
        for group in self._groups:
            group.close()

    # Qualifying

    def qualify(self) -> Iterator[Event]:
        """Load and judge every contender, all of a group in one process, and yield the result of each."""
        unjudged = []
        for index in range(self._total):
            spec, source = self.specs[index % self._count], self._plan.sides[index // self._count].source
            # Only a worker knows the implementations of other checkouts.
            if source == HERE and (reason := operations.unsupported_reason(spec, self.case)):
                yield from self._record(index, Qualification("unsupported", reason))
            else:
                unjudged.append(index)
        pending = list(self._groups)
        while pending:
            group = pending.pop(0)
            members = self._members(group, unjudged)
            reply = yield from self._load(group, members)
            if reply is None or reply.conflict is None:
                yield from self._judge(group, members)
            elif (yield from self._fail_alone(reply)):
                pending.insert(0, group)
            else:
                yield SidesSeparated(self.case, reply.conflict)
                separated = [_Group((side,)) for side in group.sides]
                self._groups.remove(group)
                self._groups += separated
                pending[:0] = separated

    def _members(self, group: _Group, contenders: Iterable[int]) -> list[int]:
        return [index for index in contenders if index // self._count in group.sides]

    def _unqualified(self, contenders: Iterable[int]) -> list[int]:
        return [index for index in contenders if index not in self.qualifications]

    def _fail_alone(self, reply: protocol.Prepared) -> Generator[Event, None, bool]:
        """Load each contender that failed beside another side without it; tell whether one fails by itself too."""
        failed = [index for index, (status, _) in reply.rejected.items() if status == "failed"]
        for index in failed:
            group = _Group((index // self._count,))
            yield from self._load(group, [index])
            group.close()
        return any(index in self.qualifications for index in failed)

    def _load(self, group: _Group, contenders: Sequence[int]) -> Generator[Event, None, protocol.Prepared | None]:
        """Load contenders into a new process; one that prevents this is dropped, and the others are loaded again."""
        while contenders := self._unqualified(contenders):
            server, task = self._server(group), self._task(contenders)
            branch = server.branch(worker.serve_case, task)
            answer: object
            try:
                answer = next(branch.worker.messages(*self._deadline(branch, contenders)))
            except forkserver.WorkerTimeoutError as error:
                answer = error
            if not isinstance(answer, protocol.Prepared) or not protocol.fits_prepared(answer, contenders):
                culprit = branch.current.get(self._total)
                branch.close()
                yield from self._died(culprit, answer, self._timeout, contenders, forgiving=culprit is None)
                continue
            if answer.conflict is not None:
                branch.close()
                return answer
            group.forkable = branch.serving = answer.forkable
            if answer.forkable:
                group.branch, group.task = branch, task
                group.examiner = server.branch(examiner.serve, task)
                group.examiner.serving = True
            else:
                branch.close()
            yield from self._record_rejected(answer)
            return answer
        return None

    def _judge(self, group: _Group, contenders: Sequence[int]) -> Iterator[Event]:
        seeds = self._plan.effort.seed, self._plan.effort.seed + 1
        while contenders := self._unqualified(contenders):
            forker = group.branch or self._server(group)
            task = None if group.branch else self._task(contenders)
            forker.current.clear()
            end: object = None
            with self._examination(group, task, seeds, stressed=True) as examination:
                job = examination.start(forker, worker.judge_contenders, task, tuple(contenders), seeds)
                try:
                    for message in job.messages(*self._deadline(forker, contenders)):
                        end = message
                        match message:
                            case protocol.Judged(index, claim) if index in contenders and protocol.is_judgement(claim):
                                confirmed = examination.confirm(index, claim)
                                if confirmed is None:
                                    job.kill()
                                    end = examination.died
                                    break
                                yield from self._record(index, confirmed)
                            case protocol.Prepared() if protocol.fits_prepared(message, contenders):
                                yield from self._record_rejected(message)
                            case protocol.WorkerExit():
                                pass
                            case _:
                                job.kill()
                                break
                except forkserver.WorkerTimeoutError as error:
                    end = error
            culprit = forker.current.get(self._total)
            if end != protocol.WorkerExit(0):
                if end == forkserver.SERVER_DIED:
                    group.close()
                yield from self._died(culprit, end, self._timeout, contenders, forgiving=culprit is None)
            elif not any(index in self.qualifications for index in contenders):
                yield from self._died(culprit, None, self._timeout, contenders, forgiving=False)

    def _examination(
        self, group: _Group, task: CaseTask | None, seeds: tuple[int, ...], stressed: bool = False
    ) -> Examination:
        task = task or group.task
        assert task is not None
        return Examination(group.examiner or self._server(group), [Paper(task, seeds, stressed)])

    def _deadline(self, forker: forkserver.Forker, contenders: Sequence[int]) -> tuple[float, Callable[[], float]]:
        """Return a worker's deadline, and a function that extends it once for each further contender that runs."""
        started = {forker.current.get()}

        def grace() -> float:
            running = forker.current.get(self._total)
            if running in started or running not in contenders:
                return 0.0
            started.add(running)
            return self._timeout

        return time.monotonic() + self._timeout, grace

    def _record(self, index: int, result: Qualification, clock: str | None = None) -> Iterator[Event]:
        if clock is None:
            self.qualifications[index] = result
        side = self._plan.sides[index // self._count].name
        if side != NULL:
            name = self.names[index % self._count]
            yield Qualified(self.case, name, result, clock, side, self.case_plan.memory)

    def _record_rejected(self, reply: protocol.Prepared) -> Iterator[Event]:
        for index, (status, reason) in reply.rejected.items():
            yield from self._record(index, Qualification(status, reason))

    def _died(
        self,
        culprit: int | None,
        answer: object,
        timeout: float,
        contenders: Sequence[int],
        number: int = 0,
        forgiving: bool = True,
    ) -> Iterator[Event]:
        """Drop the contender that ended a process, all if it is unknown; the first death of each is forgiven."""
        status, reason = forkserver.how_it_ended(answer, timeout)
        if culprit not in contenders:
            culprit = None
        self._deaths[culprit] += 1
        if forgiving and status == "failed" and self._deaths[culprit] <= _DEATHS_FORGIVEN:
            name = "none of them" if culprit is None else self.names[culprit % self._count]
            yield WorkerLost(self.case, name, number, reason)
            return
        for index in list(contenders) if culprit is None else [culprit]:
            yield from self._record(index, Qualification(status, reason))

    # Rounds

    def measure(self, number: int, assignment: Assignment) -> Generator[Event, None, protocol.RoundResult | None]:
        """Measure a round of this case; None where a contender or a death prevented it. Yields what is dropped."""
        yield from self._renew()
        if not assignment.contenders <= set(self.contenders):
            return None  # one was dropped while the case was loaded again
        groups = [group for group in self._groups if self._members(group, assignment.contenders)]
        timeout = self.timeout(assignment)
        answer, current = (
            self._alone(groups[0], assignment, timeout)
            if len(groups) == 1
            else self._together(groups, assignment, timeout)
        )
        for group in groups:
            group.rounds += 1
            if answer == forkserver.SERVER_DIED:  # perhaps this group's
                group.close()
        return (yield from self.accept(number, assignment, answer, current))

    def accept(
        self, number: int, assignment: Assignment, answer: object, current: int | None
    ) -> Generator[Event, None, protocol.RoundResult | None]:
        """Return a round's result if it is valid; else drop what prevented it: ``current`` ran last."""
        entries = {clock: frozenset(indices) for clock, indices in assignment.entries.items()}
        if isinstance(answer, protocol.RoundResult) and protocol.fits_round(answer, entries):
            self._timed.update((clock, index) for clock, indices in entries.items() for index in indices)
            return answer
        contenders = sorted(assignment.contenders)
        if isinstance(answer, protocol.RoundFailure) and protocol.fits_failure(answer, self._total, entries):
            for failure in (answer, *answer.more):
                yield from self._refused(failure, contenders, number)
            return None
        yield from self._died(current, answer, self.timeout(assignment), contenders, number)
        return None

    def _refused(self, failure: protocol.RoundFailure, taking_part: Sequence[int], number: int) -> Iterator[Event]:
        """Drop who failed, from one clock or from all; a first refusal of what a clock has timed before is forgiven."""
        for index in taking_part if failure.contender is None else [failure.contender]:
            row = failure.clock or "", index
            if failure.status == "failed" and row in self._timed:
                self._timed.discard(row)
                yield WorkerLost(self.case, self.names[index % self._count], number, failure.reason)
                continue
            yield from self._record(index, Qualification(failure.status, failure.reason), failure.clock)
            if failure.clock:
                self.refused.add((failure.clock, index))

    def timeout(self, assignment: Assignment) -> float:
        """Return the seconds after which a round is given up."""
        return self._timeout + 10 * assignment.slice_seconds

    def job(self, assignment: Assignment) -> tuple[forkserver.Forker, CaseTask] | None:
        """Return what one worker needs to load and measure a round, None where that takes several workers."""
        if len(self._groups) > 1:
            return None
        task = replace(self._task(sorted(assignment.contenders)), seed=assignment.seed)
        return self._server(self._groups[0]), task

    def _renew(self) -> Iterator[Event]:
        """Load the case into another process, where there is none or it has served enough rounds."""
        for group in self._groups:
            if not group.forkable or (group.branch is not None and group.rounds < ROUNDS_PER_PARENT):
                continue
            group.close()
            self._generation += 1
            group.rounds = 0
            members = self._members(group, self.contenders)
            earlier = {index: self.qualifications.pop(index) for index in members}
            reply = yield from self._load(group, members)
            for index in self._unqualified(members):
                result = earlier[index]
                if reply is not None and result.compile_seconds is not None and result.warm_compile_seconds is None:
                    result = replace(result, warm_compile_seconds=reply.first_call.get(index))
                    yield from self._record(index, result)
                self.qualifications[index] = result

    def _alone(self, group: _Group, assignment: Assignment, timeout: float) -> tuple[object, int | None]:
        forker, task = self._forker(group, assignment)
        forker.current.clear()
        with self._examination(group, task, rounds.seeds(assignment.seed)) as examination:
            job = examination.start(forker, worker.measure_rounds, ((task, assignment),), ProcessSlot())
            answer = examination.checked(forkserver.last_answer(job, timeout), assignment.entries)
        return answer, None if examination.died else forker.current.get(self._total)

    def _together(self, groups: Sequence[_Group], assignment: Assignment, timeout: float) -> tuple[object, int | None]:
        """Measure a round in one process for each group, in a random order; one process computes, the others wait."""
        groups = Random(assignment.seed).sample(groups, len(groups))
        processes = {
            index: number for number, group in enumerate(groups) for index in self._members(group, range(self._total))
        }
        assignment = replace(assignment, processes=processes)
        core = None  # the processor that all processes of the round compute on
        if self.case.device == "cpu" and self.case.threads == 1 and hasattr(os, "sched_getaffinity"):
            core = Random(f"{assignment.seed}/core").choice(sorted(os.sched_getaffinity(0)))
        with contextlib.ExitStack() as stack:
            bytes_ = [stack.enter_context(contextlib.closing(forkserver.CurrentContender.create())) for _ in groups]
            pipes = [os.pipe() for _ in groups]
            workers: list[forkserver.Worker] = []
            examinations: list[Examination] = []
            try:
                for number, group in enumerate(groups):
                    forker, task = self._forker(group, assignment)
                    examination = self._examination(group, task, rounds.seeds(assignment.seed))
                    examinations.append(stack.enter_context(examination))
                    descriptors = [bytes_[number].descriptor, pipes[number][0], *(outbox for _, outbox in pipes)]
                    job = (worker.measure_rounds, ((task, assignment),), ProcessSlot(number, core))
                    workers.append(examination.start(forker, *job, descriptors=descriptors))
            finally:
                for descriptor in itertools.chain.from_iterable(pipes):  # else the others would not notice a death
                    os.close(descriptor)
            answer, culprit = _converse(workers, assignment, self._count, timeout)
            for number, examination in enumerate(examinations):
                own = {
                    clock: [index for index in indices if processes[index] == number]
                    for clock, indices in assignment.entries.items()
                }
                answer = examination.checked(answer, own)
            running = [byte.get(self._total) for byte in bytes_]
            if culprit is None:  # processes that wait for another one have no current contender
                return answer, next((index for index in running if index is not None), None)
            return answer, running[culprit]

    def _forker(self, group: _Group, assignment: Assignment) -> tuple[forkserver.Forker, CaseTask | None]:
        if group.branch is not None:
            return group.branch, None
        task = self._task(self._members(group, sorted(assignment.contenders)))
        return self._server(group, assignment.seed), replace(task, seed=assignment.seed)

    def _server(self, group: _Group, number: int | None = None) -> forkserver.Forker:
        python = self._plan.sides[group.sides[0]].python
        return self._servers.of(self.case_plan.memory, python, self._generation if number is None else number)

    def _task(self, contenders: Sequence[int]) -> CaseTask:
        seed = Random(f"{self._plan.effort.seed}/{self.case.id}/{self._generation}").getrandbits(32)
        sources = tuple(side.source for side in self._plan.sides)
        return CaseTask(self.case, self.specs, sources, tuple(contenders), seed)


def _converse(
    workers: Sequence[forkserver.Worker], assignment: Assignment, implementations: int, timeout: float
) -> tuple[object, int | None]:
    """Let workers agree and measure; return the joined result, or what prevented it and in which (None: timeout)."""
    results: dict[int, protocol.RoundResult] = {}
    agreed: dict[int, protocol.Calibration] = {}
    agreements = Counter[int]()
    left_alone: list[int] = []
    try:
        for number, message in forkserver.conversation(workers, time.monotonic() + timeout):
            match message:
                case protocol.RoundResult() if agreements[number] == len(assignment.entries) and number not in results:
                    results[number] = message
                case protocol.Agreement(calibration) if number not in agreed and number not in results:
                    if any(assignment.processes.get(index) != number for index in calibration):
                        return None, number
                    agreed[number] = calibration
                    agreements[number] += 1
                    if len(agreed) == len(workers):
                        shared = protocol.Agreement(merged(list(agreed.values()), implementations))
                        agreed.clear()
                        for each in workers:
                            each.send(shared)
                case protocol.WorkerExit() if number in results:
                    continue
                case protocol.WorkerExit(status=side_sync.LEFT_ALONE):
                    left_alone.append(number)  # the worker that left it has still to say why
                case protocol.WorkerExit() | protocol.RoundFailure():
                    return message, number
                case _:
                    return None, number
    except forkserver.WorkerTimeoutError as error:
        return error, None
    finally:
        for each in workers:
            each.kill()
    if left_alone:
        return None, next(iter(results), left_alone[0])
    return _joined([results[number] for number in sorted(results)]), 0


def _joined(results: Sequence[protocol.RoundResult]) -> protocol.RoundResult | None:
    """Return the batches of all processes as one result, None if they do not have the same clocks."""
    first = results[0]
    if any(other.batches.keys() != first.batches.keys() for other in results):
        return None
    for other in results[1:]:
        for clock, batches in other.batches.items():
            for name in batches.__struct_fields__:
                getattr(first.batches[clock], name).extend(getattr(batches, name))
            first.calibration.get(clock, {}).update(other.calibration.get(clock, {}))
    return first
