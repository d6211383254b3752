"""The one engine: qualify a plan's contenders, measure what a policy asks for, and yield events as they happen."""

import contextlib
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import numpy as np
import psutil

from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.unreadable import Reasons
from gapbench.measuring import worker
from gapbench.measuring.case_processes import CaseProcesses
from gapbench.measuring.ceilings import PATIENCE, unmeasured
from gapbench.measuring.events import CaseDone, CeilingsMeasured, Event, Ready, RoundMeasured, Warned
from gapbench.measuring.examiner import Examination, Paper
from gapbench.measuring.forkserver import Forker, WorkerTimeoutError, how_it_ended, last_answer
from gapbench.measuring.plan import Effort, Plan
from gapbench.measuring.policies import CaseState, Policy, Precision, Request
from gapbench.measuring.prepared import CaseTask
from gapbench.measuring.protocol import Answer, Calibration, RoundFailure, RoundResult
from gapbench.measuring.rounds import Assignment, seeds
from gapbench.measuring.servers import Servers
from gapbench.store.run import Warning
from gapbench.workloads.cases import Case


def measure(
    plan: Plan,
    policy: Policy | None = None,
    earlier: Sequence[RoundMeasured] = (),
    with_ceilings: bool = False,
    servers: Servers | None = None,
) -> Iterator[Event]:
    """Measure a plan and yield events; closing the generator ends all processes.

    ``policy`` is `Precision` by default. ``earlier`` are rounds from before an interruption. ``with_ceilings`` measures
    these first. ``servers`` started early; the caller ends them. What fails does so in its own rows only.
    """
    effort = plan.effort
    policy = policy or Precision(effort)
    moments = [time.monotonic()]
    deadline = moments[0] + effort.budget
    with contextlib.ExitStack() as stack:
        servers = servers or stack.enter_context(Servers())
        if any(case_plan.case.device != "cpu" for case_plan in plan.plans):
            # Held for the whole run, so that the driver does not let go of the GPU between two workers.
            stack.enter_context(nvml.every_gpu(Reasons()))
        servers.load(plan.plans, plan.sides)
        yield Ready()
        states = [CaseState(case_plan, plan, CaseProcesses(case_plan, plan, servers)) for case_plan in plan.plans]
        try:
            yield from _qualify(states)
            moments.append(time.monotonic())
            if with_ceilings:
                cases = [state.case for state in states if state.rows()]
                yield measure_ceilings(cases, servers.any)
            moments.append(time.monotonic())
            by_key = {state.case_plan.key: state for state in states}
            for measured in earlier:
                by_key[measured.case, measured.memory].record(measured)
            rounds = _Rounds(plan, 1 + max((measured.process for measured in earlier), default=-1))
            for item in policy.schedule(states, deadline):
                if isinstance(item, list):
                    yield from rounds.sweep(item)
                else:
                    yield item
                    if isinstance(item, CaseDone):
                        by_key[item.case, item.memory].processes.close()
            yield from _late([*moments, time.monotonic()], effort)
        finally:
            for state in states:
                state.processes.close()


def _late(moments: Sequence[float], effort: Effort) -> Iterator[Warned]:
    """Warn of a run that took much longer than its budget, and say of what: judging and the fewest rounds go on."""
    total, (judging, ceilings, rounds) = moments[-1] - moments[0], np.diff(moments)
    if total > effort.budget + max(10.0, effort.budget / 4):
        evidence = (
            f"the run took {total:.0f} s, its budget was {effort.budget:.0f}: loading, compiling and judging took "
            f"{judging:.0f} s, ceilings {ceilings:.0f}, and at least {effort.rounds} rounds, which may compile again, "
            f"{rounds:.0f}"
        )
        yield Warned([Warning("budget", evidence, f"give --budget {total:.0f}s, fewer --rounds, or fewer --impl")])


def _qualify(states: Sequence[CaseState]) -> Iterator[Event]:
    """Load and judge the contenders of all cases: one case per core at once, on accelerators one case."""
    on_cpu = all(state.case.device == "cpu" for state in states)
    pool = ThreadPoolExecutor((os.cpu_count() or 1) if on_cpu else 1)
    try:
        jobs = [pool.submit(list, state.processes.qualify()) for state in states]
        for job in jobs:
            yield from job.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def measure_ceilings(cases: Iterable[Case], server: Forker) -> CeilingsMeasured:
    """Measure each device in a process of its own, for all the numbers of threads that ``cases`` use."""
    threads: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        threads[case.device].add(case.threads)
    limits: list[dict[str, Any]] = []
    for device, counts in threads.items():
        answer = last_answer(server.start(worker.measure_ceilings, device, tuple(sorted(counts))), PATIENCE)
        if isinstance(answer, Answer):
            limits += answer.content
        else:
            limits += unmeasured(device, how_it_ended(answer, PATIENCE)[1])
    return CeilingsMeasured(limits)


