import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import expected_output, small_cases, upstream

from gapbench.operations import builtin
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case
from gapbench.workloads.truth import GLOBAL_AVERAGE, Expected

torch.set_num_threads(1)  # on busy cores a barrier between two takes longer than all the work here

SHAPES = [(2, 9, 7, 7), (1, 3, 112, 112), (2, 8, 65), (1, 9, 3, 5, 5)]
HALF = [torch.float16, torch.bfloat16]

seeds = st.integers(0, 2**32)


def torch_dtype(case):
    return getattr(torch, case.dtype)


def mean(x):
    return x.double().mean(tuple(range(2, x.ndim)), keepdim=True).to(x.dtype)


def pixel(x, index):
    return x.flatten(2)[:, :, index].reshape(mean(x).shape)


def without(x, kept):
    """Divide by the whole window and sum only a part of it."""
    rows = x.double().flatten(2)
    return (rows[:, :, kept].sum(2) / rows.shape[2]).to(x.dtype).view(mean(x).shape)


class Lazy(torch.Tensor):
    """A subclass could put its work off until somebody looks."""


class PreviousOutput:
    """Right on its first call, and from then on one call late."""

    def __init__(self):
        self.previous = None

    def __call__(self, x):
        late = self.previous
        self.previous = mean(x)
        return self.previous if late is None else late


class FirstOutput(PreviousOutput):
    """Right on its first call, which it answers for ever."""

    def __call__(self, x):
        self.previous = mean(x) if self.previous is None else self.previous
        return self.previous


LIES = {
    "zeros": lambda x: torch.zeros_like(mean(x)),
    "ones": lambda x: torch.ones_like(mean(x)),
    "constant two": lambda x: torch.full_like(mean(x), 2),
    "constant NaN": lambda x: torch.full_like(mean(x), math.nan),
    "constant infinity": lambda x: torch.full_like(mean(x), math.inf),
    "first pixel": lambda x: pixel(x, 0),
    "last pixel": lambda x: pixel(x, -1),
    "max": lambda x: x.flatten(2).amax(2).view(mean(x).shape),
    "sum without division": lambda x: (mean(x).double() * x.flatten(2).shape[2]).to(x.dtype),
    "all but the first pixel": lambda x: without(x, slice(1, None)),
    "all but the last pixel": lambda x: without(x, slice(None, -1)),
    "opposite sign": lambda x: -mean(x),
    "absolute value": lambda x: mean(x).abs(),
    "wrong axis": lambda x: (
        x.double()
        .mean(1, keepdim=True)
        .flatten(2)
        .mean(2)
        .to(x.dtype)
        .view(-1, 1, *mean(x).shape[2:])
        .expand(mean(x).shape)
    ),
    "channels in the opposite order": lambda x: mean(x).flip(1),
    "the next channel": lambda x: mean(x).roll(1, 1),
    "NaN swallowed": lambda x: mean(x.nan_to_num(nan=0, posinf=math.inf)),
    "infinity swallowed": lambda x: mean(x.masked_fill(x.isinf(), 0)),
    "NaN everywhere": lambda x: mean(x) + mean(x).sum() * 0,
    "clamped to ±100": lambda x: mean(x.clamp(-100, 100)),
    "no rank": lambda x: mean(x).flatten()[0],
    "spatial dimensions dropped": lambda x: mean(x).flatten(1),
    "no reduction": lambda x: x.clone(),
    "float64 or float32": lambda x: mean(x).to(torch.float32 if x.dtype == torch.float64 else torch.float64),
    "complex": lambda x: mean(x).to(torch.complex64),
    "an array": lambda x: mean(x).double().numpy(),
    "a tensor that may be lazy": lambda x: mean(x).as_subclass(Lazy),
    "nothing": lambda x: None,
    "a tuple": lambda x: (mean(x),),
}
STATEFUL_LIES = {"previous call's output": PreviousOutput, "first call's output": FirstOutput}


# What is right


@given(small_cases(largest=2**12), seeds)
def test_the_correctly_rounded_answer_is_right_and_within_half_a_unit_in_the_last_place(case, seed):
    x, gradient = inputs.sample(case, seed), upstream(case, seed)
    expected = expected_output(case, x, gradient)
    judgement = oracle.judge(case, expected.value.to(torch_dtype(case)), expected)
    assert judgement.reason is None
    assert judgement.max_error_ulp <= 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spatial", [(200, 336), (100_003,)])
