"""What is measured next and when it ends, with rounds whose outcome is known."""

from collections import Counter

import pytest
from acted import Machine
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gapbench.measuring import engine, policies
from gapbench.measuring.events import CaseDone, Flagged, Qualified, Raced, RoundMeasured, Warned
from gapbench.measuring.plan import CasePlan, Effort, Plan, Side
from gapbench.measuring.policies import TwoStages
from gapbench.store.records import BASE, HEAD, NULL, THIS
from gapbench.workloads.cases import Case

CASES = [Case((1, channels, 8, 8)) for channels in range(8, 20)]
SIDES = (Side(BASE), Side(HEAD), Side(NULL))


def of(kind, events, case=None):
    return [event for event in events if isinstance(event, kind) and (case is None or event.case == case)]


# Two stages, of `ab`


def compare(machine, cases=CASES, budget=60.0, specs=("pool",), margin=0.01, seed=0, earlier=(), flagged=None):
    """Return the events of a comparison, and what was flagged."""
    plans = tuple(CasePlan("ci", case, {name: name for name in specs}) for case in cases)
    effort = Effort(budget=budget, seed=seed)
    policy = TwoStages(effort, margin, flagged)
    events = list(engine.measure(Plan(plans, effort, SIDES), policy, earlier))
    (reported,) = of(Flagged, events)
    return events, {(Case.from_id(row.case), row.implementation, row.clock): row.round for row in reported.rows}


def test_what_did_not_change_rests_early_and_nothing_is_confirmed(monkeypatch):
    machine = Machine(monkeypatch, spread=0.005)
    events, flagged = compare(machine)
    assert flagged == {}
    assert machine.now < 1000 + 30  # of 60 seconds
    assert {event.case for event in of(RoundMeasured, events)} == set(CASES)


def test_what_changed_is_measured_afresh_and_alone(monkeypatch):
    machine = Machine(monkeypatch, {CASES[3]: 1.05})
    events, flagged = compare(machine)
    ((row, first),) = flagged.items()
    assert row == (CASES[3], "pool", "host")
    after = events[next(position for position, event in enumerate(events) if isinstance(event, Flagged)) :]
    fresh = [event.round for event in of(RoundMeasured, after, CASES[3])]
    assert fresh == list(range(first, first + len(fresh)))
    assert len(fresh) >= 7
    assert [event.round for event in of(RoundMeasured, events, CASES[3])] == list(range(first + len(fresh)))


def test_a_small_change_gets_all_the_rounds_there_is_time_for(monkeypatch):
    small, large = CASES[0], CASES[1]
    machine = Machine(monkeypatch, {small: 1.018, large: 2.0}, spread=0.02)
    events, flagged = compare(machine)
    first = {case: number for (case, *_), number in flagged.items()}
    confirming = Counter(event.case for event in of(RoundMeasured, events) if event.round >= first.get(event.case, 999))
    assert confirming[small] > 3 * confirming[large] > 0


def test_only_the_flagged_implementation_of_a_case_is_confirmed(monkeypatch):
    machine = Machine(monkeypatch, {"slower": 1.1})
    _, flagged = compare(machine, CASES[:1], specs=("pool", "slower"))
    ((row, first),) = flagged.items()
    assert row[1] == "slower"
    assert {name for measured in machine.played if measured.number >= first for _, name in measured.by} == {"slower"}


@pytest.mark.parametrize("changes", [{}, dict.fromkeys(CASES, 1.03)])
@pytest.mark.parametrize("spread", [0.01, 0.1])
def test_the_budget_of_a_comparison_is_kept(monkeypatch, changes, spread):
    machine = Machine(monkeypatch, changes, spread, overhead=0.0)
    compare(machine, budget=20.0)
    assert machine.now <= 1020 + 1  # or a round more of each case, or the fewest that can confirm


def test_with_too_little_time_every_case_still_gets_the_fewest_rounds(monkeypatch):
    events, _ = compare(Machine(monkeypatch, overhead=10.0), budget=1.0)
    assert set(Counter(event.case for event in of(RoundMeasured, events)).values()) >= {policies.FEWEST_ROUNDS}


