import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from gapbench.statistics.stats import Interval
from gapbench.statistics.verdicts import (
    LEVEL,
    Verdict,
    fewest_rounds,
    judge,
    paired,
    rounds_needed,
    smallest_paired,
    student,
)

logs = st.lists(st.integers(-80, 80).map(lambda value: value / 1000), min_size=4, max_size=12).map(np.array)
MIRROR = {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}


def noise(rng, rounds=12, spread=0.02):
    return rng.normal(0, spread, rounds)


def of_two(base, head, margin, floor=0.0):
    """Test two independent samples by their means, with a known variance."""
    variance = base.var(ddof=1) / len(base) + head.var(ddof=1) / len(head)
    rounds = min(len(base), len(head))
    return student(head.mean() - base.mean(), variance + floor, floor, 2 * rounds - 2, rounds, margin)


def verdicts(evidence, **options):
    return [judgement.verdict for judgement in judge(evidence, **options)]


# What is promised about errors


@pytest.mark.parametrize("spread", [0.005, 0.05])
def test_identical_code_is_red_in_fewer_than_one_diff_in_a_hundred(spread):
    diffs, rows = 300, 12
    rng = np.random.default_rng(3)
    red = sum(
        Verdict.REGRESSED in verdicts([of_two(noise(rng, 9, spread), noise(rng, 9, spread), 0.01) for _ in range(rows)])
        for _ in range(diffs)
    )
    assert red <= 7  # of 300 at 1 %: more than 7 has a probability of 1 %


def test_rows_that_changed_by_exactly_the_margin_are_red_no_more_often_than_the_level():
    """Use the least favourable change, at which the whole level is used."""
    rng = np.random.default_rng(5)
    diffs, level = 250, 0.2
    delta = np.log1p(0.01)
    red = sum(
        Verdict.REGRESSED in verdicts([of_two(noise(rng), noise(rng) + delta, 0.01) for _ in range(4)], level=level)
        for _ in range(diffs)
    )
    assert 0.1 < red / diffs < level + 3 * np.sqrt(level * (1 - level) / diffs)


def test_a_real_slowdown_among_unchanged_rows_is_found_and_they_are_not_blamed():
    rng = np.random.default_rng(1)
    result = 0
    for _ in range(40):
        rows = [of_two(noise(rng, 20, 0.015), noise(rng, 20, 0.015), 0.01) for _ in range(11)]
        slow = of_two(noise(rng, 20, 0.015), noise(rng, 20, 0.015) + np.log(1.05), 0.01)
        first, *others = verdicts([slow, *rows])
        result += first is Verdict.REGRESSED
        assert Verdict.REGRESSED not in others
    assert result >= 38


def test_what_is_quiet_and_unchanged_is_equivalent():
    rng = np.random.default_rng(2)
    assert verdicts([of_two(noise(rng, 12, 0.003), noise(rng, 12, 0.003), 0.01)]) == [Verdict.EQUIVALENT]


# How verdicts behave


@settings(max_examples=60)
@given(st.lists(st.tuples(logs, logs), min_size=1, max_size=4), st.sampled_from([0.0, 0.01, 0.03]))
def test_swapping_the_sides_mirrors_every_verdict(rows, margin):
    there = judge([of_two(base, head, margin, 1e-6) for base, head in rows], level=0.2)
    back = judge([of_two(head, base, margin, 1e-6) for base, head in rows], level=0.2)
    assert [MIRROR.get(item.verdict, item.verdict) for item in there] == [item.verdict for item in back]
    assert [item.p_value for item in there] == pytest.approx([item.p_value for item in back], abs=1e-9)


@settings(max_examples=60)
@given(st.lists(st.tuples(logs, logs), min_size=1, max_size=4))
def test_a_wider_margin_makes_nothing_red_and_unmakes_no_equivalence(rows):
    narrow, wide = ([of_two(base, head, margin, 1e-6) for base, head in rows] for margin in (0.01, 0.03))
    for before, after in zip(verdicts(narrow, level=0.2), verdicts(wide, level=0.2), strict=True):
        assert after not in MIRROR or after is before
        assert before is not Verdict.EQUIVALENT or after is Verdict.EQUIVALENT