def test_tiny_gradients_of_huge_windows_are_right_when_correctly_rounded(spatial, dtype):
    """In float16 they are subnormal, and rounded to more than the relative tolerance."""
    case = Case((1, 2, *spatial), dtype=dtype, pass_="backward")
    judgement = oracle.examine(case, lambda x: x.mean(case.spatial_dims, keepdim=True), 0)
    assert judgement.reason is None
    assert judgement.max_error_ulp <= 0.5
    x, gradient = inputs.sample(case, 0), upstream(case, 0)
    expected = expected_output(case, x, gradient)
    for wrong in (0, 0.9, 1.1):
        y = (expected.value * wrong).to(torch_dtype(case))
        assert oracle.judge(case, y, expected).reason is not None


@given(small_cases(largest=2**12), seeds)
def test_the_expected_answer_is_the_mean_of_each_row(case, seed):
    assume(case.pass_ == "forward")
    x = inputs.sample(case, seed)
    expected = expected_output(case, x)
    rows = x.double().numpy().reshape(case.n, case.c, -1)
    np.testing.assert_allclose(expected.value.reshape(case.n, case.c), rows.mean(2), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(expected.scale.reshape(case.n, case.c), np.abs(rows).mean(2), rtol=1e-12)
    assert expected.value.shape == (case.n, case.c, *[1] * len(case.spatial))
    assert expected.value.dtype == torch.float64


@given(small_cases(largest=2**12, passes=("backward",)), seeds)
def test_the_expected_gradient_is_its_row_s_share_everywhere(case, seed):
    gradient = upstream(case, seed)
    expected = expected_output(case, inputs.sample(case, seed), gradient)
    assert expected.value.shape == case.shape
    assert torch.equal(expected.value, (gradient.double() / case.window) * torch.ones(case.shape))


@pytest.mark.parametrize("shape", [(0, 3, 7, 7), (2, 0, 7, 7), (0, 0, 1), (0, 3, 0, 7)])
@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_nothing_is_right_where_nothing_is_asked(shape, pass_):
    case = Case(shape, pass_=pass_)
    judgement = oracle.examine(case, lambda x: x.mean(case.spatial_dims, keepdim=True), 0)
    assert judgement == oracle.Judgement(None, 0.0, 0.0)
    wrong_shape = oracle.examine(Case(shape), lambda x: x.mean(case.spatial_dims), 0)
    assert "returned shape" in wrong_shape.reason


def test_an_empty_window_averages_to_nan():
    case = Case((2, 3, 0, 7))
    assert oracle.examine(case, lambda x: x.mean((2, 3), keepdim=True), 0).reason is None
    assert "expected nan" in oracle.examine(case, lambda x: x.sum((2, 3), keepdim=True), 0).reason


# What is wrong


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("lie", [*LIES, *STATEFUL_LIES])
def test_lies_are_rejected(lie, shape, dtype):
    case = Case(shape, dtype=dtype)
    function = LIES[lie] if lie in LIES else STATEFUL_LIES[lie]()
    assert oracle.examine(case, function, 0).reason is not None


ALWAYS_LIES = [
    "zeros",
    "ones",
    "constant two",
    "NaN swallowed",
    "infinity swallowed",
    "opposite sign",
    "clamped to ±100",
]


@given(small_cases(largest=2**10, passes=("forward",)), seeds, st.sampled_from([*ALWAYS_LIES, *STATEFUL_LIES]))
def test_no_shape_seed_or_layout_saves_a_lie(case, seed, lie):
    function = LIES[lie] if lie in LIES else STATEFUL_LIES[lie]()
    assert oracle.examine(case, function, seed).reason is not None


@given(
    small_cases(largest=2**10, passes=("forward",)),
    seeds,
    st.sampled_from(
        [
            "first pixel",
            "last pixel",
            "max",
            "all but the first pixel",
            "all but the last pixel",
            "sum without division",
        ]
    ),
)
def test_no_window_of_several_pixels_saves_a_lie_about_them(case, seed, lie):
    assume(case.window > 1)
    assert oracle.examine(case, LIES[lie], seed).reason is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("window", [(7, 7), (112, 112)])
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_pixel_of_the_row_next_to_it_is_noticed_in_any_precision(shift, window, dtype):
    case = Case((2, 9, *window), dtype=dtype)

    def one_pixel_too_many(x):
        stray = x.flatten().roll(-shift).view(x.shape).flatten(2)[:, :, -1 if shift > 0 else 0]
        return (mean(x).double() + stray.view(mean(x).shape).double() / case.window).to(x.dtype)

    assert oracle.examine(case, one_pixel_too_many, 0).reason is not None


@pytest.mark.parametrize("dtype", DTYPES)
def test_dividing_by_one_too_few_is_noticed_in_small_windows(dtype):
    case = Case((2, 9, 7, 7), dtype=dtype)
    assert oracle.examine(case, lambda x: (mean(x).double() * 49 / 48).to(x.dtype), 0).reason is not None


@pytest.mark.parametrize("dtype", DTYPES)
def test_truth_is_told_from_lies_for_the_same_cases(dtype):
    for shape in SHAPES:
        assert oracle.examine(Case(shape, dtype=dtype), mean, 0).reason is None


def in_turn(x, half):
    """Sum one after the other, as one thread of a naive kernel does."""
    total = torch.zeros(x.shape[:2], dtype=half)
    for pixels in x.flatten(2).to(half).unbind(2):
        total += pixels
    return total


def by_threads(x, half, threads=256):
    """Let each thread sum its share, then add the threads' sums up in a tree."""
    rows = x.flatten(2).to(half)
    rows = torch.nn.functional.pad(rows, (0, -rows.shape[2] % threads)).unflatten(2, (-1, threads))
    total = torch.zeros_like(rows[:, :, 0])
    for part in rows.unbind(2):
        total += part
    return pairwise(total, half)


def pairwise(x, half):
    rows = x.flatten(2).to(half)
    while rows.shape[2] > 1:
        rows = torch.nn.functional.pad(rows, (0, rows.shape[2] % 2))
        rows = rows[:, :, ::2] + rows[:, :, 1::2]
    return rows[:, :, 0]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("dtype", "half", "accumulate"),
    [
        (dtype, half, accumulate)
        for dtype, halves in {"float32": HALF, "float16": HALF[:1], "bfloat16": HALF[1:]}.items()
        for half in halves
        for accumulate in (in_turn, by_threads, pairwise)
        if (dtype, accumulate) != ("bfloat16", pairwise)  # as exact as two roundings in these sizes
    ],
)
def test_an_accumulator_in_half_precision_is_rejected(dtype, half, accumulate, layout):
    case = Case((2, 16, 112, 112), dtype=dtype, layout=layout)

    def pool(x):
        total = accumulate(x, half).double() / case.window
        return total.to(x.dtype).view(case.n, case.c, 1, 1)

    assert oracle.examine(case, pool, 0).reason is not None


