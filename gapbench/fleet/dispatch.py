"""Which case is measured where, and what becomes of it when its machine vanishes."""

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

_MOST_LOSSES = 3  # so many devices lost with the same case are no accident: it would take all of them along


def measure(
    members: Sequence[DeviceWorker],
    plans: Sequence[CasePlan],
    effort: Effort,
    earlier: Sequence[events.RoundMeasured] = (),
    with_ceilings: bool = False,
) -> Iterator[events.Event]:
    """Measure every case plan on one of ``members``, which are equal, and yield events as `engine.measure` does.

    The longest case plans come first, each to whoever is free; the budget is that of each member. When one is lost, its
    case plan goes on elsewhere, with the rounds that it has; one that takes several devices along has failed. Raises
    `GapbenchError` when no device is left.
    """
    rounds: dict[Case, list[events.RoundMeasured]] = defaultdict(list)
    for round_ in earlier:
        rounds[round_.case].append(round_)
    processes = itertools.count(1 + max((round_.process for round_ in earlier), default=-1))
    costs = {case_plan.case: estimate(case_plan, effort) for case_plan in plans}
    share = effort.budget * len(members) / sum(costs.values())
    longest = sorted(plans, key=lambda case_plan: -costs[case_plan.case])
    waiting: deque[CasePlan | None] = deque(longest)
    if with_ceilings:
        waiting.appendleft(None)
    free, pending = deque(members), dict[Any, tuple[DeviceWorker, CasePlan | None]]()
    losses: Counter[Case] = Counter()
    sources: dict[str, dict[str, Any]] = {}
    is_ready = False
    while waiting or pending:
        while waiting and free:
            member, case_plan = free.popleft(), waiting.popleft()
            if case_plan is None:
                answer = cluster.ask(member, "ceilings", [case_plan.case for case_plan in plans])
            else:
                budget = min(effort.budget, share * costs[case_plan.case])
                answer = cluster.ask(member, "begin", case_plan, replace(effort, budget=budget), rounds[case_plan.case])
            pending[answer] = member, case_plan
        if not pending:
            raise GapbenchError("all devices of the fleet are lost")
        answer = cluster.first(list(pending))
        member, case_plan = pending.pop(answer)
        try:
            event = cluster.take(answer)
        except LostError as lost:
            if case_plan is not None:
                why = f"{member.name} is lost: {lost}"
                yield events.WorkerLost(case_plan.case, "its contenders", len(rounds[case_plan.case]), why)
                losses[case_plan.case] += 1
            if case_plan is not None and losses[case_plan.case] == _MOST_LOSSES:
                yield from _failed(case_plan)
            else:
                waiting.appendleft(case_plan)
            continue
        match event:
            case None:
                free.append(member)
                continue
            case events.CeilingsMeasured():
                free.append(member)
                yield event
                continue
            case events.Ready() if is_ready:
                pass
            case events.RoundMeasured(case=case):
                rounds[case].append(event)
                yield replace(event, process=next(processes))
            case events.EnergyMeasured():
                yield _with_sources(event, sources)
            case _:
                is_ready = True
                yield event
        pending[cluster.ask(member, "next")] = member, case_plan
    yield events.Warned(list(_warnings(free)))


def _failed(case_plan: CasePlan) -> Iterator[events.Event]:
    lost = f"{_MOST_LOSSES} devices of the fleet were lost while they measured this case"
    for name in case_plan.specs:
        yield events.Qualified(case_plan.case, name, Qualification("failed", f"{lost}; look at one of them by itself"))
    yield events.CaseDone(case_plan.case, "failed")


def _warnings(members: Sequence[DeviceWorker]) -> Iterator[Warning]:
    """Yield what each machine says, with who says it."""
    for member, answer in [(member, cluster.ask(member, "warnings")) for member in members]:
        try:
            for warning in cluster.take(answer):
                yield structs.replace(warning, evidence=f"{member.name}: {warning.evidence}")
        except LostError as lost:
            yield Warning("fleet", f"{member.name} was lost after its last case: {lost}")


def _with_sources(measured: events.EnergyMeasured, known: dict[str, dict[str, Any]]) -> events.EnergyMeasured:
    """Return the event with all that is ``known`` by now of what counts energy: the first that knows is believed."""
    for source in measured.sources:
        kept = known.setdefault(source["device"], source)
        if kept["source"] is None or (kept["reason"] is None and source["reason"] is not None):
            known[source["device"]] = source
    return events.EnergyMeasured(list(known.values()), measured.joules)