def test_the_evidence_is_students_t_against_the_margin():
    values = np.random.default_rng(7).normal(0.03, 0.02, 10)
    evidence = student(values.mean(), values.var(ddof=1) / 10, 0.0, 9, 10, 0.01)
    assert evidence.p_slower == pytest.approx(ttest_1samp(values, np.log(1.01), alternative="greater").pvalue)
    assert evidence.p_equivalent == pytest.approx(ttest_1samp(values, np.log(1.01), alternative="less").pvalue)
    interval = ttest_1samp(values, 0).confidence_interval(0.95)
    assert evidence.change == Interval(values.mean(), pytest.approx(interval.low), pytest.approx(interval.high))


@settings(max_examples=40)
@given(st.integers(1, 1000), st.integers(2, 60))
def test_no_number_of_rows_makes_a_large_change_undetectable(rows, rounds):
    """What a rank test of few rounds cannot show among many rows, a known variance can."""
    same = student(0.0, 1e-5, 1e-5, 20, rounds, 0.01)
    assert verdicts([student(0.2, 1e-5, 1e-5, 20, rounds, 0.01), *[same] * rows])[0] is Verdict.REGRESSED


def test_what_no_rounds_remove_says_so():
    """A third of the variance is between runs: with a change of 3 % more rounds help, with 1.5 % none do."""
    large, small = (student(change, 3e-5, 1e-5, 1000, 10, 0.01) for change in (0.025, 0.015))
    assert 11 <= rounds_needed(large, LEVEL) <= 1000
    assert rounds_needed(small, LEVEL) is None
    assert rounds_needed(student(0.025, 3e-5, 0.0, 1000, 10, 0.01), LEVEL) < rounds_needed(large, LEVEL)


# Paired rounds


def test_paired_rounds_are_tested_by_signed_ranks():
    rng = np.random.default_rng(4)
    slow, same = paired(noise(rng, 14) + np.log(1.06), 0.01), paired(noise(rng, 14, 0.004), 0.01)
    assert verdicts([slow, same]) == [Verdict.REGRESSED, Verdict.EQUIVALENT]
    mirrored = paired(-(noise(rng, 14) + np.log(1.06)), 0.01)
    assert verdicts([mirrored]) == [Verdict.IMPROVED]
    assert paired(np.full(10, 0.5), 0.01).p_slower == pytest.approx(smallest_paired(10))
    zeros = np.r_[np.zeros(20), np.arange(1, 6) / 100]
    assert paired(zeros, 0.0).p_slower > 0.05 > smallest_paired(5)  # zeros favour neither side, and are not left out


def test_the_designs_count_of_signed_rank_rounds():
    """With 300 cases at 5 %, a lone regression needs p <= 1.7e-4: fewer than 13 rounds can never fire."""
    assert fewest_rounds(0.05 / 300, smallest_paired) == 13


# Too few rounds


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_without_an_interval_there_is_no_verdict(rounds):
    (judged,) = judge([paired(np.ones(rounds), 0.01)])
    assert (judged.verdict, judged.rounds_needed) == (Verdict.INCONCLUSIVE, 7)


@pytest.mark.parametrize("change", [1.0, 1.04])
def test_the_rounds_that_are_asked_for_decide_as_often_as_promised(change):
    rng = np.random.default_rng(11)

    def row(rounds):
        return of_two(noise(rng, rounds), noise(rng, rounds) + np.log(change), 0.01)

    asked = [judged.rounds_needed for judged in judge([row(10) for _ in range(30)]) if judged.rounds_needed]
    needed = int(np.median(asked))
    decided = [judge([row(needed)])[0].verdict is not Verdict.INCONCLUSIVE for _ in range(60)]
    assert np.mean(decided) > 0.5
    assert needed > 10


def test_a_change_as_large_as_the_margin_is_not_decided_by_any_rounds():
    assert judge([student(np.log1p(0.01), 1e-6, 0.0, 20, 12, 0.01)])[0].rounds_needed is None


def test_no_rows_have_no_verdicts():
    assert judge([]) == []