def test_a_second_base_rides_along_in_a_random_quarter_of_the_cases(monkeypatch):
    chosen = []
    for seed in (0, 1):
        machine = Machine(monkeypatch)
        compare(machine, seed=seed)
        screening = machine.played[: 8 * len(CASES)]
        chosen.append({item.case for item in screening if (NULL, "pool") in item.by})
        assert len(chosen[-1]) == 3
    assert chosen[0] != chosen[1]


def test_confirming_rounds_have_a_witness_too(monkeypatch):
    machine = Machine(monkeypatch, {CASES[3]: 1.2})
    _, flagged = compare(machine)
    (first,) = flagged.values()
    fresh = [measured for measured in machine.played if measured.case == CASES[3] and measured.number >= first]
    assert fresh
    assert all((NULL, "pool") in item.by for item in fresh)


def test_who_fails_on_one_side_is_not_measured_and_the_rest_is(monkeypatch):
    statuses = {(BASE, CASES[0]): "failed", (HEAD, CASES[1]): "wrong", (NULL, CASES[2]): "failed"}
    machine = Machine(monkeypatch, statuses=statuses)
    events, _ = compare(machine)
    assert {event.case for event in of(RoundMeasured, events)} == set(CASES[2:])
    assert all((NULL, "pool") not in measured.by for measured in machine.played if measured.case == CASES[2])


def test_a_side_that_turns_out_wrong_loses_its_case(monkeypatch):
    machine = Machine(monkeypatch, failures={CASES[0]: [(1, "wrong", "it lies")]})
    events, _ = compare(machine)
    (reported,) = [event for event in of(Qualified, events) if event.qualification.status != "ok"]
    assert (reported.case, reported.contender, reported.qualification.status) == (CASES[0], HEAD, "wrong")
    assert not of(RoundMeasured, events, CASES[0])


