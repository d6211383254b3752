"""Which case goes where, with workers that are only acted: lost at any moment, and slow in any order."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.errors import GapbenchError
from gapbench.fleet import cluster, dispatch
from gapbench.measuring.events import CaseDone, CeilingsMeasured, Qualified, Ready, RoundMeasured, WorkerLost
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.measuring.protocol import RoundResult
from gapbench.store.records import Qualification
from gapbench.store.run import Warning
from gapbench.workloads.cases import Case

CONTESTS = [CasePlan("test", Case((8, 64, 7, size)), {"mean": "mean"}) for size in range(1, 6)]
EFFORT = Effort(budget=60, rounds=3)


@dataclass
class Actor:
    """Acts a member of the fleet, and is gone after ``answers`` of them."""

    number: int
    answers: int
    log: list
    events: object = None

    @property
    def name(self):
        return f"device {self.number} of the fleet"

    def begin(self, case_plan, effort, earlier):
        assert self.events is None, "one case at a time"
        assert all(event.case == case_plan.case for event in earlier)
        self.log.append((case_plan.case, effort, len(earlier)))
        self.events = self.measure(case_plan, effort, len(earlier))
        return self.next()

    def next(self):
        event = next(self.events, None)
        self.events = self.events if event else None
        return event

    def measure(self, case_plan, effort, number):
        yield Ready()
        yield Qualified(case_plan.case, "mean", Qualification())
        for round_ in range(number, effort.rounds):
            yield RoundMeasured(case_plan.case, round_, round_ - number, ("mean",), RoundResult({}))
        yield CaseDone(case_plan.case, "budget")

    def ceilings(self, cases):
        return CeilingsMeasured([{"device": "cpu", "cases": len(cases)}])

    def warnings(self):
        return [Warning("load", "warm", "cool it")]


@dataclass
class Stage:
    """Stands for Ray: answers come in any order, and what is asked of the lost is an error."""

    rng: Random
    asked: dict = field(default_factory=dict)

    def ask(self, member, method, *arguments):
        token = len(self.asked)
        self.asked[token] = member, method, arguments
        return token

    def first(self, tokens):
        return self.rng.choice(list(tokens))

    def take(self, token):
        member, method, arguments = self.asked[token]
        member.answers -= 1
        if member.answers < 0:
            raise cluster.LostError("ActorDiedError")
        return getattr(member, method)(*arguments)


def play(lives, seed=0, plan=CONTESTS, **options):
    """Return what is yielded while members live for so many answers, how it ended, and what was begun by whom."""
    stage, log, observed = Stage(Random(seed)), [], []
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("ask", "first", "take"):
            monkeypatch.setattr(cluster, name, getattr(stage, name))
        members = [Actor(number, answers, log) for number, answers in enumerate(lives, 1)]
        try:
            for event in dispatch.measure(members, plan, EFFORT, **options):
                observed.append(event)  # noqa: PERF402 - what was seen before an error counts
        except GapbenchError as error:
            return observed, str(error), log
    return observed, None, log


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def test_all_is_measured_once_where_nobody_is_lost():
    events, error, log = play([1000, 1000], with_ceilings=True)
    assert error is None
    assert sorted(case.id for case, _, _ in log) == sorted(case_plan.case.id for case_plan in CONTESTS)
    assert len(of(Ready, events)) == 1
    assert [event.ceilings for event in of(CeilingsMeasured, events)] == [[{"device": "cpu", "cases": 5}]]
    assert sorted(warning.evidence for warning in events[-1].warnings) == [
        f"device {n} of the fleet: warm" for n in (1, 2)
    ]
    budgets = [effort.budget for _, effort, _ in log]
    assert sum(budgets) == pytest.approx(2 * EFFORT.budget)
    assert max(budgets) <= EFFORT.budget


def test_a_case_gets_no_more_than_the_whole_budget():
    _, _, log = play([1000] * 20)
    assert {effort.budget for _, effort, _ in log} == {EFFORT.budget}


@settings(max_examples=200)
@given(st.lists(st.integers(0, 25), max_size=2), st.integers(0, 2**32))
def test_whatever_is_lost_every_round_is_measured_once(lives, seed):
    events, error, _ = play([*lives, 1000], seed, with_ceilings=True)
    assert error is None
    rounds = of(RoundMeasured, events)
    numbers = {
        case_plan.case: [event.round for event in rounds if event.case == case_plan.case] for case_plan in CONTESTS
    }
    assert all(numbers_of_case == list(range(EFFORT.rounds)) for numbers_of_case in numbers.values())
    assert [event.process for event in rounds] == list(range(len(rounds)))
    assert {event.case for event in of(CaseDone, events)} == {case_plan.case for case_plan in CONTESTS}
    assert len(of(CeilingsMeasured, events)) == 1
    assert len(of(WorkerLost, events)) <= len(lives)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=2), st.integers(0, 2**32))
def test_when_all_are_lost_it_is_said_and_the_rest_can_be_resumed(lives, seed):
    observed, error, _ = play(lives, seed)
    assert error == "all devices of the fleet are lost"
    more, error, _ = play([1000], seed, earlier=of(RoundMeasured, observed))
    assert error is None
    rounds = of(RoundMeasured, observed + more)
    assert len({(event.case, event.round) for event in rounds}) == len(rounds) == EFFORT.rounds * len(CONTESTS)
    assert len({event.process for event in rounds}) == len(rounds)


def test_a_case_that_takes_three_devices_along_has_failed_and_the_fourth_goes_on():
    events, error, log = play([3, 3, 3, 1000], plan=CONTESTS[:1])
    assert (error, len(log)) == (None, 3)
    assert len(of(WorkerLost, events)) == 3
    (last,) = [event for event in of(Qualified, events) if event.qualification.status == "failed"]
    assert "3 devices of the fleet were lost" in last.qualification.reason
    assert of(CaseDone, events) == [CaseDone(CONTESTS[0].case, "failed")]
