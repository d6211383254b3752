"""The parent's side of a run: qualify every contender, then measure round after round of fresh workers.

`measure` yields what happens as it happens, so that its caller can store every round at once and show progress;
it writes nothing and prints nothing.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from gapbench import operations
from gapbench.cases import Case
from gapbench.measuring import credible, limits, qualifying, worker
from gapbench.measuring.limits import CeilingsMeasured, EnergyMeasured
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.qualifying import Qualified
from gapbench.measuring.rounds import Assignment, Fault, RoundResult
from gapbench.measuring.stopping import StoppingRule
from gapbench.measuring.template import Template
from gapbench.records import Qualification
from gapbench.stats import Floats

__all__ = [
    "CaseDone",
    "CeilingsMeasured",
    "EnergyMeasured",
    "Event",
    "Qualified",
    "Ready",
    "RoundMeasured",
    "WorkerLost",
    "measure",
]

_PLANNED_EXTRA_ROUNDS = 2
"""The budget is divided as if every case needed this many rounds more than the fewest; what is left over when
others reach their target early goes to those that did not."""

_SHORTEST_SLICE = 0.05
_FIRST_OVERHEAD = 0.3
"""Seconds a worker takes beyond its slice (fork, inputs, oracle, warm-up), until the run has learnt its own."""
_DEATHS_FORGIVEN = 1


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker template is loaded."""


@dataclass(frozen=True, slots=True)
class RoundMeasured:
    """One round of one case; ``names[i]`` is the implementation of contender i in the result's batches."""

    case: Case
    round: int
    process: int
    names: tuple[str, ...]
    result: RoundResult

    def seconds(self, clock: str) -> dict[str, Floats]:
        """Return each implementation's seconds per call by ``clock``, turn by turn."""
        batches = self.result.batches[clock]
        contenders, seconds = np.array(batches.contender), np.array(batches.seconds_per_call)
        return {self.names[index]: seconds[contenders == index] for index in np.unique(contenders)}


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """A worker died while it ran ``implementation``; its round is measured again by another one."""

    case: Case
    implementation: str
    round: int
    reason: str


@dataclass(frozen=True, slots=True)
class CaseDone:
    """No more rounds of this case: ``stopped_by`` is target, budget or failed."""

    case: Case
    stopped_by: str


Event = Ready | Qualified | CeilingsMeasured | EnergyMeasured | RoundMeasured | WorkerLost | CaseDone


@dataclass(slots=True)
class _Standing:
    """A case on its way: who still takes part, and each one's log ratio to the reference in the rounds so far."""

    contest: Contest
    names: list[str]
    refused: set[tuple[str, str]] = field(default_factory=set)  # (clock, implementation)
    rounds: int = 0
    next_round: int = 0  # its number: not `rounds` where a round was lost before a run was resumed
    log_ratios: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def case(self) -> Case:
        return self.contest.case

    def entries(self) -> dict[str, tuple[int, ...]]:
        """Return by clock the indices in `names` of those that it times."""
        found = {
            clock: tuple(i for i, name in enumerate(self.names) if (clock, name) not in self.refused)
            for clock in self.contest.clocks
        }
        return {clock: indices for clock, indices in found.items() if indices}

    def record(self, measured: RoundMeasured) -> None:
        """Take in a finished round."""
        self.rounds += 1
        self.next_round = max(self.next_round, measured.round + 1)
        for clock in measured.result.batches:
            seconds = measured.seconds(clock)
            # Without the reference the intervals are taken on the logarithm of the time itself.
            base = seconds.get(self.contest.reference, np.ones(1))
            for name, values in seconds.items():
                self.log_ratios[clock, name].append(float(np.median(np.log(values / base))))

    def narrow_enough(self, rule: StoppingRule) -> bool:
        """Tell whether all that still take part are known as well as asked."""
        taking_part = ((clock, self.names[i]) for clock, indices in self.entries().items() for i in indices)
        return rule.reached(self.log_ratios[key] for key in taking_part)