def one_by_one(x):
    """Average in float32 as a naive kernel does, dividing first: every step is rounded."""
    total = torch.zeros(x.shape[:2])
    for pixels in (x.float() * (1 / math.prod(x.shape[2:]))).flatten(2).unbind(2):
        total += pixels
    return total.to(x.dtype).view(mean(x).shape)


@pytest.mark.parametrize("window", [(13, 13), (63, 65), (63, 130), (112, 112)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_float32_accumulator_is_right_in_whatever_order_it_sums(dtype, window):
    case = Case((8, 64, *window), dtype=dtype)
    judgement = oracle.examine(case, one_by_one, 0)
    assert judgement.reason is None
    assert judgement.max_error < 0.6 * oracle.tolerance(case.dtype, case.window)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_float16_sum_that_overflows_is_rejected_naming_the_input(layout):
    case = Case((1, 3, 64, 64), dtype="float16", layout=layout)
    reason = oracle.examine(case, builtin("sum_scale").prepare(case), 0).reason
    assert "got inf" in reason
    assert any(reason.endswith(f"(input: {pattern})") for pattern in ("noise around 100", "constant 40"))
    assert oracle.examine(case, builtin("sum_float32").prepare(case), 0).reason is None


@pytest.mark.parametrize(
    ("lie", "pattern"),
    [("NaN swallowed", "one NaN"), ("infinity swallowed", "one infinity"), ("clamped to ±100", "one infinity")],
)
def test_the_reason_names_the_pattern_that_gave_it_away(lie, pattern):
    assert f"(input: {pattern})" in oracle.examine(Case((2, 5, 3, 3)), LIES[lie], 0).reason


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ("nothing", "returned NoneType, not a plain tensor"),
        ("a tensor that may be lazy", "returned Lazy, not a plain tensor"),
        ("an array", "returned ndarray, not a plain tensor"),
        ("spatial dimensions dropped", "returned shape (2, 9), expected (2, 9, 1, 1)"),
        ("float64 or float32", "returned float64, expected float32"),
        ("previous call's output", "right on one input, on the next wrong at (n, c) = "),
        ("first call's output", "right on one input, on the next wrong at (n, c) = "),
    ],
)
def test_the_reason_says_what_is_wrong(lie, reason):
    function = LIES[lie] if lie in LIES else STATEFUL_LIES[lie]()
    assert reason in oracle.examine(Case((2, 9, 7, 7)), function, 0).reason


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_changing_the_input_is_rejected_even_after_the_right_answer(layout, dtype):
    def spoil(x):
        y = mean(x)
        x[-1, -1, -1, -1] *= 2
        return y

    assert oracle.examine(Case((2, 3, 4, 4), dtype=dtype, layout=layout), spoil, 0).reason == "changes its input"