@settings(max_examples=15)
@given(st.integers(0, 250))
def test_a_comparison_that_is_interrupted_anywhere_is_completed_by_resuming(rounds):
    """As recording does it: with the rounds that were stored, and with what was flagged where that was told."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        events, flagged = compare(Machine(monkeypatch, {CASES[3]: 1.05}), CASES[:6], budget=20.0)
        observed, count = [], 0
        for event in events:
            observed.append(event)
            count += isinstance(event, RoundMeasured)
            if count > rounds:
                break
        reported = next((event.rows for event in of(Flagged, observed)), None)
        machine = Machine(monkeypatch, {CASES[3]: 1.05})
        more, again = compare(machine, CASES[:6], budget=20.0, earlier=of(RoundMeasured, observed), flagged=reported)
    assert again == flagged if reported is not None else (CASES[3], "pool", "host") in again
    if reported is not None:  # as many as were planned before the first was seen
        planned = next(row for row in reported if row.case == CASES[3].id)
        assert (
            Counter(event.case for event in of(RoundMeasured, observed + more))[CASES[3]]
            == planned.round + planned.rounds
        )
    for case in CASES[:6]:
        numbers = [event.round for event in of(RoundMeasured, observed + more, case)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= policies.FEWEST_ROUNDS
    fresh = [
        event
        for event in of(RoundMeasured, observed + more, CASES[3])
        if event.round >= again[CASES[3], "pool", "host"]
    ]
    assert len(fresh) >= 7
    if reported is not None:  # the screening is over
        assert len([measured for measured in machine.played if measured.case == CASES[3]]) == len(fresh) - len(
            [
                measured
                for measured in of(RoundMeasured, observed, CASES[3])
                if measured.round >= flagged[CASES[3], "pool", "host"]
            ]
        )


# Precision, of `run`


def rank(machine, names=("mean", "fast"), cases=CASES[:1], earlier=(), **effort):
    """Return the events of a plain run, whose reference is mean."""
    plans = tuple(CasePlan("quick", case, {name: name for name in names}) for case in cases)
    return list(engine.measure(Plan(plans, Effort(**{"budget": 30.0, **effort})), earlier=earlier))


def turns_of(machine, name):
    """Return how many rounds an implementation took all turns of, and how many one turn of."""
    there = [measured for measured in machine.played if (THIS, name) in measured.by]
    once = sum(name in item.once for item in there)
    return len(there) - once, once


def test_a_case_is_done_once_every_ratio_is_known_to_the_target(monkeypatch):
    events = rank(Machine(monkeypatch, spread=0.002), rounds=6, target=0.01)
    assert [event.stopped_by for event in of(CaseDone, events)] == ["target"]
    assert 6 <= len(of(RoundMeasured, events)) <= 7


def test_a_case_goes_on_while_one_ratio_is_not(monkeypatch):
    machine = Machine(monkeypatch, spread=0.2)
    events = rank(machine, rounds=6, target=0.01)
    assert [event.stopped_by for event in of(CaseDone, events)] == ["budget"]
    assert len(of(RoundMeasured, events)) > 14
    assert machine.now <= 1030 + 1.1  # a round more


@pytest.mark.parametrize("rounds", [1, 5, 9])
def test_no_target_is_reached_before_the_fewest_rounds_nor_without_an_interval(monkeypatch, rounds):
    events = rank(Machine(monkeypatch, spread=0.0), rounds=rounds, target=0.5)
    assert len(of(RoundMeasured, events)) == max(rounds, 6)


@pytest.mark.parametrize("rounds", [1, 4])
def test_the_fewest_rounds_are_kept_beyond_the_budget(monkeypatch, rounds):
    events = rank(Machine(monkeypatch, overhead=5.0), cases=CASES[:3], rounds=rounds, budget=1.0)
    assert Counter(event.case for event in of(RoundMeasured, events)) == dict.fromkeys(CASES[:3], rounds)
    assert [event.stopped_by for event in of(CaseDone, events)] == ["budget"] * 3


@pytest.mark.parametrize(("judging", "overhead"), [(25.0, 8.0), (0.0, 12.0), (8.0, 0.1)])
def test_a_run_far_beyond_its_budget_says_what_took_the_time(monkeypatch, judging, overhead):
    """What compiles in each process does so in each round."""
    machine = Machine(monkeypatch, overhead=overhead, judging=judging)
    warned = of(Warned, rank(machine, rounds=6, budget=10.0))
    total = machine.now - 1000
    assert bool(warned) == (total > 20)
    for event in warned:
        (warning,) = event.warnings
        assert warning.evidence.startswith(
            f"the run took {total:.0f} s, its budget was 10: loading, compiling and judging took {judging:.0f} s, "
            f"ceilings 0, and at least 6 rounds, which may compile again, {total - judging:.0f}"
        )
        assert warning.remedy.startswith(f"give --budget {total:.0f}s, ")


def test_the_budget_goes_to_the_cases_that_need_it(monkeypatch):
    machine = Machine(monkeypatch, spread=0.001)
    quiet = machine.seconds
    noisy = CASES[2]
    machine.seconds = lambda case, *who: quiet(case, *who) * (machine._rng.lognormal(0, 0.3) if case == noisy else 1)
    events = rank(machine, cases=CASES[:3], budget=20.0)
    measured = Counter(event.case for event in of(RoundMeasured, events))
    assert measured[CASES[0]] == measured[CASES[1]] == 6
    assert measured[noisy] > 6
    assert machine.now > 1000 + 19
    assert {event.case: event.stopped_by for event in of(CaseDone, events)}[noisy] == "budget"


def test_who_is_clearly_slower_takes_one_turn_in_the_first_rounds_and_then_none(monkeypatch):
    machine = Machine(monkeypatch, spread=0.05, times={"slow": 4.0})
    events = rank(machine, ("mean", "fast", "slow"), rounds=6, target=1e-4)
    assert [(event.implementation, event.clock) for event in of(Raced, events)] == [("slow", "host")]
    raced_after = len(of(RoundMeasured, events[: events.index(of(Raced, events)[0])]))
    rounds = len(of(RoundMeasured, events))
    assert rounds > 14
    assert turns_of(machine, "slow") == (raced_after, 5 - raced_after)
    assert turns_of(machine, "mean") == turns_of(machine, "fast") == (rounds, 0)


def test_the_reference_takes_a_turn_in_one_round_more_so_that_its_ratios_have_intervals(monkeypatch):
    machine = Machine(monkeypatch, spread=0.05, times={"mean": 4.0})
    rank(machine, ("mean", "fast", "other"), rounds=6, target=1e-4)
    assert sum(turns_of(machine, "mean")) == 6
    assert turns_of(machine, "mean")[1] >= 2


def test_with_all_nobody_stops_early(monkeypatch):
    machine = Machine(monkeypatch, spread=0.05, times={"slow": 40.0})
    events = rank(machine, ("mean", "slow"), race=False, target=1e-4)
    assert not of(Raced, events)
    assert turns_of(machine, "slow") == (len(of(RoundMeasured, events)), 0)


def test_what_computes_something_else_is_never_slower(monkeypatch):
    Machine(monkeypatch, spread=0.01, times={"slow": 40.0})
    case_plan = CasePlan(
        "pooling", Case((1, 8, 8, 8), operation="pooling"), {"slow": "slow", "fast": "fast"}, ("host",), "fast"
    )
    events = list(engine.measure(Plan((case_plan,), Effort(budget=10.0))))
    assert not of(Raced, events)
    assert len(of(RoundMeasured, events)) >= 6


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from("abcd"), st.floats(1.0, 3.0), min_size=1))
def test_without_noise_those_are_raced_that_take_half_as_long_again_as_the_fastest(times):
    with pytest.MonkeyPatch.context() as monkeypatch:
        events = rank(Machine(monkeypatch, spread=1e-6, times=times), sorted({"mean", *times}), target=0.5)
    times = {"mean": 1.0} | times
    assume(all(abs(value / min(times.values()) - 1.5) > 1e-3 for value in times.values()))
    fastest = min(times.values())
    raced = {event.implementation for event in of(Raced, events)}
    assert raced == {name for name, value in times.items() if value / fastest >= 1.5}


def test_who_was_raced_stays_so_when_a_run_is_resumed(monkeypatch):
    effort = {"rounds": 6, "target": 1e-4}
    names = ("mean", "other", "slow")
    earlier = of(RoundMeasured, rank(Machine(monkeypatch, times={"slow": 4.0}), names, **effort))[:6]
    machine = Machine(monkeypatch, times={"slow": 4.0})
    events = rank(machine, names, earlier=earlier, **effort)
    assert [event.implementation for event in of(Raced, events)] == ["slow"]
    assert turns_of(machine, "slow") == (0, 0)
    assert next(event.round for event in of(RoundMeasured, events)) == 6


def test_a_case_without_anybody_left_has_failed(monkeypatch):
    machine = Machine(monkeypatch, statuses={(THIS, CASES[1]): "failed"})
    machine.failures = {CASES[0]: [(1, "wrong", "it lies"), (0, "failed", "so")]}
    events = rank(machine, cases=CASES[:3])
    stopped = {event.case: event.stopped_by for event in of(CaseDone, events)}
    assert stopped == {CASES[0]: "failed", CASES[1]: "failed", CASES[2]: "target"}
    assert not of(RoundMeasured, events, CASES[0])


def test_conditions_of_memory_have_rounds_of_their_own(monkeypatch):
    Machine(monkeypatch, spread=0.001)
    plans = tuple(
        CasePlan("quick", CASES[0], {"mean": "mean", "fast": "fast"}, memory=item) for item in ("kept", "fresh")
    )
    events = list(engine.measure(Plan(plans, Effort(budget=10.0))))
    for memory in ("kept", "fresh"):
        rounds = [event for event in of(RoundMeasured, events) if event.memory == memory]
        assert [item.round for item in rounds] == list(range(6))
        assert [event.stopped_by for event in of(CaseDone, events) if event.memory == memory] == ["target"]
    assert sorted(event.process for event in of(RoundMeasured, events)) == list(range(12))
