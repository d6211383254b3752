import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, wilcoxon

from gapbench.statistics.stats import (
    FEWEST_ROUNDS,
    Interval,
    excess,
    holm,
    location,
    lower_bound,
    mean_difference,
    round_log_ratio,
    walsh_averages,
)

# Integers have exact averages, so that what should be equal is equal to the last bit.
integers = st.integers(-(10**6), 10**6)
samples = st.lists(integers, min_size=1, max_size=30).map(lambda values: np.array(values, dtype=float))
large_enough = st.lists(integers, min_size=FEWEST_ROUNDS, max_size=30).map(lambda values: np.array(values, dtype=float))


def pairwise_averages(values):
    return [(a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2)]


def left_out(interval, values):
    """Return how many Walsh averages lie below the interval, and how many above."""
    averages = np.array(pairwise_averages(values))
    return int((averages < interval.low).sum()), int((averages > interval.high).sum())


def at_most(critical, n):
    """Return P(W <= critical) for the signed-rank statistic of n values, summed rank by rank."""
    probability = np.zeros(n * (n + 1) // 2 + 1)
    probability[0] = 1.0
    for rank in range(1, n + 1):
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    return float(probability[: critical + 1].sum())


# A round's log ratio, and the bound of racing

turns = st.lists(st.tuples(*[st.one_of(st.just(np.nan), st.floats(1e-7, 1.0))] * 2), min_size=1, max_size=20)


@given(turns)
def test_a_rounds_log_ratio_compares_the_fastest_tenths_of_the_turns_that_both_took(turns):
    shared = np.array([pair for pair in turns if not np.isnan(pair).any()])
    ratio = round_log_ratio(*np.array(turns).T)
    if len(shared):
        mine, other = np.quantile(np.log(shared), 0.1, axis=0)
        assert ratio == pytest.approx(mine - other, abs=1e-12)
    else:
        assert np.isnan(ratio)


@given(turns, st.floats(1e-3, 1e3))
def test_swapping_the_implementations_negates_a_rounds_log_ratio_and_a_factor_shifts_it(turns, factor):
    seconds, others = np.array(turns).T
    ratio = round_log_ratio(seconds, others)
    assert round_log_ratio(others, seconds) == pytest.approx(-ratio, nan_ok=True)
    assert round_log_ratio(seconds * factor, others) == pytest.approx(ratio + np.log(factor), nan_ok=True)


@given(st.integers(0, 2**32), st.floats(0.0, 0.8))
def test_spells_of_noise_that_slow_most_batches_of_either_do_not_move_a_rounds_log_ratio(seed, share):
    rng = np.random.default_rng(seed)
    slowed = rng.random((2, 200)) < share
    mine, other = np.where(slowed, rng.uniform(1.1, 9, slowed.shape), 1.0)
    assert round_log_ratio(3 * mine, other) == pytest.approx(np.log(3))
    assert excess(mine) >= 0


@given(st.lists(st.tuples(st.floats(1e-9, 1), st.floats(1e-9, 1)), min_size=1, max_size=40))
def test_a_rounds_ratio_is_numpys_quantile_to_the_last_bit(turns):
    mine, other = np.array(turns).T
    low, high = (np.quantile(np.log(values), 0.1) for values in (mine, other))
    assert round_log_ratio(mine, other) == low - high
    assert excess(mine) == np.median(np.log(mine)) - low


def test_the_excess_is_the_median_above_the_fastest_tenth():
    assert excess(np.full(20, 2e-6)) == 0
    assert excess(np.array([1.0] * 5 + [2.0] * 15)) == pytest.approx(np.log(2))


@given(large_enough)
def test_the_lower_bound_is_where_the_t_test_at_its_share_of_the_level_stops_rejecting(values):
    n, bound = len(values), lower_bound(values)
    if np.std(values) > 0:
        p_value = ttest_1samp(values, bound, alternative="greater").pvalue
        assert p_value == pytest.approx(0.05 / (n * (n - 1)), rel=1e-3)
    assert bound <= np.mean(values)


def test_one_value_bounds_nothing():
    assert lower_bound(np.array([1.0])) == lower_bound(np.array([])) == -np.inf


def test_the_bound_holds_after_every_value_at_once():
    """Looking after each of 30 rounds, the true mean lies below any of the bounds in at most 5 % of the series."""
    random = np.random.default_rng(7)
    series = random.normal(size=(2000, 30))
    crossed = [any(lower_bound(values[:n]) > 0 for n in range(2, 31)) for values in series]
    assert np.mean(crossed) <= 0.05
    assert np.mean(crossed) > 0.02  # nor is it so low as to show nothing


def test_two_times_slower_is_shown_within_a_few_rounds():
    random = np.random.default_rng(7)
    values = np.log(2) + random.normal(scale=0.05, size=(200, 5))
    assert np.mean([lower_bound(series) >= np.log(1.5) for series in values]) > 0.95


# Location


@given(samples)
def test_walsh_averages_are_those_of_all_pairs_in_order(values):
    assert walsh_averages(values).tolist() == sorted(pairwise_averages(values))


@given(samples)
def test_hodges_lehmann_is_the_median_of_all_pairwise_averages(values):
    assert location(values).estimate == statistics.median(pairwise_averages(values))


def test_hodges_lehmann_of_the_textbook_depression_data():
    """Hamilton depression scale factors, Hollander and Wolfe, example 3.1 and 3.3 (there y - x)."""
    x = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    y = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    interval = location(y - x, confidence=0.96)
    assert interval.estimate == pytest.approx(-0.46)
    assert (interval.low, interval.high) == pytest.approx((-0.786, -0.010))


# Intervals

CRITICAL = {  # largest rank sum that is significant, two-sided, as tables of the signed-rank test print it
    0.95: {6: 0, 7: 2, 8: 3, 9: 5, 10: 8, 11: 10, 12: 13, 13: 17, 14: 21, 15: 25, 16: 29, 17: 34, 18: 40, 19: 46,
           20: 52, 25: 89, 30: 137},
    0.99: {8: 0, 9: 1, 10: 3, 11: 5, 12: 7, 13: 9, 14: 12, 15: 15, 16: 19, 17: 23, 18: 27, 19: 32, 20: 37, 25: 68,
           30: 109},
}  # fmt: skip


@pytest.mark.parametrize(
    ("confidence", "n", "critical"),
    [(confidence, n, critical) for confidence, column in CRITICAL.items() for n, critical in column.items()],
)
def test_as_many_averages_are_left_out_at_each_end_as_the_published_table_says(confidence, n, critical):
    values = 2.0 ** np.arange(n)  # all averages of pairs differ
    assert left_out(location(values, confidence), values) == (critical, critical)


@pytest.mark.parametrize("n", [6, 40, 100, 199, 200, 201, 300, 1100])
def test_the_interval_is_as_wide_as_its_confidence_needs_and_no_wider(n):
    values = np.random.default_rng(n).normal(size=n)
    averages = walsh_averages(values)
    interval = location(values)
    below = int(np.searchsorted(averages, interval.low))
    above = len(averages) - int(np.searchsorted(averages, interval.high, side="right"))
    assert below == above
    slack = 0 if n <= 200 else 4  # beyond, the normal approximation is a few averages on the safe side
    assert at_most(below, n) <= 0.025 < at_most(below + 1 + slack, n)


@pytest.mark.parametrize("n", [6, 9, 14, 25])
def test_a_point_is_inside_where_the_signed_rank_test_does_not_reject_it(n):
    values = np.random.default_rng(n).normal(size=n)
    averages = walsh_averages(values)
    between = [averages[0] - 1, *(averages[1:] + averages[:-1]) / 2, averages[-1] + 1]
    interval = location(values)
    inside = [interval.low < point < interval.high for point in between]
    assert inside == [wilcoxon(values - point, method="exact").pvalue > 0.05 for point in between]


@pytest.mark.parametrize("n", [6, 8, 11])
def test_of_all_ways_to_sign_the_same_magnitudes_at_most_one_in_twenty_excludes_zero(n):
    magnitudes = np.array([1.0, 1.5, 2.25, 3.1, 4.7, 5.2, 6.6, 7.1, 8.9, 9.3, 10.8])[:n]
    excluded = 0
    for signs in itertools.product([-1, 1], repeat=n):
        interval = location(magnitudes * signs)
        excluded += not interval.low <= 0 <= interval.high
    rejected = [size for size in range(n * (n + 1) // 2 + 1) if 2 * at_most(size, n) <= 0.05]
    assert excluded == round(2 * at_most(rejected[-1], n) * 2**n)
    assert 0 < excluded <= 0.05 * 2**n


@pytest.mark.parametrize("distribution", ["normal", "laplace", "standard_cauchy"])
def test_intervals_cover_the_truth_as_often_as_they_promise(distribution):
    n, repetitions, truth = 10, 2000, 3.0
    draws = truth + getattr(np.random.default_rng(5), distribution)(size=(repetitions, n))
    intervals = [location(values) for values in draws]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    promised = 1 - 2 * at_most(8, n)
    assert promised == pytest.approx(0.951, abs=5e-4)
    assert abs(covered - promised) < 4 * np.sqrt(promised * (1 - promised) / repetitions)


@given(large_enough)
def test_the_estimate_is_inside_the_interval_and_the_interval_inside_the_range(values):
    interval = location(values)
    assert values.min() <= interval.low <= interval.estimate <= interval.high <= values.max()
    assert interval.half_width == (interval.high - interval.low) / 2


@given(large_enough, integers)
def test_what_is_added_to_all_values_is_added_to_the_interval(values, shift):
    before, after = location(values), location(values + shift)
    assert (after.estimate, after.low, after.high) == (before.estimate + shift, before.low + shift, before.high + shift)


@given(large_enough)
def test_changing_all_signs_mirrors_the_interval(values):
    before, after = location(values), location(-values)
    assert (after.estimate, after.low, after.high) == (-before.estimate, -before.high, -before.low)


@given(large_enough, st.randoms())
def test_the_order_of_values_does_not_matter(values, random):
    shuffled = values.tolist()
    random.shuffle(shuffled)
    assert location(np.array(shuffled)) == location(values)


@given(large_enough)
def test_more_confidence_is_a_wider_interval(values):
    sure, unsure = location(values, 0.95), location(values, 0.8)
    assert sure.low <= unsure.low <= unsure.high <= sure.high


@given(st.lists(integers, min_size=11, max_size=30), st.sampled_from([-1e300, -1e9, 1e9, 1e300]))
def test_one_outlier_moves_nothing_beyond_the_range_of_the_others(values, outlier):
    others = np.array(values, dtype=float)
    interval = location(np.append(others, outlier))
    assert others.min() <= interval.low <= interval.estimate <= interval.high <= others.max()


def test_one_outlier_hardly_moves_the_estimate():
    values = np.random.default_rng(1).normal(size=20)
    assert abs(location(np.append(values, 1e6)).estimate - location(values).estimate) < 0.3


# Few values


@given(st.lists(integers, min_size=1, max_size=FEWEST_ROUNDS - 1))
def test_fewer_than_six_values_have_an_estimate_and_no_bounds(values):
    interval = location(np.array(values, dtype=float))
    assert interval == Interval(statistics.median(pairwise_averages(values)), None, None)
    assert interval.half_width == np.inf


def test_no_values_have_no_estimate():
    interval = location(np.array([]))
    assert np.isnan(interval.estimate)
    assert (interval.low, interval.high, interval.half_width) == (None, None, np.inf)


def test_six_values_are_the_fewest_that_reach_95_percent():
    assert FEWEST_ROUNDS == 6
    values = np.array([5.0, 3.0, 1.0, 9.0, 2.0, 7.0])
    assert location(values) == Interval(4.5, 1.0, 9.0)
    assert location(values[:5], confidence=0.9375) == Interval(3.5, 1.0, 9.0)


def test_equal_values_are_their_own_interval():
    assert location(np.full(12, 0.25)) == Interval(0.25, 0.25, 0.25)


# Many tests at once


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # the example of Wikipedia's article on Holm's method
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),  # R: p.adjust(p, "holm")
        ([0.6, 0.7], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm_agrees_with_published_adjustments(p_values, adjusted):
    assert holm(np.array(p_values)).tolist() == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    """An adjusted p is the largest Bonferroni p of all sets of hypotheses that a hypothesis is in (Marcus et al.)."""
    everything = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in itertools.combinations(everything, size)]
    for index, adjusted in enumerate(holm(np.array(p_values))):
        of_it = [min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets if index in s]
        assert adjusted == pytest.approx(max(of_it))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 9), (12, 5)])
def test_the_interval_of_a_mean_difference_is_scipys_welch(n, m):
    from scipy import stats as scipy_stats

    rng = np.random.default_rng(n)
    values, others = rng.normal(1, 2, n), rng.normal(0, 0.5, m)
    result = mean_difference(values, others)
    expected = scipy_stats.ttest_ind(values, others, equal_var=False).confidence_interval(0.95)
    assert result.estimate == pytest.approx(values.mean() - others.mean())
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))


def test_a_mean_difference_needs_two_values_on_each_side():
    assert mean_difference(np.array([3.0]), np.array([1.0, 1.0])) == Interval(2.0)
    assert mean_difference(np.array([3.0, 3.0]), np.array([1.0, 1.0])) == Interval(2.0, 2.0, 2.0)
