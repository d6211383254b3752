"""Assign cases to the devices of a fleet, and move them when a machine is lost."""

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from msgspec import structs

from gapbench.errors import GapbenchError
from gapbench.fleet import cluster
from gapbench.fleet.cluster import DeviceWorker, LostError
from gapbench.measuring import events
from gapbench.measuring.budget import estimate
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.store.records import Qualification
from gapbench.store.run import Warning
from gapbench.workloads.cases import Case

_MOST_LOSSES = 3  # after so many losses with one case, the case is the likely cause


def measure(
    workers: Sequence[DeviceWorker],
    plans: Sequence[CasePlan],
    effort: Effort,
    earlier: Sequence[events.RoundMeasured] = (),
    with_ceilings: bool = False,
) -> Iterator[events.Event]:
    """Measure every case plan on one of the equal ``workers``, and yield events as `engine.measure` does.

    When a worker is lost, its case plan moves to another, with its finished rounds; after several losses it has failed.
    Raises `GapbenchError` when no device is left.
    """
    rounds: dict[Case, list[events.RoundMeasured]] = defaultdict(list)
    for round_ in earlier:
        rounds[round_.case].append(round_)
    processes = itertools.count(1 + max((round_.process for round_ in earlier), default=-1))
    costs = {case_plan.case: estimate(case_plan, effort) for case_plan in plans}
    share = effort.budget * len(workers) / sum(costs.values())
    longest = sorted(plans, key=lambda case_plan: -costs[case_plan.case])
    waiting: deque[CasePlan | None] = deque(longest)
    if with_ceilings:
        waiting.appendleft(None)
    free, pending = deque(workers), dict[Any, tuple[DeviceWorker, CasePlan | None]]()
    losses: Counter[Case] = Counter()
    is_ready = False
    while waiting or pending:
        while waiting and free:
            worker, case_plan = free.popleft(), waiting.popleft()
            if case_plan is None:
                answer = cluster.ask(worker, "ceilings", [case_plan.case for case_plan in plans])
            else:
                budget = min(effort.budget, share * costs[case_plan.case])
                answer = cluster.ask(worker, "begin", case_plan, replace(effort, budget=budget), rounds[case_plan.case])
            pending[answer] = worker, case_plan
        if not pending:
            raise GapbenchError("all devices of the fleet are lost")
        answer = cluster.first(list(pending))
        worker, case_plan = pending.pop(answer)
        try:
            event = cluster.take(answer)
        except LostError as lost:
            if case_plan is not None:
                why = f"{worker.name} is lost: {lost}"
                yield events.WorkerLost(case_plan.case, "its contenders", len(rounds[case_plan.case]), why)
                losses[case_plan.case] += 1
            if case_plan is not None and losses[case_plan.case] == _MOST_LOSSES:
                yield from _failed(case_plan)
            else:
                waiting.appendleft(case_plan)
            continue
        match event:
            case None:
                free.append(worker)
                continue
            case events.CeilingsMeasured():
                free.append(worker)
                yield event
                continue
            case events.Ready() if is_ready:
                pass
            case events.RoundMeasured(case=case):
                rounds[case].append(event)
                yield replace(event, process=next(processes))
            case _:
                is_ready = True
                yield event
        pending[cluster.ask(worker, "next")] = worker, case_plan
    yield events.Warned(list(_warnings(free)))


def _failed(case_plan: CasePlan) -> Iterator[events.Event]:
    lost = f"{_MOST_LOSSES} devices of the fleet were lost while they measured this case"
    for name in case_plan.specs:
        yield events.Qualified(case_plan.case, name, Qualification("failed", f"{lost}; look at one of them by itself"))
    yield events.CaseDone(case_plan.case, "failed")


def _warnings(workers: Sequence[DeviceWorker]) -> Iterator[Warning]:
    for worker, answer in [(worker, cluster.ask(worker, "warnings")) for worker in workers]:
        try:
            for warning in cluster.take(answer):
                yield structs.replace(warning, evidence=f"{worker.name}: {warning.evidence}")
        except LostError as lost:
            yield Warning("fleet", f"{worker.name} was lost after its last case: {lost}")