def test_the_answer_is_judged_by_the_input_before_the_call():
    assert oracle.examine(Case((2, 3, 4, 4)), lambda x: mean(x.zero_()), 0).reason == "changes its input"
    for swallow in (lambda x: x.nan_to_num_(), lambda x: x.clamp_(-50, 50)):
        assert "(input: " in oracle.examine(Case((2, 3, 4, 4)), lambda x, swallow=swallow: mean(swallow(x)), 0).reason


@pytest.mark.parametrize("layout", LAYOUTS)
def test_wrong_gradients_are_rejected(layout):
    case = Case((2, 3, 4, 4), layout=layout, pass_="backward")
    for wrong in (
        lambda x: x.sum((2, 3), keepdim=True),
        lambda x: x.amax((2, 3), keepdim=True),
        lambda x: x[:, :, :1, :1] * 1,
        lambda x: x.mean((2, 3), keepdim=True).flip(1),
    ):
        assert "wrong at (n, c) = " in oracle.examine(case, wrong, 0).reason


# How wrong


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("ulps_above_one", "error_ulp"), [(0, 0.5), (1, 0.5), (2, 1.5), (-0.5, 1.0)])
def test_errors_count_in_units_in_the_last_place(dtype, ulps_above_one, error_ulp):
    eps = torch.finfo(getattr(torch, dtype)).eps
    case = Case((1, 1, 2), dtype=dtype)
    expected = expected_output(case, torch.tensor([[[1, 1 + eps]]], dtype=getattr(torch, dtype)))
    assert expected.value.item() == 1 + eps / 2
    judgement = oracle.judge(case, torch.tensor([[[1 + ulps_above_one * eps]]], dtype=getattr(torch, dtype)), expected)
    assert judgement.max_error_ulp == error_ulp
    assert judgement.max_error == pytest.approx(error_ulp * eps / (1 + eps / 2), rel=1e-9)


@pytest.mark.parametrize(
    ("value", "ulp"), [(1.0, 2**-23), (1.9, 2**-23), (2.0, 2**-22), (0.75, 2**-24), (1e-40, 2**-149)]
)
def test_a_unit_in_the_last_place_follows_the_exponent(value, ulp):
    case = Case((1, 1, 1))
    want = torch.tensor([[[value]]], dtype=torch.float64)
    y = want.float()
    want = y.double() + 3 * ulp
    assert oracle.judge(case, y, Expected(want, torch.ones(1, 1, 1))).max_error_ulp == 3


@pytest.mark.parametrize(
    ("dtype", "rtol", "roundoff"),
    [("float32", 1.3e-6, 2**-24), ("float16", 1e-3, 2**-24), ("bfloat16", 1.6e-2, 2**-24), ("float64", 1e-12, 2**-53)],
)
@pytest.mark.parametrize(
    ("window", "pattern", "steps"),
    [(1, False, 4), (4, False, 8), (10_000, False, 400), (1, True, 1), (10_000, True, 10_000)],
)
def test_the_tolerance_is_the_line_between_right_and_wrong(window, pattern, steps, dtype, rtol, roundoff):
    case = Case((1, 1, window), dtype=dtype)
    allowed = rtol + steps * roundoff
    assert oracle.tolerance(dtype, window, pattern) == pytest.approx(allowed, rel=1e-12)
    expected = Expected(torch.full((1, 1, 1), 1.0).double(), torch.full((1, 1, 1), 64.0).double(), window)
    for factor, right in [(0.9, True), (1.1, False), (-0.9, True), (-1.1, False)]:
        y = (expected.value + factor * allowed * 64).to(torch_dtype(case))
        judgement = oracle.judge(case, y, expected, pattern)
        assert (judgement.reason is None) == right
        assert judgement.max_error == pytest.approx(abs(factor) * allowed, rel=0.05)


def test_the_errors_are_those_of_the_worst_rows():
    case = Case((1, 3, 1))
    want = torch.tensor([[[1.0], [1.0], [2.0**20]]], dtype=torch.float64)
    y = want.float() + torch.tensor([[[2.0**-23], [3 * 2.0**-23], [2.0]]])
    judgement = oracle.judge(case, y, Expected(want, want))
    assert judgement.max_error == 2**-19
    assert judgement.max_error_ulp == 16
    assert judgement.row == 2