class _Rounds:
    """The rounds of a run, and the numbers of their processes, of which ``process`` is the first."""

    def __init__(self, plan: Plan, process: int) -> None:
        self._plan, self._process = plan, process
        self._loaded: list[CaseState] = []

    def sweep(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Measure one round of each case, again without one that prevented it; on accelerators in one worker."""
        on_device = [request for request in requests if request.state.case.device != "cpu" and self._job(request)]
        if on_device:
            yield from self._together(on_device)
        for request in requests:
            while request not in on_device and (assignment := self._assignment(request)):
                started = time.monotonic()
                self._make_room(request.state)
                result = yield from request.state.processes.measure(request.state.next_round, assignment)
                self._process += 1
                if result is not None:
                    yield self._measured(request.state, result, time.monotonic() - started)
                    break

    def _together(self, requests: Sequence[Request]) -> Iterator[Event]:
        """Measure a round of each case in one worker; if it dies, another one measures the remaining cases."""
        left = list(requests)
        while left := [request for request in left if request.entries()]:
            jobs = [(request, *job) for request in left if (job := self._job(request))]
            forker = jobs[0][1]
            forker.current.clear()
            tasks = tuple((task, assignment) for _, _, task, assignment in jobs)
            papers = [Paper(task, seeds(assignment.seed)) for task, assignment in tasks]
            timeout = sum(request.state.processes.timeout(assignment) for request, _, _, assignment in jobs)
            self._process += 1
            with Examination(forker, papers) as examination:
                shared_worker = examination.start(forker, worker.measure_rounds, tasks, worker.ProcessSlot())
                messages = shared_worker.messages(time.monotonic() + timeout)
                started = time.monotonic()
                for number, (request, _, _, assignment) in enumerate(jobs):
                    answer: object
                    try:
                        answer = next(messages, None)
                    except WorkerTimeoutError as error:
                        answer = error
                    answer = examination.checked(answer, assignment.entries, number)
                    state, current = request.state, forker.current.get()
                    result = yield from state.processes.accept(state.next_round, assignment, answer, current)
                    if result is not None:
                        yield self._measured(state, result, time.monotonic() - started)
                        left.remove(request)
                    elif not isinstance(answer, RoundFailure):
                        break  # the worker is dead
                    started = time.monotonic()
                shared_worker.kill()

    def _job(self, request: Request) -> tuple[Forker, CaseTask, Assignment] | None:
        assignment = self._assignment(request)
        job = request.state.processes.job(assignment) if assignment else None
        return (*job, assignment) if job and assignment else None

    def _assignment(self, request: Request) -> Assignment | None:
        state, effort = request.state, self._plan.effort
        entries = request.entries()
        if not entries:
            return None
        once = state.entries(request.once, request.sides).values()
        return Assignment(
            entries,
            Random(f"{effort.seed}/{state.case.id}/{state.case_plan.memory}/{state.next_round}").getrandbits(32),
            request.seconds, request.batch_seconds, _calibration(state, entries), request.turns,
            once=frozenset(itertools.chain.from_iterable(once)),
        )  # fmt: skip

    def _measured(self, state: CaseState, result: RoundResult, wall: float) -> RoundMeasured:
        sides = tuple(side.name for side in self._plan.sides)
        names, memory = state.processes.names, state.case_plan.memory
        measured = RoundMeasured(state.case, state.next_round, self._process - 1, names, result, sides, memory)
        state.record(measured)
        state.time_round(wall, sum(batches.timed_seconds for batches in result.batches.values()))
        return measured

    def _make_room(self, state: CaseState) -> None:
        self._loaded = [*(other for other in self._loaded if other is not state), state]
        room = _MEMORY_SHARE * psutil.virtual_memory().total
        # Each takes a process, and float32 noise with an input made from it.
        while len(self._loaded) > 1 and sum(_PROCESS_BYTES + 8 * s.case.elements for s in self._loaded) > room:
            self._loaded.pop(0).processes.close()


_MEMORY_SHARE = 0.4
_PROCESS_BYTES = 60 << 20


def _calibration(state: CaseState, entries: dict[str, tuple[int, ...]]) -> dict[str, Calibration]:
    return {
        clock: {index: state.calibration[clock][index] for index in indices}
        for clock, indices in entries.items()
        if all(index in state.calibration[clock] for index in indices)
    }
