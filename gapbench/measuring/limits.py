"""Measure what lies outside rounds, in workers: the machine's ceilings, and the energy of a call."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gapbench.measuring import worker
from gapbench.measuring.ceilings import PATIENCE, unmeasured
from gapbench.measuring.events import CeilingsMeasured, EnergyMeasured
from gapbench.measuring.forkserver import Forker, how_it_ended, last_answer
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.measuring.protocol import Answer
from gapbench.workloads.cases import Case


def ceilings(cases: Iterable[Case], server: Forker) -> CeilingsMeasured:
    """Measure each device in a process of its own, for all the numbers of threads that ``cases`` use."""
    threads: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        threads[case.device].add(case.threads)
    limits: list[dict[str, Any]] = []
    for device, counts in threads.items():
        content, reason = _ask(server, PATIENCE, worker.measure_ceilings, device, tuple(sorted(counts)))
        limits += content if isinstance(content, list) else unmeasured(device, reason)
    return CeilingsMeasured(limits)


def _ask(server: Forker, timeout: float, target: Callable[..., None], *arguments: object) -> tuple[Any, str]:
    """Return the content of a worker's `Answer`, None if it sent none; and then the reason, else an empty one."""
    answer = last_answer(server.start(target, *arguments), timeout)
    return (answer.content, "") if isinstance(answer, Answer) else (None, how_it_ended(answer, timeout)[1])


_SECONDS = worker.WINDOW_SECONDS + 0.5
"""Seconds to measure one contender's energy: the window, two steps of the counter, and a worker's start."""

_SHARE = 0.2  # largest share of the budget for energy


class Energy:
    """The measurement of energy after the rounds, on devices that had a counter before them.

    ``seconds`` is an estimate of the time that it takes: 0 where there is no counter.
    """

    def __init__(self, plans: Sequence[CasePlan], effort: Effort, server: Forker) -> None:
        self._effort, self._server = effort, server
        self._sources: dict[str, dict[str, Any]] = {}
        for device in dict.fromkeys(case_plan.case.device for case_plan in plans):
            content, why_none = _ask(server, effort.patience, worker.energy_source, device)
            source, reason = content or (None, why_none)
            self._sources[device] = {"device": device, "source": source, "reason": reason}
        counted = sum(len(case_plan.specs) for case_plan in plans if self._sources[case_plan.case.device]["source"])
        self.seconds = min(counted * _SECONDS, _SHARE * effort.budget)

    def measure(self, contenders: Iterable[tuple[Case, str, str]]) -> EnergyMeasured:
        """Measure contenders (case, name, spec), as many as there is time for."""
        joules = {}
        deadline = time.monotonic() + self.seconds
        for case, name, spec in contenders:
            source = self._sources[case.device]
            if source["source"] is None:
                continue
            if time.monotonic() > deadline:
                source["reason"] = "not of all: measure longer with --budget, a fifth of which is for energy"
                break
            arguments = case, spec, self._effort.seed
            content, reason = _ask(self._server, self._effort.patience, worker.measure_energy, *arguments)
            if isinstance(content, float):
                joules[case, name] = content
            else:
                source["reason"] = f"not of {name} on {case.id}: {content or reason}"
        return EnergyMeasured(list(self._sources.values()), joules)
