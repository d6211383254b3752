import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from gapbench.analysis.compare import noise
from gapbench.statistics.stats import location

values = st.lists(st.integers(-80, 80).map(lambda value: value / 1000), min_size=1, max_size=12).map(np.array)
SCALE = noise.scale(0.007, least=0.003, most=0.017)


def shifts(rng, apart, count, within=1e-6):
    return [(value, within) for value in rng.normal(0, (apart**2 + within) ** 0.5, count)]


# Rounds


@given(st.lists(values, min_size=1, max_size=5))
def test_a_level_is_where_rounds_lie_however_few_and_never_quite_certain(rounds):
    for level, of_row in zip(noise.levels(rounds), rounds, strict=True):
        assert level.value == location(of_row).estimate
        assert level.rounds == len(of_row)
        assert level.degrees > 0
        assert level.variance >= 0


def test_rows_of_few_rounds_that_agree_by_chance_are_not_taken_for_quiet():
    rng = np.random.default_rng(1)
    rows = [rng.normal(0, 0.01, 20) for _ in range(9)]
    lucky, full = noise.levels([*rows, np.array([0.0, 0.0])])[-1], noise.levels(rows)[0]
    assert lucky.variance > full.variance
    assert lucky.degrees < 4 < full.degrees


def test_with_many_rounds_a_shift_is_about_welchs():
    rng = np.random.default_rng(2)
    base, head = rng.normal(0, 0.01, 40), rng.normal(0.02, 0.03, 60)
    shift = noise.shift(*noise.levels([base, head]))
    welch = ttest_ind(head, base, equal_var=False)
    assert shift.value == pytest.approx(head.mean() - base.mean(), abs=0.003)
    assert shift.variance**0.5 == pytest.approx((head.mean() - base.mean()) / welch.statistic, rel=0.1)
    assert shift.degrees == pytest.approx(welch.df, rel=0.15)
    assert shift.rounds == 40


def test_a_wild_round_hardly_widens_a_row():
    rounds = np.random.default_rng(3).normal(0, 0.01, 30)
    wild = np.append(rounds[:-1], 2.0)
    calm, disturbed = (noise.levels([row])[0].variance for row in (rounds, wild))
    assert disturbed < 2 * calm


@given(values, values)
def test_swapping_the_runs_mirrors_a_shift(base, head):
    before, after = noise.levels([base, head])
    there, back = noise.shift(before, after), noise.shift(after, before)
    assert (there.value, there.variance, there.rounds) == (-back.value, pytest.approx(back.variance), back.rounds)


# What runs differ by beyond their rounds


@pytest.mark.parametrize("apart", [0.004, 0.007, 0.012])
def test_what_rows_scatter_by_is_learned(apart):
    learned = SCALE.learn(shifts(np.random.default_rng(4), apart, 400))
    assert learned.variance**0.5 == pytest.approx(apart, rel=0.15)
    assert learned.degrees > 100


def test_what_rounds_explain_is_not_learned_twice():
    rng = np.random.default_rng(5)
    assert SCALE.learn(shifts(rng, 0.0, 400, within=0.01**2)).variance ** 0.5 <= 0.0035


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(0, 0.01)), max_size=30))
def test_whatever_rows_did_the_scale_keeps_its_bounds(result):
    for learned in (SCALE.learn(result), SCALE.learn_row(result), SCALE.learn(result).learn_row(result)):
        assert SCALE.least <= learned.variance <= SCALE.most
        assert learned.degrees >= SCALE.degrees


def test_a_minority_that_changed_is_not_taken_for_noise():
    rng = np.random.default_rng(6)
    same = shifts(rng, 0.005, 60)
    changed = [(value + 0.1 * (number % 4 == 0), within) for number, (value, within) in enumerate(same)]
    assert SCALE.learn(changed).variance < 2.5 * SCALE.learn(same).variance


def test_were_all_rows_changed_by_different_amounts_large_changes_would_still_show():
    learned = SCALE.learn([(value, 1e-6) for value in np.linspace(0, 0.4, 40)])
    assert learned.variance**0.5 <= 0.017


def test_runs_that_agree_by_chance_do_not_make_the_scale_nothing():
    assert SCALE.learn([(0.0, 1e-12)] * 2000).variance == SCALE.least


def test_nothing_known_is_the_default():
    assert SCALE.learn([]) == SCALE == SCALE.learn_row([])
    assert SCALE.learn([(np.nan, 1.0)]) == SCALE


def test_a_rows_own_past_counts_for_it():
    restless = SCALE.learn_row([(0.03, 1e-6), (-0.03, 1e-6), (0.02, 1e-6)])
    assert restless.variance > 1.3 * SCALE.variance


def test_the_median_of_shifts_is_as_certain_as_normal_theory_has_it():
    rng = np.random.default_rng(7)
    draws = rng.normal(0, 0.01, (2000, 11))
    medians = np.median(draws, axis=1)
    shift = noise.median([noise.Shift(value, 1e-4, 10, 5) for value in draws[0]])
    assert shift.variance**0.5 == pytest.approx(medians.std(), rel=0.1)
    assert shift.value == medians[0]
