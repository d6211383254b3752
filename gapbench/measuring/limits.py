"""The parent's side of what is measured outside rounds: the machine's ceilings, and the energy of a call."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from gapbench.measuring import worker
from gapbench.measuring.ceilings import PATIENCE, unmeasured
from gapbench.measuring.events import CeilingsMeasured, EnergyMeasured
from gapbench.measuring.forkserver import Forker, how_it_ended, last_answer
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.measuring.protocol import Answer
from gapbench.workloads.cases import Case


def ceilings(cases: Iterable[Case], server: Forker) -> CeilingsMeasured:
    """Measure each device in a process of its own, with all the numbers of threads that ``cases`` use."""
    threads: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        threads[case.device].add(case.threads)
    found: list[dict[str, Any]] = []
    for device, counts in threads.items():
        answer = last_answer(server.start(worker.measure_ceilings, device, tuple(sorted(counts))), PATIENCE)
        told = answer.content if isinstance(answer, Answer) else None
        found += told if isinstance(told, list) else unmeasured(device, how_it_ended(answer, PATIENCE)[1])
    return CeilingsMeasured(found)


_SECONDS = worker.WINDOW_SECONDS + 0.5
"""Of one contender's energy: the window, two steps of the counter, and a worker's beginning."""

_SHARE = 0.2
"""Of the budget, which energy may take where it can be measured."""


class Energy:
    """Measures energy after the rounds, one contender at a time, where a counter was found before them."""

    def __init__(self, plans: Sequence[CasePlan], effort: Effort, server: Forker) -> None:
        self._effort, self._server = effort, server
        self._sources: dict[str, dict[str, Any]] = {}
        for device in dict.fromkeys(case_plan.case.device for case_plan in plans):
            answer = last_answer(server.start(worker.energy_source, device), effort.patience)
            told = answer.content if isinstance(answer, Answer) else [None, how_it_ended(answer, effort.patience)[1]]
            source, reason = told
            self._sources[device] = {"device": device, "source": source, "reason": reason}
        counted = sum(len(one.specs) for one in plans if self._counts(one.case))
        self.seconds = min(counted * _SECONDS, _SHARE * effort.budget)
        """What measuring it will take about, of the run's time: nothing where nothing counts."""

    def _counts(self, case: Case) -> bool:
        return self._sources[case.device]["source"] is not None

    def measure(self, taking_part: Iterable[tuple[Case, str, str]]) -> EnergyMeasured:
        """Measure who took part to the end (case, name, spec), as many as there is time for."""
        joules = {}
        deadline = time.monotonic() + self.seconds
        for case, name, spec in taking_part:
            source = self._sources[case.device]
            if not self._counts(case):
                continue
            if time.monotonic() > deadline:
                source["reason"] = "not of all: measure longer with --budget, a fifth of which is for energy"
                break
            job = self._server.start(worker.measure_energy, case, spec, self._effort.seed)
            answer = last_answer(job, self._effort.patience)
            told = answer.content if isinstance(answer, Answer) else how_it_ended(answer, self._effort.patience)[1]
            if isinstance(told, float):
                joules[case, name] = told
            else:
                source["reason"] = f"not of {name} on {case.id}: {told}"
        return EnergyMeasured(list(self._sources.values()), joules)
