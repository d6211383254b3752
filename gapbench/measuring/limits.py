"""The parent's side of what is measured outside rounds: the machine's ceilings, and the energy of a call."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gapbench.cases import Case
from gapbench.measuring import qualifying, worker
from gapbench.measuring.ceilings import PATIENCE, unmeasured
from gapbench.measuring.energy import WINDOW_SECONDS
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.template import Template


@dataclass(frozen=True, slots=True)
class CeilingsMeasured:
    """The limits of all devices that the cases use, as run.json has them (see `gapbench.ceilings`)."""

    ceilings: list[dict[str, Any]]


def ceilings(cases: Iterable[Case], template: Template) -> CeilingsMeasured:
    """Measure each device in a process of its own, with all the numbers of threads that ``cases`` use."""
    threads: dict[str, set[int]] = defaultdict(set)
    for case in cases:
        threads[case.device].add(case.threads)
    found: list[dict[str, Any]] = []
    for device, counts in threads.items():
        said = qualifying.answer(template.start(worker.measure_ceilings, device, tuple(sorted(counts))), PATIENCE)
        if not isinstance(said, list):
            said = unmeasured(device, qualifying.how_it_ended(said, PATIENCE)[1])
        found += said
    return CeilingsMeasured(found)


@dataclass(frozen=True, slots=True)
class EnergyMeasured:
    """What one call of an implementation draws, where the device counts; ``sources`` say for each device what does.

    A source is ``{"device", "source", "reason"}``, as run.json has it: where there is no source, there is a reason.
    """

    sources: list[dict[str, Any]]
    joules: dict[tuple[Case, str], float] = field(default_factory=dict)


_SECONDS = WINDOW_SECONDS + 0.5
"""Of one contender's energy: the window, two steps of the counter, and a worker's beginning."""

_SHARE = 0.2
"""Of the budget, which energy may take where it can be measured."""


class Energy:
    """Measures energy after the rounds, one contender at a time, where a counter was found before them."""

    def __init__(self, contests: Sequence[Contest], effort: Effort, template: Template) -> None:
        self._effort, self._template = effort, template
        self._sources: dict[str, dict[str, Any]] = {}
        for device in dict.fromkeys(contest.case.device for contest in contests):
            said = qualifying.answer(template.start(worker.energy_source, device), effort.patience)
            if not isinstance(said, tuple):
                said = None, qualifying.how_it_ended(said, effort.patience)[1]
            self._sources[device] = {"device": device, "source": said[0], "reason": said[1]}
        counted = sum(len(one.specs) for one in contests if self._counts(one.case))
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
            job = self._template.start(worker.measure_energy, case, spec, self._effort.seed)
            said = qualifying.answer(job, self._effort.patience)
            if isinstance(said, float):
                joules[case, name] = said
            else:
                why = said if isinstance(said, str) else qualifying.how_it_ended(said, self._effort.patience)[1]
                source["reason"] = f"not of {name} on {case.id}: {why}"
        return EnergyMeasured(list(self._sources.values()), joules)
