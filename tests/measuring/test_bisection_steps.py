"""The steps of a search: which commits are measured together, which are skipped, and what is confirmed."""

import contextlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from acted import Machine
from hypothesis import given
from hypothesis import strategies as st

from gapbench.analysis.compare import Row
from gapbench.measuring import bisection, engine
from gapbench.measuring.events import RoundMeasured
from gapbench.measuring.plan import CasePlan, Effort, Plan, Side
from gapbench.measuring.policies import BetweenEnds
from gapbench.statistics.bisection import CONFIDENT, FEWEST_ROUNDS, Search
from gapbench.statistics.verdicts import Verdict
from gapbench.store.records import BAD, BASE, HEAD, NULL
from gapbench.workloads.cases import Case

CASE, OTHER = Case((1, 16, 8, 8)), Case((1, 16, 4, 4))
PLANS = [
    CasePlan("ci", case, {"pool": "pool.py:pool", "other": "pool.py:other"}, ("host", "x")) for case in (CASE, OTHER)
]


class Fake:
    """Commits whose levels are known; those in ``broken`` fail."""

    def __init__(self, levels, broken=(), status="failed", refuted=()):
        self.levels, self.broken, self.status, self.measured = levels, broken, status, []
        self.refuted = refuted

    def bisect(self, monkeypatch):
        monkeypatch.setattr(bisection.compare, "Side", lambda run, *_: run)
        monkeypatch.setattr(bisection.compare, "interleaved", lambda rows: SimpleNamespace(rows=rows))
        search = Search(len(self.levels) - 1)
        return search, bisection.bisect(search, self.prepare, PLANS, self.record)

    @contextlib.contextmanager
    def prepare(self, *numbers):
        yield [SimpleNamespace(number=number) for number in numbers]

    def record(self, commits, plans, policy):
        numbers = {name: commit.number for name, commit in commits.items()}
        self.measured.append(tuple(numbers.values()))
        level = {name: self.levels[number] for name, number in numbers.items()}
        status = self.status if numbers[HEAD] in self.broken else "ok"
        if policy is not None:
            assert list(numbers) == [BASE, HEAD, BAD]
            assert [(plan.case, plan.specs, plan.clocks) for plan in plans] == [
                (OTHER, {"pool": "pool.py:pool"}, ("host",))
            ]
            if status == "ok":
                policy.positions = np.full(8, level[HEAD] - (level[BASE] + level[BAD]) / 2)
            elif status == "late":
                policy.positions, status = np.full(FEWEST_ROUNDS - 1, 1.0), "ok"
        else:
            assert list(numbers) == [BASE, HEAD, NULL]
            if numbers[HEAD] in self.refuted:
                level[HEAD] = level[BASE] - 0.1 * np.sign(self.levels[-1])
        results = pd.DataFrame({"contender": [BASE, HEAD], "status": ["ok", status]})
        return SimpleNamespace(run=self.rows(level[HEAD] - level[BASE]), results=results, samples=None)

    def rows(self, change):
        verdict = Verdict.EQUIVALENT if abs(change) < 0.01 else Verdict.REGRESSED if change > 0 else Verdict.IMPROVED
        ratio = [float(np.exp(change + side * 0.002)) for side in (0, -1, 1)]
        row = ("pool", "host", "pool.py:pool", verdict, "")
        return [Row("ci", CASE.id, *row, *ratio, 1e-3), Row("ci", OTHER.id, *row, *ratio, 1e-5)]


def bisected(monkeypatch, *arguments):
    fake = Fake(*arguments)
    return *fake.bisect(monkeypatch), fake.measured


