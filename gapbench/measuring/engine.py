"""The one engine: qualify every contender of a plan, then measure what a policy asks for.

`measure` yields what happens as it happens, so that its caller can store every round at once and show progress;
it writes nothing and prints nothing.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from gapbench.measuring import limits
from gapbench.measuring.case_processes import CaseProcesses
from gapbench.measuring.case_state import CaseState
from gapbench.measuring.events import (
    CaseDone,
    CeilingsMeasured,
    EnergyMeasured,
    Event,
    Flagged,
    Qualified,
    Raced,
    Ready,
    RoundMeasured,
    SidesSeparated,
    WorkerLost,
)
from gapbench.measuring.plan import Plan
from gapbench.measuring.policies import Policy, Precision, Request
from gapbench.measuring.protocol import RoundResult
from gapbench.measuring.rounds import Assignment
from gapbench.measuring.servers import Servers

__all__ = [
    "CaseDone",
    "CeilingsMeasured",
    "EnergyMeasured",
    "Event",
    "Flagged",
    "Qualified",
    "Raced",
    "Ready",
    "RoundMeasured",
    "SidesSeparated",
    "WorkerLost",
    "measure",
]


def measure(
    plan: Plan,
    policy: Policy | None = None,
    earlier: Sequence[RoundMeasured] = (),
    with_ceilings: bool = False,
    with_energy: bool = False,
) -> Iterator[Event]:
    """Measure a plan and yield events; closing the generator ends all processes.

    ``policy`` is `Precision` by default. ``earlier`` are rounds of the same run that were measured before it was
    interrupted; they count. The machine's limits are measured before the cases ``with_ceilings``, the energy of a call
    after them ``with_energy``, where the device counts it.

    Whatever an implementation does (raise, lie, hang, kill its process), its own rows carry it: every other row is
    measured.
    """
    effort = plan.effort
    policy = policy or Precision(effort)
    deadline = time.monotonic() + effort.budget
    with Servers(plan.contests, plan.sides) as servers:
        servers.wait_ready()
        yield Ready()
        states = [CaseState(contest, plan, CaseProcesses(contest, plan, servers)) for contest in plan.contests]
        try:
            yield from _qualify(states)
            if with_ceilings:
                cases = [state.case for state in states if state.rows()]
                yield limits.ceilings(cases, servers.any)
            energy = limits.Energy(plan.contests, effort, servers.any) if with_energy else None
            deadline -= energy.seconds if energy else 0.0
            by_key = {state.contest.key: state for state in states}
            for measured in earlier:
                by_key[measured.case, measured.memory].record(measured)
            rounds = _Rounds(plan, 1 + max((measured.process for measured in earlier), default=-1))
            for item in policy.schedule(states, deadline):
                if isinstance(item, list):
                    for request in item:
                        yield from rounds.measure(request)
                else:
                    yield item
                    if isinstance(item, CaseDone):
                        by_key[item.case, item.memory].processes.close()
            if energy:
                yield energy.measure(
                    (state.case, name, state.contest.specs[name])
                    for state in states
                    for name in dict.fromkeys(name for name, _ in state.rows())
                )
        finally:
            for state in states:
                state.processes.close()


def _qualify(states: Sequence[CaseState]) -> Iterator[Event]:
    """Load and judge the contenders of all cases, as many cases at once as there are cores; on accelerators one."""
    on_cpu = all(state.case.device == "cpu" for state in states)
    pool = ThreadPoolExecutor((os.cpu_count() or 1) if on_cpu else 1)
    try:
        jobs = [pool.submit(list, state.processes.qualify()) for state in states]
        for job in jobs:
            yield from job.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Rounds:
    """Measures requests, one after the other, and numbers the processes that did."""

    def __init__(self, plan: Plan, process: int) -> None:
        self._plan, self._process = plan, process

    def measure(self, request: Request) -> Iterator[Event]:
        """Measure one round of a case, again without whoever prevented it; nothing if nobody is left."""
        state, effort = request.state, self._plan.effort
        while entries := request.entries():
            started = time.monotonic()
            assignment = Assignment(
                entries,
                Random(f"{effort.seed}/{state.case.id}/{state.contest.memory}/{state.next_round}").getrandbits(32),
                request.seconds,
                request.batch_seconds,
                _known(state, entries),
                request.turns,
                once=frozenset(
                    index for indices in state.entries(request.once, request.sides).values() for index in indices
                ),
            )
            result = yield from state.processes.measure(state.next_round, assignment, request.seconds)
            self._process += 1
            if result is None:
                continue
            measured = RoundMeasured(
                state.case, state.next_round, self._process - 1, state.processes.names, result,
                tuple(side.name for side in self._plan.sides), state.contest.memory,
            )  # fmt: skip
            state.record(measured)
            state.time_round(time.monotonic() - started, _timed(result))
            yield measured
            return


def _known(state: CaseState, entries: dict[str, tuple[int, ...]]) -> dict[str, dict[int, tuple[int, float]]]:
    """Return the batch lengths of those who are to be timed, where all of them are known."""
    return {
        clock: {index: state.calibration[clock][index] for index in indices}
        for clock, indices in entries.items()
        if all(index in state.calibration[clock] for index in indices)
    }


def _timed(result: RoundResult) -> float:
    return sum(batches.timed_seconds for batches in result.batches.values())
