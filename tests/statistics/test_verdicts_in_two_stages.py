import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.statistics import verdicts as stages
from gapbench.statistics.verdicts import LEVEL, Verdict, paired

ROWS = 12


def rounds(rng, change=1.0, count=20, spread=0.02):
    return paired(np.log(change) + rng.normal(0, spread, count), 0.01)


def verdicts(rng, changes, first=20, fresh=20, everyone=False):
    """Return the verdicts of a diff whose rows change by ``changes``; all rows are flagged if ``everyone``."""
    look = [rounds(rng, change, first) for change in changes]
    flagged = [everyone or stages.needs_confirmation(row) for row in look]
    again = [rounds(rng, row, fresh) if flag else None for row, flag in zip(changes, flagged, strict=True)]
    return [judgement.verdict for judgement in stages.decide(look, again)]


@pytest.mark.slow
@pytest.mark.parametrize("change", [1.0, 1.01])
@pytest.mark.parametrize("everyone", [False, True])
def test_rows_within_the_margin_are_red_in_no_more_diffs_than_the_level(change, everyone, repetitions):
    rng = np.random.default_rng(1)
    reds = sum(Verdict.REGRESSED in verdicts(rng, [change] * ROWS, 12, 12, everyone) for _ in range(100 * repetitions))
    assert reds <= 2 + 2 * repetitions  # at 1 %: more than 4 of 100 have a probability of 0.3 %, as more than 8 of 300


def test_a_lone_change_and_many_are_both_found():
    rng = np.random.default_rng(2)
    lone = [verdicts(rng, [1.03] + [1.0] * (ROWS - 1), 30, 60)[0] for _ in range(40)]
    assert lone.count(Verdict.REGRESSED) >= 36
    many = [verdict for _ in range(10) for verdict in verdicts(rng, [1.03] * ROWS, 30, 16)]
    assert many.count(Verdict.REGRESSED) >= 0.85 * len(many)


def test_fresh_rounds_that_do_not_point_there_take_back_what_the_first_look_shows():
    rng = np.random.default_rng(3)
    look = [rounds(rng, 1.3)] + [rounds(rng)] * (ROWS - 1)
    again = [rounds(rng, 1.0, 30)] + [None] * (ROWS - 1)
    assert stages.decide(look, again)[0].verdict is not Verdict.REGRESSED


def test_what_was_not_flagged_is_equivalent_at_most():
    rng = np.random.default_rng(4)
    result = stages.decide([rounds(rng, 1.5), rounds(rng, 1.0, 100)], [None, None])
    assert [row.verdict for row in result] == [Verdict.INCONCLUSIVE, Verdict.EQUIVALENT]
    assert stages.decide([], []) == []


@pytest.mark.slow
@given(st.integers(0, 10_000))
def test_swapping_the_sides_mirrors_the_verdicts(seed):
    rng = np.random.default_rng(seed)
    changes = rng.choice([0.95, 1.0, 1.05], 4)
    values = [(np.log(c) + rng.normal(0, 0.01, 12), np.log(c) + rng.normal(0, 0.01, 12)) for c in changes]
    row = stages.decide([paired(a, 0.01) for a, _ in values], [paired(b, 0.01) for _, b in values])
    other = stages.decide([paired(-a, 0.01) for a, _ in values], [paired(-b, 0.01) for _, b in values])
    mirror = {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}
    assert [mirror.get(j.verdict, j.verdict) for j in row] == [j.verdict for j in other]
    assert [j.p_value for j in row] == pytest.approx([j.p_value for j in other])


def test_the_rounds_that_are_asked_for_confirm():
    """Confirm as often as promised if the change is the nearer end of the screening's interval."""
    rng = np.random.default_rng(5)
    level, result = LEVEL / 2, []
    for _ in range(100):
        look = rounds(rng, 1.05, 20)
        wanted = stages.rounds_to_confirm(look, level)
        assert wanted is not None
        result.append(rounds(rng, np.exp(look.change.low), wanted).p_slower <= level)
    assert np.mean(result) >= 0.95  # 99 % for normal values; a rank test asks for a little more


def test_a_change_that_may_be_none_gets_whatever_there_is_time_for():
    assert stages.rounds_to_confirm(rounds(np.random.default_rng(6), 1.0), LEVEL) is None
