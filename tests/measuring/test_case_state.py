"""What a case knows of itself: who takes part, what rounds say, and who is clearly slower."""

from math import log
from types import SimpleNamespace

import numpy as np
import pytest
from acted import result
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring.events import RoundMeasured
from gapbench.measuring.plan import CasePlan, Plan, Side
from gapbench.measuring.policies import CaseState
from gapbench.statistics import stats
from gapbench.store.records import BASE, HEAD, NULL, THIS
from gapbench.workloads.cases import Case

CASE = Case((1, 8, 4, 4))
NAMES = ("mean", "fast", "slow")
SINGLE_SIDE = (Side(),)
SIDES = tuple(map(Side, (BASE, HEAD, NULL)))


def state(names=NAMES, sides=SINGLE_SIDE, able=None, refused=(), clocks=("host",), case=CASE):
    case_plan = CasePlan("test", case, {name: name for name in names}, clocks)
    able = range(len(names) * len(sides)) if able is None else able
    processes = SimpleNamespace(names=tuple(names), contenders=tuple(able), refused=set(refused))
    return CaseState(case_plan, Plan((case_plan,), sides=sides), processes)


def measured(number, seconds, sides=SINGLE_SIDE, names=NAMES, **more):
    return RoundMeasured(CASE, number, number, names, result(seconds, **more), tuple(side.name for side in sides))


contenders = st.sets(st.integers(0, 8))


@given(contenders)
def test_rows_are_of_those_that_are_ok_on_base_and_head_whatever_the_copy_is(able):
    rows = state(sides=SIDES, able=sorted(able)).rows()
    assert rows == [(name, "host") for index, name in enumerate(NAMES) if {index, index + 3} <= able]