def test_errors_are_measured_against_the_size_of_the_input_not_of_its_mean():
    case = Case((1, 1, 2))
    expected = expected_output(case, torch.tensor([[[1000.0, -1000.0]]]))
    assert oracle.judge(case, torch.full((1, 1, 1), 1e-3), expected).reason is None
    assert oracle.judge(case, torch.full((1, 1, 1), 1e-2), expected).reason is not None


@pytest.mark.parametrize(
    ("want", "got"),
    [
        (math.nan, 0.0),
        (1.0, math.nan),
        (math.inf, 1e30),
        (math.inf, -math.inf),
        (math.inf, math.nan),
        (math.nan, math.inf),
        (1.0, math.inf),
        (0.0, -math.inf),
    ],
)
def test_nan_or_infinity_in_the_wrong_place_is_an_infinite_error(want, got):
    case = Case((1, 1, 1))
    expected = expected_output(case, torch.full((1, 1, 1), want))
    judgement = oracle.judge(case, torch.full((1, 1, 1), got), expected)
    assert judgement.reason is not None
    assert judgement.max_error == math.inf


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf, 0.0, -0.0])
def test_special_values_in_the_right_place_are_no_error(special):
    case = Case((1, 1, 1))
    x = torch.full((1, 1, 1), special)
    judgement = oracle.judge(case, x.clone(), expected_output(case, x))
    assert (judgement.reason, judgement.max_error) == (None, 0)
    assert judgement.max_error_ulp == (0 if math.isfinite(special) else None)


@settings(max_examples=50)
@given(small_cases(largest=2**12), seeds, st.data())
def test_the_worst_row_is_named_in_any_layout(case, seed, data):
    x, gradient = inputs.sample(case, seed), upstream(case, seed)
    expected = expected_output(case, x, gradient)
    n, c = data.draw(st.integers(0, case.n - 1)), data.draw(st.integers(0, case.c - 1))
    order = data.draw(st.permutations(range(expected.value.ndim)))
    y = torch.empty([expected.value.shape[dim] for dim in order], dtype=torch_dtype(case))
    y = y.permute([order.index(dim) for dim in range(len(order))]).copy_(expected.value)
    y[(n, c, *[-1] * len(case.spatial))] += 5
    judgement = oracle.judge(case, y, expected)
    assert judgement.reason.startswith(f"wrong at (n, c) = {(n, c)}: got ")
    assert judgement.row == n * case.c + c


def test_the_numbers_are_those_of_the_sample():
    case = Case((2, 8, 7, 7))
    x = inputs.sample(case, 4)
    plain = oracle.judge(case, mean(x), expected_output(case, x))
    assert oracle.examine(case, mean, 4) == plain
    assert 0 < plain.max_error < 1e-7


@given(small_cases(), seeds, st.sampled_from([0.0, 1e-7, 1e-4, 1e-2, 1.0]), st.booleans())
@settings(max_examples=60)
def test_what_is_accepted_quickly_is_right(case, seed, off, nan):
    x = inputs.sample(case, seed)
    expected = expected_output(case, x, upstream(case, seed))
    y = (expected.value * (1 + off)).to(torch_dtype(case))
    if nan and y.numel():
        y.reshape(-1)[-1] = torch.nan
    accepted = oracle.accepts(case, y, expected)
    assert not (accepted and oracle.judge(case, y, expected).reason)
    if off == 0 and not nan:
        assert accepted


def test_what_has_another_shape_or_type_is_not_accepted_quickly():
    case = Case((2, 3, 4, 4))
    x = inputs.sample(case, 0)
    expected, y = expected_output(case, x), mean(x)
    assert oracle.accepts(case, y, expected)
    for other in (y.double(), y.squeeze(), y.as_subclass(Lazy), None, y[:1]):
        assert not oracle.accepts(case, other, expected)


def test_an_output_on_another_device_is_wrong():
    """Computed elsewhere, it was not the device that is measured; asynchronous ones ranked it fastest."""
    case = Case((2, 3, 4, 4))
    expected = GLOBAL_AVERAGE.forward(case, torch.ones(case.shape))
    elsewhere = torch.ones(case.averaged, device="meta")
    assert oracle.judge(case, elsewhere, expected).reason == "returned a tensor on meta, expected one on cpu"
    assert not oracle.accepts(case, elsewhere, expected)