def measure(
    contests: Sequence[Contest],
    effort: Effort,
    earlier: Sequence[RoundMeasured] = (),
    with_ceilings: bool = False,
    with_energy: bool = False,
) -> Iterator[Event]:
    """Measure every contest and yield events; closing the generator ends all processes.

    ``earlier`` are rounds of the same run that were measured before it was interrupted; they count. The machine's
    limits are measured before the cases ``with_ceilings``, the energy of a call after them ``with_energy``, where the
    device counts it.

    Whatever an implementation does (raise, lie, hang, kill its process), its own rows carry it: every other row is
    measured.
    """
    deadline = time.monotonic() + effort.budget
    with Template(qualifying.preload(contests)) as template:
        template.wait_ready()
        yield Ready()
        standings = {contest.case: _Standing(contest, []) for contest in contests}
        for qualified in qualifying.qualify(contests, effort, template):
            yield qualified
            if qualified.qualification.status == "ok":
                standings[qualified.case].names.append(qualified.implementation)
        if with_ceilings:
            yield limits.ceilings([one.case for one in standings.values() if one.names], template)
        energy = limits.Energy(contests, effort, template) if with_energy else None
        deadline -= energy.seconds if energy else 0.0
        for measured in earlier:
            standings[measured.case].record(measured)
        first_process = 1 + max((measured.process for measured in earlier), default=-1)
        yield from _rounds(list(standings.values()), effort, template, deadline, first_process)
        if energy:
            left = ((one.case, name, one.contest.specs[name]) for one in standings.values() for name in one.names)
            yield energy.measure(left)


def _rounds(
    standings: list[_Standing], effort: Effort, template: Template, deadline: float, process: int
) -> Iterator[Event]:
    """Measure rounds until every case has reached its target or the budget is spent."""
    rule = StoppingRule(effort.rounds, effort.target)
    rng = Random(effort.seed)
    overhead = _FIRST_OVERHEAD
    first_slice = None
    deaths: Counter[tuple[Case, str]] = Counter()
    active = standings
    while active:
        slice_seconds = _slice(active, effort, deadline, overhead)
        first_slice = first_slice or slice_seconds
        # A last round in crumbs of the budget would be noise, so it is not begun.
        spent = time.monotonic() > deadline or slice_seconds < first_slice / 2
        rng.shuffle(active)
        going_on = []
        for standing in active:
            if spent and standing.rounds >= effort.rounds:
                yield CaseDone(standing.case, "budget")
                continue
            started = time.monotonic()
            complete = False
            while standing.entries() and not complete:
                for event in _one_round(standing, effort, template, slice_seconds, process, deaths):
                    yield event
                    complete = isinstance(event, RoundMeasured)
                process += 1
            overhead += (max(0.0, time.monotonic() - started - slice_seconds) - overhead) / 4
            if not standing.entries():
                yield CaseDone(standing.case, "failed")
            elif standing.narrow_enough(rule):
                yield CaseDone(standing.case, "target")
            else:
                going_on.append(standing)
        active = going_on


def _slice(active: Sequence[_Standing], effort: Effort, deadline: float, overhead: float) -> float:
    """Divide what is left of the budget over the rounds that are probably still needed."""
    planned = effort.rounds + _PLANNED_EXTRA_ROUNDS
    pending = sum(max(planned - standing.rounds, 1) for standing in active)
    return max(_SHORTEST_SLICE, (deadline - time.monotonic()) / pending - overhead)


def _one_round(
    standing: _Standing,
    effort: Effort,
    template: Template,
    slice_seconds: float,
    process: int,
    deaths: "Counter[tuple[Case, str]]",
) -> list[RoundMeasured | Qualified | WorkerLost]:
    """Measure one round; or drop whoever prevented it; a first death is forgiven."""
    case, names = standing.case, tuple(standing.names)
    assignment = Assignment(
        case,
        tuple(standing.contest.specs[name] for name in names),
        standing.entries(),
        Random(f"{effort.seed}/{case.id}/{standing.next_round}").getrandbits(32),
        slice_seconds,
        effort.batch_seconds,
    )
    weights = sum(operations.parameters(standing.contest.specs[name], case) for name in names)
    patience = effort.patience + 10 * slice_seconds + qualifying.SECONDS_PER_WEIGHT * weights
    template.running.clear()
    answer = qualifying.answer(template.start(worker.measure_round, assignment), patience)
    if isinstance(answer, RoundResult) and credible.result(answer, assignment):
        measured = RoundMeasured(case, standing.next_round, process, names, answer)
        standing.record(measured)
        return [measured]
    if not (isinstance(answer, Fault) and credible.fault(answer, assignment)):
        answer = Fault(template.running.one_of(len(names)), *qualifying.how_it_ended(answer, patience))
        culprit = "none of them" if answer.contender is None else names[answer.contender]
        deaths[case, culprit] += 1
        if answer.status == "failed" and deaths[case, culprit] <= _DEATHS_FORGIVEN:
            return [WorkerLost(case, culprit, standing.next_round, answer.reason)]
    blamed = names if answer.contender is None else (names[answer.contender],)
    for name in blamed:
        if answer.clock:
            standing.refused.add((answer.clock, name))
        else:
            standing.names.remove(name)
    qualification = Qualification(answer.status, answer.reason)
    return [Qualified(case, name, qualification, answer.clock) for name in blamed]