@given(contenders, st.sets(st.integers(0, 2)), st.sets(st.sampled_from(NAMES)))
def test_entries_are_the_able_contenders_of_rows_on_the_sides_asked_for(able, sides, names):
    entries = state(sides=SIDES, able=sorted(able)).entries([(name, "host") for name in sorted(names)], sorted(sides))
    expected = sorted(index for index in able if NAMES[index % 3] in names and index // 3 in sides)
    assert entries == ({"host": tuple(expected)} if names else {})


def test_a_clock_that_refuses_somebody_keeps_them_out_of_its_rows_only():
    clocks = ("host", "host_cold")
    rows = state(refused={("host_cold", 1)}, clocks=clocks).rows()
    assert rows == [("mean", "host"), ("mean", "host_cold"), ("fast", "host"), ("slow", "host"), ("slow", "host_cold")]
    on_head = state(names=("mean",), sides=SIDES, refused={("host", 1)}, clocks=clocks).rows()
    assert on_head == [("mean", "host_cold")]


def test_a_round_counts_and_its_number_says_which_is_next():
    of = state()
    of.record(measured(0, {0: 1e-3, 1: 1e-3}))
    of.record(measured(4, {0: 1e-3, 1: 1e-3}))  # of a run that lost some before it was resumed
    assert (of.rounds, of.next_round) == (2, 5)
    assert of.calibration["host"] == {0: (1, 1e-3), 1: (1, 1e-3)}


@given(st.lists(st.dictionaries(st.integers(0, 2), st.floats(1e-6, 1.0)), max_size=12), st.data())
def test_log_ratios_are_of_the_rounds_that_both_took_part_in_whenever_they_are_asked_for(rounds, data):
    of, expected = state(), []
    for number, seconds in enumerate(rounds):
        of.record(measured(number, seconds))
        if {1, 0} <= seconds.keys():
            expected.append(log(seconds[1] / seconds[0]))
        if data.draw(st.booleans()):
            assert of.log_ratios("host", (THIS, "fast"), (THIS, "mean")) == pytest.approx(expected)
    assert of.log_ratios("host", (THIS, "fast"), (THIS, "mean")) == pytest.approx(expected)
    assert of.log_ratios("host", (THIS, "mean"), (THIS, "fast")) == pytest.approx([-item for item in expected])
    assert not len(of.log_ratios("host_cold", (THIS, "fast"), (THIS, "mean")))


def test_the_ratio_of_a_round_is_of_neighbours():
    """Both sides slow down fivefold half-way: the ratio does not notice. Nor does it mind who sat a turn out."""
    weather = [1.0, 1.0, 5.0, 5.0]
    of_round = result({0: 1e-6, 1: 1.1e-6}, turns=4)
    batches = of_round.batches["host"]
    batches.seconds_per_call[:] = [
        value * weather[turn] for turn, value in zip(batches.turn, batches.seconds_per_call, strict=True)
    ]
    for column in batches.__struct_fields__:
        del getattr(batches, column)[0]  # base sits the first turn out
    of = state(names=("pool",), sides=SIDES[:2])
    of.record(RoundMeasured(CASE, 0, 0, ("pool",), of_round, (BASE, HEAD)))
    assert of.log_ratios("host", (HEAD, "pool"), (BASE, "pool")) == pytest.approx([log(1.1)])
    assert not len(of.log_ratios("host", (NULL, "pool"), (BASE, "pool")))


def test_the_fastest_is_told_from_ratios_and_of_those_that_still_take_turns():
    of = state()
    assert of.best("host") is None
    for number, weather in enumerate((1.0, 7.0, 2.0)):
        of.record(measured(number, {0: 2e-3 * weather, 1: 1e-3 * weather, 2: 8e-3 * weather}))
    assert of.best("host") == of.base_of("host") == "fast"
    of.raced.add(("fast", "host"))
    assert of.best("host") == "mean"


def test_where_nobody_wins_ratios_are_to_the_reference():
    of = state(case=Case((1, 8, 4, 4), operation="pooling"))
    for number in range(8):
        of.record(measured(number, {0: 2e-3, 1: 1e-3, 2: 8e-3}))
    assert of.base_of("host") == "mean"
    assert list(of.newly_raced()) == []


def test_intervals_are_to_the_fastest_and_its_own_is_nothing():
    of, rng = state(), np.random.default_rng(0)
    ratios = rng.normal(log(2), 0.01, 10)
    for number, ratio in enumerate(ratios):
        of.record(measured(number, {0: 1e-3 * np.exp(ratio), 1: 1e-3, 2: 1e-1}))
    expected, interval = stats.location(ratios), of.interval(("mean", "host"))
    assert (interval.estimate, interval.low, interval.high) == pytest.approx(
        (expected.estimate, expected.low, expected.high)
    )
    assert of.interval(("fast", "host")).half_width == 0


@given(st.lists(st.floats(-0.5, 2.0), min_size=1, max_size=10))
def test_who_is_shown_to_be_clearly_slower_stops_at_the_first_look_that_shows_it(ratios):
    """And is told once, whatever comes later."""
    of, reported = state(names=("mean", "slow")), []
    for number, ratio in enumerate(ratios):
        of.record(measured(number, {0: 1e-3, 1: 1e-3 * np.exp(ratio)}, names=("mean", "slow")))
        reported += [(number, *row) for row in of.newly_raced()]
    looks = {
        (name, sign): [
            stats.lower_bound(sign * np.array(ratios[: number + 1])) >= log(stats.CLEARLY_SLOWER)
            for number in range(len(ratios))
        ]
        for name, sign in (("slow", 1), ("mean", -1))
    }
    expected = [(look.index(True), name, "host") for (name, _), look in looks.items() if any(look)]
    assert reported == expected
    assert of.raced == {(name, clock) for _, name, clock in reported}


def test_each_clock_races_by_itself():
    of = state(names=("mean", "slow"), clocks=("host", "host_cold"))
    for number in range(6):
        of_round = result({0: 1e-3, 1: 3e-3 + 1e-6 * number}, ("host",))
        cold = result({0: 1e-3, 1: 1e-3 + 1e-6 * number}, ("host_cold",))
        of_round.batches.update(cold.batches)
        of.record(RoundMeasured(CASE, number, number, ("mean", "slow"), of_round))
    assert list(of.newly_raced()) == [("slow", "host")]
    assert of.best("host_cold") in ("mean", "slow")


def test_what_a_round_takes_beside_its_turns_is_learned():
    of = state()
    for number in range(40):
        of.record(measured(number, {0: 1e-3}))
        of.time_round(1.5, 0.9)
    assert of.overhead == pytest.approx(0.6, abs=0.01)
    of.time_round(0.1, 0.2)  # turns of several clocks, read by other clocks than the wall's
    assert of.overhead >= 0.4
