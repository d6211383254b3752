"""The processes of one case: they load its contenders, judge them, and measure its rounds.

On the CPU a case is loaded once, and rounds are forked from the process that has it (`serve_case`); after some rounds
another one takes its place. Where that cannot be (an accelerator, OpenMP's threads, threads that an implementation left
behind), every round loads the case itself. Sides share a process where they can; else each has its own and they pass a
token (`side_sync`).
"""

import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
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
from gapbench.measuring.worker import Place
from gapbench.store.records import NULL, Qualification

SECONDS_PER_WEIGHT = 1e-6
"""More patience for large heads: making their weights and judging them in float64 takes about a tenth of this."""

ROUNDS_PER_PARENT = 4
"""Rounds that are forked from one process before another one, with its code elsewhere in memory, takes over."""

_DEATHS_FORGIVEN = 1


@dataclass(slots=True)
class _Group:
    """Sides that share a process: the process that has loaded them, or None where every round loads by itself."""

    sides: tuple[int, ...]
    branch: forkserver.Branch | None = None
    examiner: forkserver.Branch | None = None
    """Forks the examiners of what is forked from ``branch``."""
    task: CaseTask | None = None
    """What ``branch`` has loaded."""
    rounds: int = 0
    forkable: bool = False


class CaseProcesses:
    """The processes of one case plan; contender i is implementation ``i % n`` (of ``names``) of side ``i // n``."""

    def __init__(self, case_plan: CasePlan, plan: Plan, servers: Servers) -> None:
        self.case_plan, self.case = case_plan, case_plan.case
        self.names, self.specs = tuple(case_plan.specs), tuple(case_plan.specs.values())
        self.qualifications: dict[int, Qualification] = {}
        self.refused: set[tuple[str, int]] = set()
        """Clocks and contenders that they will not time."""
        self._plan, self._servers = plan, servers
        self._count = len(self.names)
        self._everyone = self._count * len(plan.sides)
        self._deaths: Counter[int | None] = Counter()
        self._timed: set[tuple[str, int]] = set()
        """Clocks and contenders that a refusal of theirs is forgiven: they have been timed since the last one."""
        self._generation = 0
        by_python: dict[str, list[int]] = {}
        for number, side in enumerate(plan.sides):
            by_python.setdefault(side.python, []).append(number)
        self._groups = [_Group(tuple(sides)) for sides in by_python.values()]
        weights = sum(operations.parameters(spec, self.case) for spec in self.specs)
        self._patience = plan.effort.patience + SECONDS_PER_WEIGHT * weights * len(plan.sides)

    @property
    def contenders(self) -> tuple[int, ...]:
        """The contenders that are ok so far."""
        return tuple(index for index, found in sorted(self.qualifications.items()) if found.status == "ok")

    def close(self) -> None:
        """End all processes."""
        for group in self._groups:
            self._end(group)

    # Qualifying

    def qualify(self) -> Iterator[Event]:
        """Load and judge every contender, each in the company of the others, and yield what was found of each."""
        alive = []
        for index in range(self._everyone):
            spec, source = self.specs[index % self._count], self._plan.sides[index // self._count].source
            if source == HERE and (
                reason := operations.unsupported_reason(spec, self.case)
            ):  # elsewhere only a worker knows
                yield from self._found(index, Qualification("unsupported", reason))
            else:
                alive.append(index)
        groups = list(self._groups)
        while groups:
            group = groups.pop(0)
            mine = [index for index in alive if index // self._count in group.sides]
            reply = yield from self._load(group, mine)
            if reply is not None and reply.conflict is not None:
                if (yield from self._fail_alone(reply)):
                    groups.insert(0, group)
                    continue
                yield SidesSeparated(self.case, reply.conflict)
                self._end(group)
                apart = [_Group((side,)) for side in group.sides]
                self._groups[self._groups.index(group) : self._groups.index(group) + 1] = apart
                groups[:0] = apart
                continue
            yield from self._judge(group, [index for index in mine if index not in self.qualifications])

    def _fail_alone(self, reply: protocol.Prepared) -> Generator[Event, None, bool]:
        """Load those that failed beside another side without it; tell whether they fail by themselves too."""
        failed = [index for index, (status, _) in reply.rejected.items() if status == "failed"]
        for index in failed:
            group = _Group((index // self._count,))
            yield from self._load(group, [index])
            self._end(group)
        return any(index in self.qualifications for index in failed)

    def _load(self, group: _Group, contenders: Sequence[int]) -> Generator[Event, None, protocol.Prepared | None]:
        """Load contenders into a process of their own; who prevents that is dropped, and it is tried again."""
        while contenders := [index for index in contenders if index not in self.qualifications]:
            server, task = self._server(group), self._task(contenders)
            branch = server.branch(worker.serve_case, task)
            reply, answer = None, None
            try:
                for message in branch.worker.messages(*self._patient(branch, contenders)):
                    answer = message
                    break
            except forkserver.WorkerTimeoutError as error:
                answer = error
            if isinstance(answer, protocol.Prepared) and self._fits(answer, contenders):
                reply = answer
            if reply is None:
                culprit = branch.current.one_of(self._everyone)
                branch.close()
                how = forkserver.how_it_ended(answer, self._patience)
                yield from self._died(culprit, how, contenders, 0, forgiving=culprit is None)
                continue
            if reply.conflict is not None:
                branch.close()
                return reply
            group.forkable = branch.serving = reply.forkable
            if reply.forkable:
                group.branch, group.task = branch, task
                group.examiner = server.branch(examiner.serve, task)
                group.examiner.serving = True
            else:
                branch.close()
            for index, (status, reason) in reply.rejected.items():
                yield from self._found(index, Qualification(status, reason))
            return reply
        return None

    def _judge(self, group: _Group, contenders: list[int]) -> Iterator[Event]:
        seeds = self._plan.effort.seed, self._plan.effort.seed + 1
        while contenders := [index for index in contenders if index not in self.qualifications]:
            forker = group.branch or self._server(group)
            task = None if group.branch else self._task(contenders)
            forker.current.clear()
            end: object = None
            complete = False
            with self._examination(group, task, seeds, stressed=True) as examination:
                job = examination.start(forker, worker.judge_contenders, task, tuple(contenders), seeds)
                try:
                    for message in job.messages(*self._patient(forker, contenders)):
                        end = message
                        match message:
                            case protocol.Judged(index, found) if index in contenders and protocol.is_judgement(found):
                                confirmed = examination.confirm(index, found)
                                if confirmed is None:
                                    job.kill()
                                    end = examination.died
                                    break
                                yield from self._found(index, confirmed)
                            case protocol.Prepared() if self._fits(message, contenders):
                                for index, (status, reason) in message.rejected.items():
                                    yield from self._found(index, Qualification(status, reason))
                            case protocol.WorkerExit(status=0):
                                complete = True
                            case protocol.WorkerExit():
                                pass
                            case _:
                                job.kill()
                                break
                except forkserver.WorkerTimeoutError as error:
                    end = error
            culprit = forker.current.one_of(self._everyone)
            if not complete:
                if end == forkserver.SERVER_DIED:
                    self._end(group)
                forgiving = culprit is None
                yield from self._died(culprit, forkserver.how_it_ended(end, self._patience), contenders, 0, forgiving)
            elif not any(index in self.qualifications for index in contenders):
                yield from self._died(culprit, ("failed", protocol.PROTOCOL_ERROR), contenders, 0, forgiving=False)

    def _examination(
        self, group: _Group, task: CaseTask | None, seeds: tuple[int, ...], stressed: bool = False
    ) -> Examination:
        """Start the examiner of a worker that loads ``task``, or has been forked from the group's branch."""
        task = task or group.task
        assert task is not None
        return Examination(group.examiner or self._server(group), [Paper(task, seeds, stressed)])

    def _patient(self, forker: forkserver.Forker, contenders: Sequence[int]) -> tuple[float, Callable[[], float]]:
        """Return a worker's deadline, and what puts it off where another contender runs by then, once for each."""
        seen = {forker.current.get()}

        def grace() -> float:
            running = forker.current.one_of(self._everyone)
            if running in seen or running not in contenders:
                return 0.0
            seen.add(running)
            return self._patience

        return time.monotonic() + self._patience, grace

    def _fits(self, reply: protocol.Prepared, contenders: Sequence[int]) -> bool:
        told = {*reply.first_call, *reply.rejected}
        judged = all(protocol.is_judgement(Qualification(*one)) for one in reply.rejected.values())
        return told == set(contenders) and judged and all(status != "ok" for status, _ in reply.rejected.values())

    def _found(self, index: int, found: Qualification, clock: str | None = None) -> Iterator[Event]:
        if clock is None:
            self.qualifications[index] = found
        side = self._plan.sides[index // self._count].name
        if side != NULL:
            name = self.names[index % self._count]
            yield Qualified(self.case, name, found, clock, side, self.case_plan.memory)

    def _died(
        self, culprit: int | None, how: tuple[str, str], contenders: Sequence[int], number: int, forgiving: bool = True
    ) -> Iterator[Event]:
        """Drop whoever ended a process; a first death in a round is forgiven."""
        status, reason = how
        if culprit not in contenders:
            culprit = None
        self._deaths[culprit] += 1
        if forgiving and status == "failed" and self._deaths[culprit] <= _DEATHS_FORGIVEN:
            name = "none of them" if culprit is None else self.names[culprit % self._count]
            yield WorkerLost(self.case, name, number, reason)
            return
        for index in list(contenders) if culprit is None else [culprit]:
            yield from self._found(index, Qualification(status, reason))

    # Rounds

    def measure(self, number: int, assignment: Assignment) -> Generator[Event, None, protocol.RoundResult | None]:
        """Measure one round of this case and return its result, or None where somebody prevented it.

        ``assignment`` has the entries of all sides; whoever prevents the round is told, and dropped, but for a first
        death.
        """
        yield from self._renew()
        if not _taking_part(assignment) <= set(self.contenders):
            return None  # somebody was dropped while the case was loaded anew
        sides = {index // self._count for index in _taking_part(assignment)}
        groups = [group for group in self._groups if sides & {*group.sides}]
        timeout = self.timeout(assignment)
        answer, current = (
            self._alone(groups[0], assignment, timeout)
            if len(groups) == 1
            else self._together(groups, assignment, timeout)
        )
        for group in groups:
            group.rounds += 1
            if answer == forkserver.SERVER_DIED:  # perhaps this one: it is loaded again
                self._end(group)
        return (yield from self.accept(number, assignment, answer, current))

    def accept(
        self, number: int, assignment: Assignment, answer: object, current: int | None
    ) -> Generator[Event, None, protocol.RoundResult | None]:
        """Return the result of a round if it fits, else drop whoever prevented it: ``current`` ran at the end."""
        entries = {clock: frozenset(indices) for clock, indices in assignment.entries.items()}
        if isinstance(answer, protocol.RoundResult) and protocol.fits_round(answer, entries):
            self._timed.update((clock, index) for clock, indices in entries.items() for index in indices)
            return answer
        taking_part = sorted(_taking_part(assignment))
        if isinstance(answer, protocol.RoundFailure) and protocol.fits_failure(answer, self._everyone, entries):
            for failure in (answer, *answer.more):
                yield from self._refused(failure, taking_part, number)
            return None
        yield from self._died(current, forkserver.how_it_ended(answer, self.timeout(assignment)), taking_part, number)
        return None

    def _refused(self, failure: protocol.RoundFailure, taking_part: Sequence[int], number: int) -> Iterator[Event]:
        """Drop who failed, from one clock or from all; a first refusal of what a clock has timed before is forgiven."""
        for index in taking_part if failure.contender is None else [failure.contender]:
            row = failure.clock or "", index
            if failure.status == "failed" and row in self._timed:
                self._timed.discard(row)
                yield WorkerLost(self.case, self.names[index % self._count], number, failure.reason)
                continue
            yield from self._found(index, Qualification(failure.status, failure.reason), failure.clock)
            if failure.clock:
                self.refused.add((failure.clock, index))

    def timeout(self, assignment: Assignment) -> float:
        """Return the seconds after which a round is given up."""
        return self._patience + 10 * assignment.slice_seconds

    def unload(self) -> None:
        """End the processes that have the case loaded; the next round loads it again."""
        for group in self._groups:
            self._end(group)

    def job(self, assignment: Assignment) -> tuple[forkserver.Forker, CaseTask] | None:
        """Return what a worker needs to load and measure a round by itself, None where that takes several workers."""
        (group, *others) = self._groups
        if others:
            return None
        return self._server(group), replace(self._task(sorted(_taking_part(assignment))), seed=assignment.seed)

    def _renew(self) -> Iterator[Event]:
        """Let another process take over after some rounds."""
        for group in self._groups:
            if not group.forkable or (group.branch is not None and group.rounds < ROUNDS_PER_PARENT):
                continue
            self._end(group)
            self._generation += 1
            group.rounds = 0
            mine = [index for index in self.contenders if index // self._count in group.sides]
            before = dict(self.qualifications)
            for index in mine:
                del self.qualifications[index]
            reply = yield from self._load(group, mine)
            for index in mine:
                if index not in self.qualifications:
                    found = before[index]
                    if reply is not None and found.compile_seconds is not None and found.warm_compile_seconds is None:
                        found = replace(found, warm_compile_seconds=reply.first_call.get(index))
                        yield from self._found(index, found)
                    self.qualifications[index] = found

    def _alone(self, group: _Group, assignment: Assignment, timeout: float) -> tuple[object, int | None]:
        forker, task = self._forker(group, assignment)
        forker.current.clear()
        with self._examination(group, task, rounds.seeds(assignment.seed)) as examination:
            job = examination.start(forker, worker.measure_round, task, assignment, Place())
            answer = examination.checked(forkserver.last_answer(job, timeout), assignment.entries)
        return answer, None if examination.died else forker.current.one_of(self._everyone)

    def _together(self, groups: Sequence[_Group], assignment: Assignment, timeout: float) -> tuple[object, int | None]:
        """Measure a round in one process for each group, in a random order; one computes at a time."""
        groups = Random(assignment.seed).sample(groups, len(groups))
        processes = {
            side * self._count + implementation: number
            for number, group in enumerate(groups)
            for side in group.sides
            for implementation in range(self._count)
        }
        assignment = replace(assignment, processes=processes)
        core = _core(self.case.device, self.case.threads, assignment.seed)
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
                    job = (worker.measure_round, task, assignment, Place(number, core))
                    workers.append(examination.start(forker, *job, descriptors=descriptors))
            finally:
                for descriptor in itertools.chain.from_iterable(pipes):  # or a death would end in silence
                    os.close(descriptor)
            answer, culprit = _converse(workers, assignment, self._count, timeout)
            for number, examination in enumerate(examinations):
                own = {
                    clock: [index for index in indices if processes[index] == number]
                    for clock, indices in assignment.entries.items()
                }
                answer = examination.checked(answer, own)
            running = [byte.one_of(self._everyone) for byte in bytes_]
            if culprit is None:  # whoever is not waiting for another
                return answer, next((index for index in running if index is not None), None)
            return answer, running[culprit]

    def _forker(self, group: _Group, assignment: Assignment) -> tuple[forkserver.Forker, CaseTask | None]:
        if group.branch is not None:
            return group.branch, None
        mine = [index for index in sorted(_taking_part(assignment)) if index // self._count in group.sides]
        task = replace(self._task(mine), seed=assignment.seed)
        return self._server(group, assignment.seed), task

    def _server(self, group: _Group, number: int | None = None) -> forkserver.Forker:
        python = self._plan.sides[group.sides[0]].python
        return self._servers.of(self.case_plan.memory, python, self._generation if number is None else number)

    def _task(self, contenders: Sequence[int]) -> CaseTask:
        seed = Random(f"{self._plan.effort.seed}/{self.case.id}/{self._generation}").getrandbits(32)
        sources = tuple(side.source for side in self._plan.sides)
        return CaseTask(self.case, self.specs, sources, tuple(contenders), seed)

    def _end(self, group: _Group) -> None:
        if group.branch is not None:
            group.branch.close()
            group.branch = None
        if group.examiner is not None:
            group.examiner.close()
            group.examiner = None


def _taking_part(assignment: Assignment) -> set[int]:
    return {index for entries in assignment.entries.values() for index in entries}


def _core(device: str, threads: int, seed: int) -> int | None:
    """Return the processor on which all processes of a round compute, where one is enough and can be chosen."""
    if device != "cpu" or threads > 1 or not hasattr(os, "sched_getaffinity"):
        return None
    return Random(f"{seed}/core").choice(sorted(os.sched_getaffinity(0)))


def _converse(
    workers: Sequence[forkserver.Worker], assignment: Assignment, implementations: int, timeout: float
) -> tuple[object, int | None]:
    """Let the workers of a round agree and finish; return the whole result, or what prevented it and in which one.

    At the first failure, death or reply that does not fit all are ended; which one hangs is not known here.
    """
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
                        everyone = protocol.Agreement(merged(list(agreed.values()), implementations))
                        agreed.clear()
                        for each in workers:
                            each.send(everyone)
                case protocol.WorkerExit() if number in results:
                    continue
                case protocol.WorkerExit(status=side_sync.LEFT_ALONE):
                    left_alone.append(number)  # by one that is still to tell why
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
    """Return the batches of all processes as one result, None if they do not time the same clocks."""
    first = results[0]
    if any(other.batches.keys() != first.batches.keys() for other in results):
        return None
    for other in results[1:]:
        for clock, batches in other.batches.items():
            for name in batches.__struct_fields__:
                getattr(first.batches[clock], name).extend(getattr(batches, name))
            first.calibration.get(clock, {}).update(other.calibration.get(clock, {}))
    return first
