import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import small_cases, upstream

from gapbench.workloads import inputs
from gapbench.workloads.cases import DTYPES, LAYOUTS, Case

torch.set_num_threads(1)  # on busy cores a barrier between two takes longer than all the work here

SPATIAL = [(7,), (5, 3), (2, 5, 3)]


def last_offset(x):
    return sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))


# Layouts, for shape (2, 3, *spatial)

STRIDES = {
    "contiguous": {(7,): (21, 7, 1), (5, 3): (45, 15, 3, 1), (2, 5, 3): (90, 30, 15, 3, 1)},
    "channels_last": {(7,): (21, 1, 3), (5, 3): (45, 1, 9, 3), (2, 5, 3): (90, 1, 45, 9, 3)},
    "sliced": {(7,): (24, 1, 3), (5, 3): (48, 1, 9, 3), (2, 5, 3): (93, 1, 45, 9, 3)},
    "permuted": {(7,): (3, 1, 6), (5, 3): (3, 1, 18, 6), (2, 5, 3): (3, 1, 90, 18, 6)},
}


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_have_the_strides_that_they_claim(layout, spatial):
    x = inputs.empty(Case((2, 3, *spatial), layout=layout))
    assert x.shape == (2, 3, *spatial)
    assert x.stride() == STRIDES[layout][spatial]


@pytest.mark.parametrize("spatial", SPATIAL)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "permuted"])
def test_dense_layouts_fill_their_storage_from_its_start(layout, spatial):
    x = inputs.empty(Case((2, 3, *spatial), layout=layout))
    assert x.storage_offset() == 0
    assert x.untyped_storage().nbytes() == x.numel() * x.itemsize


@pytest.mark.parametrize("spatial", SPATIAL)
def test_sliced_starts_after_one_dropped_position_and_drops_one_in_every_image(spatial):
    x = inputs.empty(Case((2, 3, *spatial), layout="sliced"))
    tokens = x.as_strided((2, math.prod(spatial) + 1, 3), (x.stride(0), 3, 1), storage_offset=0)
    assert tokens.is_contiguous()
    assert tokens.untyped_storage().nbytes() == tokens.numel() * tokens.itemsize
    x.copy_(torch.arange(x.numel()).view(x.shape))
    assert torch.equal(tokens[:, 1:].mT, x.flatten(2))


def test_channels_last_is_what_torch_calls_so():
    for shape, memory_format in [((2, 3, 5, 3), torch.channels_last), ((2, 3, 2, 5, 3), torch.channels_last_3d)]:
        assert inputs.empty(Case(shape, layout="channels_last")).is_contiguous(memory_format=memory_format)
        assert not inputs.empty(Case(shape)).is_contiguous(memory_format=memory_format)


@given(small_cases(), st.integers(0, 2**32))
def test_every_element_has_an_address_of_its_own_inside_the_storage(case, seed):
    x = inputs.sample(case, seed)
    assert x.shape == case.shape
    assert x.dtype == getattr(torch, case.dtype)
    assert x.device.type == "cpu"
    assert (x.storage_offset() + last_offset(x) + 1) * x.itemsize <= x.untyped_storage().nbytes()
    numbers = torch.arange(x.numel(), dtype=torch.float64).view(x.shape)
    wide = torch.empty_strided(x.shape, x.stride(), dtype=torch.float64).copy_(numbers)
    assert torch.equal(wide, numbers)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_buffers_start_at_cache_lines_of_one_page_that_vary_with_the_seed(layout, dtype):
    case = Case((2, 32, 4, 4), dtype=dtype, layout=layout)
    dropped = case.c if layout == "sliced" else 0
    starts = [(inputs.sample(case, seed).storage_offset() - dropped) * DTYPES[dtype] for seed in range(400)]
    assert all(start % 64 == 0 for start in starts)
    assert min(starts) == 0
    assert max(starts) == 4096 - 64
    assert len(set(starts)) > 50


def test_nothing_takes_no_space():
    for shape in [(0, 3, 7, 7), (2, 0, 7), (2, 3, 0, 7)]:
        for layout in LAYOUTS:
            case = Case(shape, layout=layout)
            assert inputs.sample(case, 0).shape == shape
            assert inputs.stress(case, 0) == []


# Samples


@given(small_cases(largest=2**12), st.integers(0, 2**32))
def test_a_seed_reproduces_values_and_place(case, seed):
    first, other = inputs.sample(case, seed), inputs.sample(case, seed)
    assert torch.equal(first, other)
    assert first.storage_offset() == other.storage_offset()
    assert torch.equal(upstream(case, seed), upstream(case, seed))
    for (x, patterns), (again, same) in zip(inputs.stress(case, seed), inputs.stress(case, seed), strict=True):
        assert torch.equal(x.nan_to_num(nan=-1), again.nan_to_num(nan=-1))
        assert patterns == same