@pytest.mark.parametrize("step", [0.1, -0.1])
def test_the_clearest_row_is_followed_to_the_commit_and_confirmed(monkeypatch, step):
    search, answer, measured = bisected(monkeypatch, [0.0] * 5 + [step] * 11)
    assert answer.ends.case == OTHER.id
    assert search.best()[:2] == (5, 5)
    assert answer.culprit.ratio == pytest.approx(np.exp(step))
    assert measured[0] == (0, 15, 0)
    assert measured[-1] == (4, 5, 4)
    assert {(base, bad) for base, _, bad in measured[1:-1]} == {(0, 15)}


def test_equal_ends_are_measured_once(monkeypatch):
    _, answer, measured = bisected(monkeypatch, [0.0, 0.5, 0.0])
    assert (answer.ends, answer.culprit, measured) == (None, None, [(0, 2, 0)])


def test_neighbours_are_the_answer_without_another_measurement(monkeypatch):
    _, answer, measured = bisected(monkeypatch, [0.0, 0.1])
    assert answer.culprit is answer.ends
    assert measured == [(0, 1, 0)]


@pytest.mark.parametrize("status", ["failed", "wrong", "late"])
def test_commits_that_fail_are_skipped(monkeypatch, status):
    search, answer, measured = bisected(monkeypatch, [0.0] * 4 + [0.1] * 5, {3, 4, 5}, status)
    assert answer.culprit is None
    assert search.best()[:2] == (3, 6)
    assert search.skipped == {3, 4, 5}
    assert sum(head in (3, 4, 5) for _, head, _ in measured) == 3


@pytest.mark.parametrize("step", [0.1, -0.1])
def test_a_commit_that_its_parent_refutes_is_not_blamed(monkeypatch, step):
    search, answer, measured = bisected(monkeypatch, [0.0] * 5 + [step] * 11, (), "ok", {5})
    assert answer.culprit is None
    assert search.best()[2] >= CONFIDENT
    assert measured[-1] == (4, 5, 4)


def test_a_slow_drift_blames_nobody(monkeypatch):
    _, answer, _ = bisected(monkeypatch, [0.001 * number for number in range(65)])
    assert answer.ends
    assert answer.culprit is None


def test_a_step_measures_three_sides_until_its_reading_is_clear(monkeypatch):
    machine = Machine(monkeypatch)
    machine.seconds = lambda _case, side, _name: {BASE: 1.0, HEAD: 1.1, BAD: 1.3}[side]
    plan = Plan((CasePlan("ci", CASE, {"pool": "pool"}),), Effort(budget=60.0), (Side(BASE), Side(HEAD), Side(BAD)))
    policy = BetweenEnds(Search(8, np.log(1.3)).log_odds)
    rounds = [event for event in engine.measure(plan, policy) if isinstance(event, RoundMeasured)]
    assert {side for side, _ in machine.played[0].by} == {BASE, HEAD, BAD}
    assert len(policy.positions) == len(rounds) == FEWEST_ROUNDS
    assert policy.positions == pytest.approx(np.log(1.1) - np.log(1.3) / 2)


@given(st.floats(5, 30))
def test_an_unclear_reading_takes_its_budget_and_no_more(budget):
    with pytest.MonkeyPatch.context() as monkeypatch:
        machine = Machine(monkeypatch, spread=0.01)
        plan = Plan(
            (CasePlan("ci", CASE, {"pool": "pool"}),), Effort(budget=budget), (Side(BASE), Side(HEAD), Side(BAD))
        )
        policy = BetweenEnds(lambda _positions: 0.0)
        assert list(engine.measure(plan, policy))
        assert 1000 + budget <= machine.now <= 1001 + budget
        assert len(policy.positions) >= FEWEST_ROUNDS


def test_a_side_that_fails_ends_the_step(monkeypatch):
    Machine(monkeypatch, statuses={(HEAD, CASE): "wrong"})
    plan = Plan((CasePlan("ci", CASE, {"pool": "pool"}),), Effort(), (Side(BASE), Side(HEAD), Side(BAD)))
    policy = BetweenEnds(Search(8, 0.1).log_odds)
    list(engine.measure(plan, policy))
    assert len(policy.positions) == 0
