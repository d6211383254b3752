import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.cases import Case
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.trimming import estimate, trim
from gapbench.suites import find, grid, names

EFFORT = Effort()


def contest(case, *specs, suite="test"):
    return Contest(suite, case, {name: name for name in ("mean", *specs)})


def contests(*cases):
    return [contest(case) for case in cases]


SEVERAL = contests(
    *grid({"a": (8, 64, 7, 7), "b": (8, 64, 8, 8), "c": (8, 64, 9, 9)}, dtypes=["float32", "bfloat16"]),
    *grid({"large": (8, 512, 56, 56)}, passes=["forward", "backward"]),
)


def test_what_fits_is_kept_whole_and_in_order():
    trimmed = trim(SEVERAL, Effort(budget=600))
    assert trimmed.kept == SEVERAL
    assert trimmed.dropped == []
    assert trimmed.warnings == ()


@settings(max_examples=50)
@given(st.floats(0.1, 60))
def test_a_short_budget_keeps_some_in_their_order_and_names_the_rest(budget):
    trimmed = trim(SEVERAL, Effort(budget=budget))
    assert trimmed.kept
    assert [one for one in SEVERAL if one in trimmed.kept] == trimmed.kept
    assert sorted(SEVERAL.index(one) for one in trimmed.kept + trimmed.dropped) == list(range(len(SEVERAL)))
    if len(trimmed.kept) > 1:
        assert sum(estimate(one, EFFORT) for one in trimmed.kept) <= budget


def test_the_first_case_stays_however_short_the_budget():
    trimmed = trim(SEVERAL, Effort(budget=1e-3))
    assert trimmed.kept == SEVERAL[:1]
    (warning,) = trimmed.warnings
    assert warning.evidence.startswith("7 of 8 cases do not fit the budget")
    assert warning.remedy.endswith("--budget 1m")


def test_those_that_are_most_like_others_go_first():
    dear, cheap = estimate(SEVERAL[-1], EFFORT), estimate(SEVERAL[0], EFFORT)
    kept = [one.case for one in trim(SEVERAL, Effort(budget=2 + 2 * dear + 2.5 * cheap)).kept]
    assert {case.dtype for case in kept} == {"float32", "bfloat16"}
    assert {case.pass_ for case in kept} == {"forward", "backward"}
    assert len(kept) == 4


def test_every_suite_of_several_is_represented():
    cheap = [contest(Case((1, 8, n, n)), suite=f"suite {n % 3}") for n in range(2, 20)]
    kept = trim(cheap, Effort(budget=2 + 4 * estimate(cheap[0], EFFORT))).kept
    assert {one.suite for one in kept} == {"suite 0", "suite 1", "suite 2"}


def test_what_fits_is_taken_where_a_costly_one_does_not():
    small, huge, other = contests(Case((1, 8, 4, 4)), Case((64, 512, 112, 112)), Case((1, 8, 9, 9)))
    trimmed = trim([small, huge, other], Effort(budget=8))
    assert trimmed.kept == [small, other]


@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        (contest(Case((1, 8, 4, 4))), contest(Case((32, 512, 56, 56)))),
        (contest(Case((1, 8, 4, 4))), contest(Case((1, 8, 4, 4)), "adaptive")),
        (contest(Case((1, 8, 4, 4)), "adaptive"), contest(Case((1, 8, 4, 4)), "compiled_mean")),
        (
            Contest("test", Case((1, 512, 7, 7), operation="classifier_head"), {"gap_linear": "gap_linear"}),
            Contest("test", Case((1, 512, 7, 7), operation="classifier_head"), {"flatten_linear": "flatten_linear"}),
        ),
    ],
)
def test_larger_inputs_more_contenders_compilation_and_weights_cost_more(cheap, dear):
    assert estimate(cheap, EFFORT) < estimate(dear, EFFORT)


@pytest.mark.parametrize(("cheap", "dear"), [("forward", "backward"), ("update", "forward")])
def test_truths_that_take_autograd_cost_more(cheap, dear):
    first, second = (
        Contest("test", Case((8, 256, 56, 56), pass_=pass_, operation="pooling"), {"max_2x2": "max_2x2"})
        for pass_ in (cheap, dear)
    )
    assert 2 * estimate(first, EFFORT) < estimate(second, EFFORT)


def test_what_is_unsupported_costs_nothing():
    case = Case((1, 8, 4, 4))
    assert estimate(contest(case), EFFORT) == estimate(contest(case, "triton"), EFFORT)


def test_the_quick_suite_fits_its_minute_as_it_is():
    (quick,) = find("quick")
    assert trim([contest(case, *quick.implementations) for case in quick.cases], EFFORT).dropped == []


def test_the_ci_suite_fits_about_a_minute():
    assert "ci" in names()
    (ci,) = find("ci")
    assert len(ci.cases) == 12
    assert trim([contest(case, *ci.implementations) for case in ci.cases], EFFORT).dropped == []
