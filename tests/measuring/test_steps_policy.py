"""Matrices from the policy's rounds to their verdicts: when cases end, how often a step is false, what is found."""

from collections import Counter

import pandas as pd
import pytest
from acted import Machine
from scipy.stats import binom

from gapbench.analysis.compare import Side as Measured
from gapbench.analysis.compare import of_sides
from gapbench.measuring import engine, recording
from gapbench.measuring.events import CaseDone, Qualified, RoundMeasured
from gapbench.measuring.plan import CasePlan, Effort, Plan, Side
from gapbench.measuring.policies import Steps
from gapbench.statistics.verdicts import Verdict
from gapbench.store import run
from gapbench.workloads.cases import Case

CASES = [Case((1, channels, 8, 8)) for channels in (8, 16, 24)]
VERSIONS = ("v1", "v2", "v3", "v4", "v5")
CHANGED = (Verdict.REGRESSED, Verdict.IMPROVED)


class Versions(Machine):
    """Rounds in which ``factors`` are what versions take beside the first."""

    def __init__(self, monkeypatch, factors=(), seed=0, **given):
        super().__init__(monkeypatch, **given)
        self._factors, self._rng = dict(zip(VERSIONS, factors, strict=False)), type(self._rng)(self._rng.bit_generator)
        self._rng.bit_generator.state = type(self._rng.bit_generator)(seed).state

    def seconds(self, case, side, name):
        return super().seconds(case, side, name) * self._factors.get(side, 1.0)


def events_of(machine, cases=CASES[:1], budget=8.0, margin=0.01, specs=("pool",), earlier=()):
    plans = tuple(CasePlan("ci", case, {name: name for name in specs}) for case in cases)
    plan = Plan(plans, Effort(budget=budget), tuple(map(Side, VERSIONS)))
    return plan, list(engine.measure(plan, Steps(plan.effort, margin), earlier))


def matrix_of(machine, margin=0.01, **given):
    plan, events = events_of(machine, margin=margin, **given)
    collector, frames = recording.RunCollector(elsewhere=True), []
    for event in events:
        if isinstance(event, Qualified):
            collector.add_verdict(event)
        elif isinstance(event, RoundMeasured):
            frames.append(collector.add_round(event))
    samples = pd.concat(frames, ignore_index=True)
    comparison = run.Comparison(margin, (), kind="matrix")
    described = run.Run(
        id="run", ended="now", sides=tuple(run.Side(name, name) for name in VERSIONS), comparison=comparison
    )
    return of_sides(Measured(described, recording._results(None, plan, samples, collector), samples))


def rounds_of(events):
    return Counter(event.case for event in events if isinstance(event, RoundMeasured))


def test_equal_versions_end_at_the_first_look(monkeypatch):
    _, events = events_of(Versions(monkeypatch, spread=0.003), CASES, budget=60.0)
    assert {event.stopped_by for event in events if isinstance(event, CaseDone)} == {"target"}
    assert set(rounds_of(events).values()) == {14}  # the fewest that can show one of 12 steps, and three


def test_a_step_near_the_margin_is_measured_to_the_deadline(monkeypatch):
    machine = Versions(monkeypatch, (1.0, 1.0101), spread=0.01)
    _, events = events_of(machine, budget=20.0)
    assert [event.stopped_by for event in events if isinstance(event, CaseDone)] == ["budget"]
    assert 1015 < machine.now <= 1021


def test_every_case_gets_the_rounds_that_can_show_a_step_even_beyond_the_budget(monkeypatch):
    _, events = events_of(Versions(monkeypatch, spread=0.05, overhead=9.0), CASES, budget=1.0)
    assert set(rounds_of(events).values()) == {14}


def test_a_version_that_fails_costs_only_its_own_rounds(monkeypatch):
    machine = Versions(monkeypatch, statuses={("v1", CASES[0]): "failed", ("v3", CASES[0]): "wrong"})
    events_of(machine)
    assert {side for measured in machine.played for side, _ in measured.by} == {"v2", "v4", "v5"}


def test_a_case_that_one_version_alone_can_run_is_not_measured(monkeypatch):
    statuses = {(name, CASES[0]): "failed" for name in VERSIONS[1:]}
    _, events = events_of(Versions(monkeypatch, statuses=statuses), CASES[:2])
    assert rounds_of(events).keys() == {CASES[1]}
    assert [e.stopped_by for e in events if isinstance(e, CaseDone) and e.case == CASES[0]] == ["failed"]


def test_resuming_goes_on_with_the_rounds_that_there_are(monkeypatch):
    _, before = events_of(Versions(monkeypatch, overhead=9.0), budget=1.0)
    earlier = [event for event in before if isinstance(event, RoundMeasured)][:7]
    _, after = events_of(Versions(monkeypatch, overhead=9.0), budget=1.0, earlier=earlier)
    assert [event.round for event in after if isinstance(event, RoundMeasured)] == list(range(7, 12))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("margin", "factors"), [(0.0, (1.0,) * 5), (0.01, [1.01**power for power in range(5)])], ids=["equal", "margin"]
)
def test_false_steps_and_intervals_keep_to_five_percent_as_a_family(monkeypatch, margin, factors):
    """Copies of one version without a margin, and steps as large as the margin: where errors are most frequent."""
    wrong = missed = 0
    runs = 40
    for seed in range(runs):
        machine = Versions(monkeypatch, factors, seed, spread=0.005)
        matrix = matrix_of(machine, margin, budget=(4.0, 8.0)[seed % 2], specs=("pool", "other"))
        wrong += any(cell.step and cell.step.verdict in CHANGED for cell in matrix.cells)
        truth = dict(zip(VERSIONS, factors, strict=True))
        missed += not all(
            cell.ratio.low <= truth[cell.version] <= cell.ratio.high for cell in matrix.cells if cell.ratio
        )
    most = binom.ppf(0.999, runs, 0.05)
    assert wrong <= most
    assert missed <= most


def test_two_percent_in_one_of_five_versions_are_found_and_put_down_to_their_step(monkeypatch):
    for seed in range(12):
        step = 1 + seed % 4
        factors = [1.02 if number >= step else 1.0 for number in range(5)]
        matrix = matrix_of(Versions(monkeypatch, factors, seed, spread=0.005), budget=20.0)
        steps = {cell.version: cell.step.verdict for cell in matrix.cells if cell.step}
        assert [name for name, verdict in steps.items() if verdict in CHANGED] == [VERSIONS[step]]
        assert steps[VERSIONS[step]] is Verdict.REGRESSED
