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
from gapbench.measuring.plan import Contest, Effort
from gapbench.store.records import Qualification
from gapbench.store.run import Warning
from gapbench.workloads.cases import Case

_MOST_LOSSES = 3  # so many devices lost with the same case are no accident: it would take all of them along


def measure(
    members: Sequence[DeviceWorker],
    contests: Sequence[Contest],
    effort: Effort,
    earlier: Sequence[events.RoundMeasured] = (),
    with_ceilings: bool = False,
) -> Iterator[events.Event]:
    """Measure every contest on one of ``members``, which are equal, and yield events as `engine.measure` does.

    The longest contests come first, each to whoever is free; the budget is that of each member. When one is lost, its
    contest goes on elsewhere, with the rounds that it has; one that takes several devices along has failed. Raises
    `GapbenchError` when no device is left.
    """
    rounds: dict[Case, list[events.RoundMeasured]] = defaultdict(list)
    for round_ in earlier:
        rounds[round_.case].append(round_)
    processes = itertools.count(1 + max((round_.process for round_ in earlier), default=-1))
    costs = {contest.case: estimate(contest, effort) for contest in contests}
    share = effort.budget * len(members) / sum(costs.values())
    longest = sorted(contests, key=lambda contest: -costs[contest.case])
    waiting: deque[Contest | None] = deque(longest)
    if with_ceilings:
        waiting.appendleft(None)
    free, pending = deque(members), dict[Any, tuple[DeviceWorker, Contest | None]]()
    losses: Counter[Case] = Counter()
    sources: dict[str, dict[str, Any]] = {}
    is_ready = False
    while waiting or pending:
        while waiting and free:
            member, contest = free.popleft(), waiting.popleft()
            if contest is None:
                answer = cluster.ask(member, "ceilings", [contest.case for contest in contests])
            else:
                budget = min(effort.budget, share * costs[contest.case])
                answer = cluster.ask(member, "begin", contest, replace(effort, budget=budget), rounds[contest.case])
            pending[answer] = member, contest
        if not pending:
            raise GapbenchError("all devices of the fleet are lost")
        answer = cluster.first(list(pending))
        member, contest = pending.pop(answer)
        try:
            event = cluster.take(answer)
        except LostError as lost:
            if contest is not None:
                why = f"{member.name} is lost: {lost}"
                yield events.WorkerLost(contest.case, "its contenders", len(rounds[contest.case]), why)
                losses[contest.case] += 1
            if contest is not None and losses[contest.case] == _MOST_LOSSES:
                yield from _failed(contest)
            else:
                waiting.appendleft(contest)
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
        pending[cluster.ask(member, "next")] = member, contest
    yield events.Warned(list(_warnings(free)))


def _failed(contest: Contest) -> Iterator[events.Event]:
    lost = f"{_MOST_LOSSES} devices of the fleet were lost while they measured this case"
    for name in contest.specs:
        yield events.Qualified(contest.case, name, Qualification("failed", f"{lost}; look at one of them by itself"))
    yield events.CaseDone(contest.case, "failed")


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