@given(small_cases(largest=2**12), st.integers(0, 2**32), st.integers(1, 1000))
def test_different_seeds_give_different_values(case, seed, further):
    assume(case.n * case.c >= 8)  # a few bfloat16 numbers can be the same by chance
    for make in (inputs.sample, upstream):
        assert not torch.equal(make(case, seed), make(case, seed + further))


@given(st.integers(0, 2**32), st.sampled_from(list(LAYOUTS)))
def test_layouts_differ_in_place_and_not_in_value(seed, layout):
    case = Case((2, 3, 5, 4), layout=layout)
    assert torch.equal(inputs.sample(case, seed), inputs.sample(Case((2, 3, 5, 4)), seed))


@given(small_cases(), st.integers(0, 2**32))
def test_no_mean_of_a_large_window_is_near_zero(case, seed):
    assume(case.window >= 49)
    means = inputs.sample(case, seed).double().mean(case.spatial_dims)
    assert means.abs().min() > 0.2
    assert means.abs().max() < 4


def test_rows_have_means_of_both_signs_that_differ():
    means = inputs.sample(Case((4, 64, 16, 16)), 3).mean((2, 3)).flatten()
    assert 0.3 < (means > 0).float().mean() < 0.7
    assert means.unique().numel() == means.numel()
    assert means.abs().std() > 0.4


@given(small_cases(), st.integers(0, 2**32))
def test_values_are_finite_and_small(case, seed):
    assert inputs.sample(case, seed).abs().max() < 10


@given(small_cases(), st.integers(0, 2**32))
def test_gradients_are_away_from_zero_and_one_a_row(case, seed):
    gradient = upstream(case, seed)
    assert gradient.shape == (case.n, case.c, *[1] * len(case.spatial))
    assert gradient.dtype == getattr(torch, case.dtype)
    assert gradient.min() >= 1
    assert gradient.max() <= 3
    if gradient.numel() >= 64:
        assert gradient.unique().numel() > 30


# Stress


def rows_of(case, seed=0):
    """Return every row of the stress inputs as (window,) in float64, by its pattern."""
    rows = {}
    for x, patterns in inputs.stress(case, seed):
        for row, pattern in zip(x.double().flatten(2).flatten(0, 1), patterns, strict=True):
            rows.setdefault(pattern, []).append(row)
    return rows


@given(small_cases(largest=2**12), st.integers(0, 2**32))
def test_every_pattern_occurs_whatever_the_number_of_rows(case, seed):
    for x, patterns in inputs.stress(case, seed):
        assert x.shape == case.shape
        assert x.dtype == getattr(torch, case.dtype)
        assert len(patterns) == case.n * case.c
        assert x.stride() == inputs.empty(case).stride()
    assert set(rows_of(case, seed)) == set(inputs.STRESS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 9, 9), (3, 5, 9, 9), (1, 8, 81)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_contain_what_their_pattern_says(shape, layout, dtype):
    eps = torch.finfo(getattr(torch, dtype)).eps
    rows = rows_of(Case(shape, dtype=dtype, layout=layout))
    holds = {
        "noise around 100": lambda row: abs(row.mean() - 100) < 1 and 0.5 < row.std() < 2,
        "constant 40": lambda row: (row == 40).all(),
        "alternating ±1000": lambda row: (row[::2] == 1000).all() and (row[1::2] == -1000).all(),
        "all zero": lambda row: (row == 0).all(),
        "noise around 0.0001": lambda row: abs(row.mean() - 1e-4) < 1e-5 and row.std() < 2e-5 and row.min() > 0,
        "a ramp from -3 to 1": lambda row: torch.allclose(
            row, torch.linspace(-3, 1, len(row), dtype=torch.float64), rtol=eps, atol=1e-6
        ),
        "one infinity": lambda row: row[0] == math.inf and (row[1:] == 0).all(),
        "one NaN": lambda row: row[-1].isnan() and (row[:-1] == 0).all(),
    }
    for pattern in inputs.STRESS:
        assert all(holds[pattern](row) for row in rows[pattern]), pattern


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [1, 2])
def test_a_guarded_tensor_of_any_layout_notices_a_single_element(layout, n):
    case = Case((n, 3, 5, 7), dtype="bfloat16", layout=layout)
    x = inputs.sample(case, 0)
    x[0, 0, 0, 0] = float("nan")
    guard = inputs.GuardedTensor(x)
    assert guard
    for index in ((0, 1, 2, 3), (n - 1, 2, 4, 6)):
        x[index] += 1
        assert not guard
        guard.restore()
        assert guard
