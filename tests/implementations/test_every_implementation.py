"""What every implementation must do: a new one that joins `IMPLEMENTATIONS` is tested here unasked."""

import itertools
import re

import pytest
import torch
from hypothesis import assume, example, given, settings
from strategies import AVERAGING, TELLING_SIZES, expected_output, small_cases

from gapbench import operations
from gapbench.errors import GapbenchError
from gapbench.implementations import IMPLEMENTATIONS
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case

torch.set_num_threads(1)  # on busy cores a barrier between two takes longer than all the work here

QUICK = [implementation for implementation in IMPLEMENTATIONS if implementation.family != "compiled"]
COMPILED = [
    implementation
    for implementation in IMPLEMENTATIONS
    if implementation.family == "compiled" and not implementation.unsupported(Case((2, 9, 7, 7)))
]


def known_to_be_wrong(implementation, case):
    """Tell what the oracle rejects with good reason: float16, by those who round to it before they are done."""
    if case.dtype != "float16":
        return False
    match implementation.name:
        case "sum_scale" | "einsum":
            return case.window > 600  # the sum overflows
        case "matmul" | "depthwise_conv":
            return case.window > 2**14  # the weights, 1/HW, are subnormal
        case "two_stage_mean":
            return len(case.spatial) == 3  # three roundings of half a unit exceed the tolerance, which is two
    return False


def by_name(families):
    return pytest.mark.parametrize("implementation", families, ids=lambda implementation: implementation.name)


def assert_right_where_supported(implementation, case, seed=0):
    if reason := implementation.unsupported_reason(case):
        assert_says_why(reason)
        return
    judgement = oracle.examine(case, implementation.prepare(case), seed)
    assert judgement.reason is None, f"{implementation.name} on {case.id}: {judgement.reason}"
    assert implementation.proof() is None


def assert_says_why(reason):
    assert re.search(r"(;|,) (use|install|choose|run) ", reason), f"no remedy: {reason}"


@by_name(QUICK)
@settings(max_examples=60)
@given(case=small_cases())
@example(case=Case((1, 1, 1, 1)))
@example(case=Case((1, 1, 63)))
@example(case=Case((1, 3, 64, 1), layout="channels_last", pass_="backward"))
@example(case=Case((3, 2, 5, 13), dtype="bfloat16", layout="permuted"))
@example(case=Case((2, 64, 7, 7, 7), dtype="float16", layout="sliced", pass_="backward"))
def test_is_right_on_every_shape_dtype_layout_and_pass(implementation, case):
    assume(not known_to_be_wrong(implementation, case))
    assert_right_where_supported(implementation, case)


@by_name(QUICK)
@pytest.mark.parametrize("window", [(63,), (8, 8), (5, 13), (31, 37), (63, 64), (63, 130), (112, 112)])
def test_is_right_around_powers_of_two_and_in_large_windows(implementation, window):
    for dtype, layout in itertools.product(DTYPES, LAYOUTS):
        case = Case((1, 9, *window), dtype=dtype, layout=layout)
        if not known_to_be_wrong(implementation, case):
            assert_right_where_supported(implementation, case)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("einsum", Case((1, 9, 31, 37), dtype="float16")),
        ("depthwise_conv", Case((1, 9, 300, 200), dtype="float16")),
        ("two_stage_mean", Case((2, 64, 7, 7, 7), dtype="float16", pass_="backward")),
    ],
)
def test_what_is_known_to_be_wrong_is_found_to_be(name, case):
    implementation = operations.builtin(name)
    assert known_to_be_wrong(implementation, case)
    assert "wrong at" in oracle.examine(case, implementation.prepare(case), 0).reason


@by_name(QUICK)
@pytest.mark.parametrize("pass_", AVERAGING)
def test_an_empty_batch_is_right_or_unsupported(implementation, pass_):
    for c, *spatial in itertools.product([0, 3], [0, 7], [0, 5]):
        for layout in LAYOUTS:
            assert_right_where_supported(implementation, Case((0, c, *spatial), layout=layout, pass_=pass_))
    for shape in [(0, 3, 7), (0, 3, 2, 3, 4)]:
        assert_right_where_supported(implementation, Case(shape, pass_=pass_))


@by_name(QUICK)
def test_leaves_its_input_alone(implementation):
    case = Case((2, 5, 6, 7))
    if implementation.unsupported_reason(case):
        return
    x = inputs.sample(case, 0)
    before = x.clone()
    implementation.prepare(case)(x)
    assert torch.equal(x, before)


@by_name(QUICK)
def test_is_prepared_once_and_called_on_many_inputs(implementation):
    case = Case((2, 5, 6, 7))
    if implementation.unsupported_reason(case):
        return
    function = implementation.prepare(case)
    for seed in range(3):
        x = inputs.sample(case, seed)
        assert oracle.judge(case, function(x), expected_output(case, x)).reason is None


@by_name(COMPILED)
@pytest.mark.parametrize(
    "case", [Case((2, 9, 7, 7)), Case((1, 8, 63), dtype="bfloat16", layout="channels_last")], ids=lambda case: case.id
)
def test_compiled_code_is_right_and_proves_that_it_ran(implementation, case):
    assert implementation.unsupported_reason(case) is None
    assert_right_where_supported(implementation, case)


def test_proof_is_refused_where_no_compiled_code_ran():
    compiled = COMPILED[0]
    compiled.prepare(Case((2, 9, 7, 7)))
    assert "captured no graph" in compiled.proof()


def test_names_are_unique_and_survive_as_identifiers():
    names = [implementation.name for implementation in IMPLEMENTATIONS]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)
    assert "mean" in names


@by_name(IMPLEMENTATIONS)
def test_describes_itself(implementation):
    assert operations.builtin(implementation.name) is implementation
    assert operations.name_of(implementation.name) == implementation.name
    assert implementation.family
    assert implementation.summary
    assert not implementation.summary.endswith(".")
    compile(implementation.snippet, "snippet", "eval")


@by_name([implementation for implementation in IMPLEMENTATIONS if implementation.family == "eager"])
def test_the_snippet_is_the_code_that_is_measured(implementation):
    case = Case((2, 5, 6, 7))
    x = inputs.sample(case, 0)
    shown = eval(implementation.snippet, {"torch": torch, "F": torch.nn.functional, "x": x})  # noqa: S307 - our own
    assert oracle.judge(case, shown, expected_output(case, x)).reason is None
    assert torch.equal(shown, implementation.prepare(case)(x))


def test_an_unknown_name_lists_the_closest_first():
    with pytest.raises(GapbenchError, match="unknown implementation 'mean_flta'; there are: mean_flat, "):
        operations.name_of("mean_flta")


def test_the_sizes_that_are_drawn_include_what_separates_implementations():
    assert {1, 7, 13, 63, 64, 65} <= set(TELLING_SIZES)
