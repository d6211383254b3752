"""Each rule against its tool's own answer, by hand or from its code (versions as in `rules`)."""

import numpy as np
import pytest
import rules

ONE = [10.0, 10.4, 9.9, 10.1, 10.8, 10.2, 9.7, 10.3, 10.6, 10.5]
OTHER = [10.45, 10.9, 10.35, 11.0, 10.7, 11.2, 10.65, 10.15, 11.3, 10.95]


def one_value_a_process(values):
    return np.array(values)[:, None]


def test_asv_s_p_is_what_its_code_gives():
    assert rules.asv_p(np.array(ONE), np.array(OTHER)) == pytest.approx(0.006841455757864431)  # exact
    many = 10 + 0.1 * np.arange(21)
    assert rules.asv_p(many, many + 0.53) == pytest.approx(0.011466473394248899)  # normal


def test_asv_s_interval_is_what_its_code_gives():
    ladder = np.round(10 + 0.1 * np.arange(21), 2)
    assert rules.asv_interval(np.array(ONE)) == (9.7, 10.8)  # of ten values, all of them
    assert rules.asv_interval(ladder) == pytest.approx((10.4, 11.6))
    assert rules.asv_interval(ladder[:8]) == pytest.approx((10.0, 10.7))
    assert rules.asv_interval(np.array(ONE + OTHER)) == pytest.approx((10.1, 10.95))
    assert rules.asv_interval(ladder[:7]) == (-np.inf, np.inf)


@pytest.mark.parametrize("stored", [True, False])
def test_asv_wants_medians_a_factor_apart_and_a_difference(stored):
    base = np.array([np.linspace(1.0, 1.04, 5), np.linspace(1.005, 1.045, 5)])
    for ratio, factor, expected in [(1.06, 1.05, 1), (1.06, 1.1, 0), (1 / 1.06, 1.05, -1), (1.0, 1.05, 0)]:
        assert rules.asv(base, base * ratio, factor, stored) == expected


def test_asv_compare_is_blind_where_a_single_value_overlaps():
    base = np.array([np.linspace(1.0, 1.04, 5), np.linspace(1.005, 1.045, 5)])
    base[0, 0] = 1.5
    assert rules.asv(base, base * 1.2, 1.05, stored=False) == 1
    assert rules.asv(base, base * 1.2, 1.05, stored=True) == 0


def test_pytest_benchmark_compares_one_statistic_of_all_samples():
    base, head = np.array([[1.0, 2.0, 3.0, np.nan]]), np.array([[1.06, 2.0, 3.0, 9.0]])
    assert rules.pytest_benchmark(base, head, "min") == 1
    assert rules.pytest_benchmark(head, base, "min") == -1
    assert rules.pytest_benchmark(base, head[:, :3], "median") == 0
    assert rules.pytest_benchmark(base, head[:, :3], "mean") == 0
    assert rules.pytest_benchmark(base, head, "mean") == 1
    assert rules.pytest_benchmark(np.array([[100.0]]), np.array([[105.0]]), "min") == 0  # exceeding, not reaching


def test_pyperf_is_student_s_pooled_t():
    """Its own score of these values is 3.239, and its table's critical value for 18 degrees of freedom is 2.101."""
    base, head = one_value_a_process(ONE), one_value_a_process(OTHER)
    assert rules.pyperf(base, head) == 1
    assert rules.pyperf(head, base) == -1
    assert rules.pyperf(base, head - 0.18) == 1  # its score: 2.107
    assert rules.pyperf(base, head - 0.183) == 0  # its score: 2.088


def test_benchstat_is_mann_whitney_at_five_percent():
    base, head = one_value_a_process(ONE), one_value_a_process(OTHER)
    assert rules.benchstat(base, head) == 1  # p = 0.0068
    assert rules.benchstat(head, base) == -1
    assert rules.benchstat(base[:3], base[:3] * 2) == 0  # three a side never reach it
    assert rules.benchstat(base, base + 0.01) == 0


def test_values_are_means_of_stretches_of_each_process():
    side = np.array([[1.0, 3.0, 5.0, 7.0, 100.0], [2.0, 4.0, np.nan, np.nan, np.nan]])
    assert rules.values(side, 2).tolist() == [2.0, 6.0, 2.0, 4.0]
    assert rules.values(side, 1).tolist() == [23.2, 3.0]


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.name)
def test_every_rule_sees_a_large_change_without_noise_and_nothing_where_nothing_changed(rule):
    rng = np.random.default_rng(0)
    base = np.exp(rng.normal(0, 1e-4, (rule.processes, 20)))
    head = np.exp(rng.normal(0, 1e-4, (rule.processes, 20)))
    assert rule.decide(base, 1.2 * head) == 1
    assert rule.decide(1.2 * base, head) == -1
    assert rule.decide(base, base) == 0
