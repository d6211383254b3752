import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.errors import GapbenchError
from gapbench.measuring.budget import estimate, fit_to_budget, partition
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.workloads.cases import Case
from gapbench.workloads.suites import find, grid, names

EFFORT = Effort()


def case_plan(case, *specs, suite="test"):
    return CasePlan(suite, case, {name: name for name in ("mean", *specs)})


def plans(*cases):
    return [case_plan(case) for case in cases]


SEVERAL = plans(
    *grid({"a": (8, 64, 7, 7), "b": (8, 64, 8, 8), "c": (8, 64, 9, 9)}, dtypes=["float32", "bfloat16"]),
    *grid({"large": (8, 512, 56, 56)}, passes=["forward", "backward"]),
)


def test_what_fits_is_kept_whole_and_in_order():
    trimmed = fit_to_budget(SEVERAL, Effort(budget=600))
    assert trimmed.kept == SEVERAL
    assert trimmed.dropped == []
    assert trimmed.warnings == ()


@settings(max_examples=50)
@given(st.floats(0.1, 60))
def test_a_short_budget_keeps_some_in_their_order_and_names_the_rest(budget):
    trimmed = fit_to_budget(SEVERAL, Effort(budget=budget))
    assert trimmed.kept
    assert [item for item in SEVERAL if item in trimmed.kept] == trimmed.kept
    assert sorted(SEVERAL.index(item) for item in trimmed.kept + trimmed.dropped) == list(range(len(SEVERAL)))
    if len(trimmed.kept) > 1:
        assert sum(estimate(item, EFFORT) for item in trimmed.kept) <= budget


def test_the_first_case_stays_however_short_the_budget():
    trimmed = fit_to_budget(SEVERAL, Effort(budget=1e-3))
    assert trimmed.kept == SEVERAL[:1]
    (warning,) = trimmed.warnings
    assert warning.evidence.startswith("7 of 8 cases do not fit the budget")
    assert warning.remedy.endswith("--budget 1m")


def test_those_that_are_most_like_others_go_first():
    dear, cheap = estimate(SEVERAL[-1], EFFORT), estimate(SEVERAL[0], EFFORT)
    kept = [item.case for item in fit_to_budget(SEVERAL, Effort(budget=2 + 2 * dear + 2.5 * cheap)).kept]
    assert {case.dtype for case in kept} == {"float32", "bfloat16"}
    assert {case.pass_ for case in kept} == {"forward", "backward"}
    assert len(kept) == 4


def test_every_suite_of_several_is_represented():
    cheap = [case_plan(Case((1, 8, n, n)), suite=f"suite {n % 3}") for n in range(2, 20)]
    kept = fit_to_budget(cheap, Effort(budget=2 + 4 * estimate(cheap[0], EFFORT))).kept
    assert {item.suite for item in kept} == {"suite 0", "suite 1", "suite 2"}


def test_what_fits_is_taken_where_a_costly_one_does_not():
    small, huge, other = map(case_plan, (Case((1, 8, 4, 4)), Case((64, 512, 112, 112)), Case((1, 8, 9, 9))))
    trimmed = fit_to_budget([small, huge, other], Effort(budget=8))
    assert trimmed.kept == [small, other]


@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        (case_plan(Case((1, 8, 4, 4))), case_plan(Case((32, 512, 56, 56)))),
        (case_plan(Case((1, 8, 4, 4))), case_plan(Case((1, 8, 4, 4)), "adaptive")),
        (case_plan(Case((1, 8, 4, 4)), "adaptive"), case_plan(Case((1, 8, 4, 4)), "compiled_mean")),
        (
            CasePlan("test", Case((1, 512, 7, 7), operation="classifier_head"), {"gap_linear": "gap_linear"}),
            CasePlan("test", Case((1, 512, 7, 7), operation="classifier_head"), {"flatten_linear": "flatten_linear"}),
        ),
    ],
)
def test_larger_inputs_more_contenders_compilation_and_weights_cost_more(cheap, dear):
    assert estimate(cheap, EFFORT) < estimate(dear, EFFORT)


@pytest.mark.parametrize(("cheap", "dear"), [("forward", "backward"), ("update", "forward")])
def test_truths_that_take_autograd_cost_more(cheap, dear):
    first, second = (
        CasePlan("test", Case((8, 256, 56, 56), pass_=pass_, operation="pooling"), {"max_2x2": "max_2x2"})
        for pass_ in (cheap, dear)
    )
    assert 2 * estimate(first, EFFORT) < estimate(second, EFFORT)


def test_what_is_unsupported_costs_nothing():
    case = Case((1, 8, 4, 4))
    assert estimate(case_plan(case), EFFORT) == estimate(case_plan(case, "triton"), EFFORT)


def test_the_quick_suite_fits_its_minute_as_it_is():
    (quick,) = find("quick")
    assert fit_to_budget([case_plan(case, *quick.implementations) for case in quick.cases], EFFORT).dropped == []


def test_the_ci_suite_fits_about_a_minute():
    assert "ci" in names()
    (ci,) = find("ci")
    assert len(ci.cases) == 12
    assert fit_to_budget([case_plan(case, *ci.implementations) for case in ci.cases], EFFORT).dropped == []


# Shards

shapes = st.tuples(st.integers(1, 64), st.integers(1, 2048), st.integers(1, 112), st.integers(1, 112))
specs = st.sets(st.sampled_from(["sum_scale", "adaptive", "compiled_mean"]))


@st.composite
def drawn_plans(draw, least=1):
    """Draw case plans of very different lengths, each of another case."""
    drawn = draw(st.lists(st.tuples(shapes, specs), min_size=least, max_size=30, unique_by=lambda item: item[0]))
    return [
        CasePlan("test", Case(shape), {"mean": "mean", **{name: name for name in sorted(more)}})
        for shape, more in drawn
    ]


@given(drawn_plans(), st.data())
def test_every_case_is_in_exactly_one_shard_and_no_shard_is_empty(plans, data):
    count = data.draw(st.integers(1, len(plans)))
    hands = partition(plans, EFFORT, count)
    assert len(hands) == count
    assert sorted(index for hand in hands for index in hand) == list(range(len(plans)))
    assert all(hand and hand == sorted(hand) for hand in hands)
    assert partition(plans, EFFORT, count) == hands


@given(drawn_plans(least=2), st.data())
def test_no_shard_could_give_a_case_away_and_be_done_before_the_one_that_takes_it(plans, data):
    hands = partition(plans, EFFORT, data.draw(st.integers(2, len(plans))))
    costs = [estimate(case_plan, EFFORT) for case_plan in plans]
    loads = [sum(costs[index] for index in hand) for hand in hands]
    for hand, load in zip(hands, loads, strict=True):
        assert load - min(costs[index] for index in hand) <= min(loads) * (1 + 1e-9)


@given(drawn_plans(), st.integers(1, 5))
def test_more_shards_than_cases_are_refused(plans, more):
    with pytest.raises(GapbenchError, match=rf"too many: the selection has {len(plans)} cases"):
        partition(plans, EFFORT, len(plans) + more)
