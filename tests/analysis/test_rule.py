"""Rules: as good as they say, on what was measured and on what was left out, and simple where that suffices."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.analysis import rule as rules
from gapbench.errors import GapbenchError, NothingMatchedError
from gapbench.report import rule_file
from gapbench.store.run import Machine, Run

NAMES = ("mean", "fast", "other")


def results(cases, ratio, **columns):
    """Return results of (shape, dtype, layout) cases, in which ``ratio(case, name)`` is the time over the fastest."""
    rows = []
    for shape, dtype, layout in cases:
        for name in NAMES:
            value = ratio((shape, dtype, layout), name)
            rows.append(
                {
                    "case": f"{'x'.join(map(str, shape))}-{dtype}-{layout}", "shape": "x".join(map(str, shape)),
                    "n": shape[0], "c": shape[1], "elements": math.prod(shape), "dtype": dtype, "layout": layout,
                    "implementation": name, "ranked": True, "status": "failed" if value is None else "ok",
                    "best": None if value is None else "x", "best_ratio": value,
                    "best_ratio_high": None if value is None else value * 1.01,
                    "operation": "gap", "device": "cpu", "clock": "host", "memory": "kept", "pass": "forward",
                    "threads": 1,
                }
                | columns
            )  # fmt: skip
    return pd.DataFrame(rows)


def grid(sides=(7, 14, 28, 56), channels=(64, 512), dtypes=("float32", "bfloat16"), layouts=("contiguous",)):
    return [((1, c, s, s), dtype, layout) for s in sides for c in channels for dtype in dtypes for layout in layouts]


def by_size(case, name):
    """Let fast win on small maps, and mean elsewhere."""
    small = math.prod(case[0][2:]) <= 196
    return {"mean": 1.5 if small else 1.0, "fast": 1.0 if small else 1.4, "other": 2.0}[name]


def chosen(text):
    module = {}
    exec(text, module)  # noqa: S102 - it is ours
    return module["choose"]


def run(snippets=None):
    return Run(id="20261130T000000Z-abc1234-0001", machine=Machine(cpu="EPYC", device="cpu"), snippets=snippets or {})


def test_one_threshold_is_found_between_the_measured_sizes():
    rule = rules.learn(results(grid(), by_size), 0.03)
    assert (rule.tree.feature, rule.tree.first, rule.tree.second) == ("size", rules.Leaf("fast"), rules.Leaf("mean"))
    assert 196 <= rule.tree.value < 784
    assert (rule.worst, rule.bound) == (0.0, pytest.approx(0.01))
    assert rule.single == ("fast", pytest.approx(0.4))


def test_dtypes_and_layouts_are_chosen_by_name():
    def ratio(case, name):
        if case[1] == "bfloat16":
            return {"mean": 3.0, "fast": 1.0, "other": 2.0}[name]
        return {"mean": 1.0, "fast": 3.0, "other": 2.0}[name]

    rule = rules.learn(results(grid(), ratio), 0.03)
    assert rules.choice(rule, {"dtype": "bfloat16", "layout": "contiguous", "outputs": 64, "size": 49}) == "fast"
    assert rules.choice(rule, {"dtype": "float32", "layout": "contiguous", "outputs": 64, "size": 49}) == "mean"


def test_one_implementation_is_said_to_be_enough_where_it_is():
    rule = rules.learn(results(grid(), lambda case, name: {"mean": 1.02, "fast": 1.0, "other": 1.5}[name]), 0.03)
    assert rule.is_single
    assert "if" not in rule_file.source(rule, run()).partition("size = ")[2].partition("return")[0].split()[4:]
    also = rules.learn(results(grid(), by_size), 0.6)
    assert also.is_single
    assert also.worst == pytest.approx(0.4)


def test_what_failed_somewhere_is_not_chosen_there():
    def ratio(case, name):
        if name == "fast":
            return None if case[0][2] == 56 else 1.0
        return {"mean": 1.3, "other": 1.2}[name]

    rule = rules.learn(results(grid(), ratio), 0.03)
    assert rules.choice(rule, {"dtype": "float32", "layout": "contiguous", "outputs": 64, "size": 56 * 56}) == "other"
    assert rules.choice(rule, {"dtype": "float32", "layout": "contiguous", "outputs": 64, "size": 49}) == "fast"


def test_left_out_shapes_tell_what_new_shapes_cost():
    """Where winners alternate by size, a rule is perfect on what it saw, and wrong between."""

    def ratio(case, name):
        odd = (7, 14, 28, 56).index(case[0][2]) % 2
        return {"mean": 1.0 if odd else 1.5, "fast": 1.5 if odd else 1.0, "other": 9.0}[name]

    rule = rules.learn(results(grid(channels=(64,)), ratio), 0.03)
    assert rule.worst == 0
    assert rule.held_out == pytest.approx(0.5)
    assert rule.held_out_cases == 4  # two dtypes of the two sizes that lie between others
    smooth = rules.learn(results(grid(channels=(64,), sides=(7, 10, 14, 28, 40, 56)), by_size), 0.03)
    assert smooth.held_out == 0


def test_a_single_shape_leaves_nothing_out():
    rule = rules.learn(results(grid(sides=(7,), channels=(64,)), by_size), 0.03)
    assert (rule.held_out, rule.held_out_cases) == (None, 0)
    assert "nothing known of shapes that were not measured" in rule_file.source(rule, run())


@pytest.mark.parametrize("name", ["clock", "threads", "pass"])
def test_several_conditions_are_refused_by_name(name):
    mixed = results(grid(), by_size)
    mixed[name] = ["a", "b"] * (len(mixed) // 2)
    with pytest.raises(GapbenchError, match=f"a rule is for one {name}, and there are a, b; select with -k"):
        rules.learn(mixed, 0.03)


def test_nothing_ranked_is_no_match():
    with pytest.raises(NothingMatchedError, match="nothing to choose"):
        rules.learn(results(grid(), by_size, best=None), 0.03)


CASES = st.lists(
    st.tuples(
        st.tuples(st.integers(1, 4), st.sampled_from([1, 64, 512]), st.integers(1, 60), st.integers(1, 60)),
        st.sampled_from(["float32", "bfloat16"]),
        st.sampled_from(["contiguous", "channels_last"]),
    ),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip


@given(CASES, st.integers(0, 2**32), st.sampled_from([0.0, 0.03, 0.5]))
def test_the_file_chooses_as_the_rule_and_the_rule_costs_what_it_says(cases, seed, most):
    rng = np.random.default_rng(seed)
    times = {case: rng.choice([1.0, 1.02, 1.5, 3.0], len(NAMES)) for case in cases}
    ratios = {case: dict(zip(NAMES, (values / values.min()).tolist(), strict=True)) for case, values in times.items()}
    rule = rules.learn(results(cases, lambda case, name: ratios[case][name]), most)
    choose = chosen(rule_file.source(rule, run({"fast": "x.fast()"})))
    losses = [ratios[case][choose(*case)] - 1 for case in cases]
    assert rule.worst == pytest.approx(max(losses))
    for shape, dtype, layout in cases:
        features = {"outputs": math.prod(shape[:2]), "size": math.prod(shape[2:]), "dtype": dtype, "layout": layout}
        assert choose(shape, f"torch.{dtype}", layout) == rules.choice(rule, features)
    outside = [((9, 1000, 1, 1), "float32", "contiguous"), ((1, 1, 99, 99), "float32", "contiguous")]
    assert {choose(*case) for case in [*outside, ((1, 64, 7, 7), "float16", "contiguous")]} == {"mean"}


@given(st.integers(0, 2**32))
def test_distinct_sizes_can_always_be_told_apart(seed):
    """With one dtype and layout, and sizes that differ, a rule keeps within any regret."""
    rng = np.random.default_rng(seed)
    cases = [((1, 8, size, 1), "float32", "contiguous") for size in (2, 5, 9, 20, 50, 90)]
    best = {case: rng.choice(NAMES) for case in cases}
    rule = rules.learn(results(cases, lambda case, name: 1.0 if best[case] == name else 1.4), 0.01)
    assert rule.worst == 0
