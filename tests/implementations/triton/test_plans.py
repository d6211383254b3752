"""How a plan reads, what kernels see of a case, and which plans are timed for it."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gapbench.implementations.triton import plans
from gapbench.implementations.triton.plans import FLAT, FORWARD, TILES, Chip, Geometry, Plan
from gapbench.workloads.cases import Case


@given(
    plan=st.builds(
        Plan,
        st.sampled_from([*FORWARD, "spread_row", "spread_flat"]),
        st.integers(1, 4096),
        st.integers(1, 4096),
        st.sampled_from([1, 2, 4, 8]),
        st.integers(1, 64),
    )
)
def test_the_text_of_a_plan_reads_back(plan):
    assert Plan.parse(str(plan)) == plan


def test_a_plan_reads_like_this():
    assert str(Plan("row_persistent", 32, 64, 4)) == "row_persistent BLOCK_C=32 BLOCK_R=64, 4 warps"
    assert str(Plan("split_two_pass", 64, 16, 1, 8)) == "split_two_pass BLOCK_C=64 BLOCK_R=16 PARTS=8, 1 warp"
    with pytest.raises(ValueError, match="malformed plan 'column, 4 warps': write it as in 'column BLOCK_C=64"):
        Plan.parse("column, 4 warps")


@pytest.mark.parametrize(
    ("layout", "images"), [("contiguous", 1), ("channels_last", 5), ("sliced", 5), ("permuted", 1)]
)
def test_one_stride_through_n_and_c_makes_them_one_dimension(layout, images):
    geometry = Geometry.of(Case((5, 3, 7, 7), layout=layout))
    assert (geometry.images, geometry.channels) == (images, 15 // images)
    assert math.prod((geometry.images, geometry.channels, geometry.window)) == 735


H100 = Chip()
MI300X = Chip(units=304, lanes=64)
geometries = st.builds(
    Geometry,
    images=st.integers(0, 4096),
    channels=st.integers(0, 2**20),
    window=st.one_of(st.integers(0, 1100), st.integers(0, 2**22)),
    itemsize=st.sampled_from([2, 4, 8]),
    column=st.booleans(),
)
chips = st.builds(Chip, units=st.integers(1, 400), lanes=st.sampled_from([32, 64]))


def per_thread(plan, chip):
    """Return how many elements of a tile each thread holds."""
    return plan.block_c * plan.block_r / (plan.warps * chip.lanes)


def is_power(number):
    return number > 0 and number & (number - 1) == 0


def every_plan(geometry, chip):
    forward = [plan for kernel in FORWARD for plan in FORWARD[kernel](geometry, chip)]
    return forward + [plan for kernel in (None, *FORWARD) for plan in plans.backward_plans(geometry, chip, kernel)]


@given(geometry=geometries, chip=chips)
def test_every_plan_covers_the_window_and_fits_a_launch(geometry, chip):
    assume(geometry.images * geometry.channels * geometry.window <= 2**38)  # more than any GPU holds
    for plan in every_plan(geometry, chip):
        assert is_power(plan.block_r)
        assert is_power(plan.warps)
        assert 1 <= plan.warps <= 8
        assert plan.block_c * plan.block_r <= 2 * max(TILES)
        assert plan.programs(geometry) < 2**31
        if plan.kernel == "row_persistent":
            assert plan.block_r >= geometry.window
        if plan.kernel.startswith("split"):
            assert plan.parts >= 2
            assert plan.parts * plan.block_c <= plans.PARTIALS
        if plan.kernel not in ("flat", "spread_flat"):
            assert is_power(plan.block_c)


@given(geometry=geometries, chip=chips)
def test_a_flat_stretch_starts_on_16_bytes(geometry, chip):
    for plan in FORWARD["flat"](geometry, chip):
        assert plan.block_c * geometry.window * geometry.itemsize % 16 == 0
        assert plan.block_c * geometry.window <= max(TILES)
        assert is_power(plan.block_c)
        assert geometry.window <= FLAT


@given(geometry=geometries, chip=chips)
def test_there_is_always_a_plan_and_no_plan_twice(geometry, chip):
    for candidates in (plans.forward_plans(geometry, chip), plans.backward_plans(geometry, chip)):
        assert 1 <= len(candidates) == len(set(candidates)) <= 12


@pytest.mark.parametrize(
    ("shape", "layout", "kernel"),
    [
        ((64, 2048, 7, 7), "contiguous", "flat"),
        ((64, 1024, 14, 14), "contiguous", "flat"),
        ((64, 2048, 8, 8), "contiguous", "row_persistent"),
        ((64, 512, 28, 28), "contiguous", "row_persistent"),
        ((64, 256, 56, 56), "contiguous", "row_looped"),
        ((64, 2048, 7, 7), "channels_last", "column"),
        ((64, 768, 196), "sliced", "column"),
        ((1, 32, 112, 112), "contiguous", "split_two_pass"),
        ((1, 256, 200, 336), "channels_last", "split_two_pass"),
        ((1, 64, 32, 32), "contiguous", "row_persistent"),
    ],
)
def test_what_arithmetic_prefers(shape, layout, kernel):
    geometry = Geometry.of(Case(shape, dtype="float16", layout=layout))
    assert plans.forward_plans(geometry, H100)[0].kernel == kernel


def test_small_grids_get_smaller_tiles_and_large_ones_the_preferred_tile():
    (small, *_), (large, *_) = (FORWARD["row_persistent"](Geometry.of(Case((n, 2048, 7, 7))), H100) for n in (1, 64))
    assert small.block_c * small.block_r < large.block_c * large.block_r == TILES[0]


@given(geometry=geometries, chip=st.sampled_from([H100, MI300X]))
def test_elements_a_thread_are_swept_around_the_first_plan(geometry, chip):
    first, *others = plans.forward_plans(geometry, chip)
    tile = next(plan for plan in (first, *others) if not plan.kernel.startswith("split"))
    alike = [plan for plan in (first, *others) if replace(plan, warps=tile.warps) == tile]
    amounts = {per_thread(plan, chip) for plan in alike}
    if 2 <= tile.warps <= 8 and per_thread(tile, chip) >= 2:
        assert amounts >= {per_thread(tile, chip) * factor for factor in (0.5, 1, 2)}
    assert min(amounts) >= min(1, per_thread(tile, chip))


def test_a_split_fills_the_gpu():
    for shape, layout in [((1, 32, 112, 112), "contiguous"), ((1, 256, 200, 336), "channels_last")]:
        geometry = Geometry.of(Case(shape, dtype="float16", layout=layout))
        for chip in (H100, MI300X):
            plan = FORWARD["split_two_pass"](geometry, chip)[0]
            assert plan.programs(geometry) >= 0.8 * chip.enough


def test_waves_of_64_take_half_the_warps():
    geometry = Geometry.of(Case((64, 512, 28, 28)))
    assert (
        FORWARD["row_persistent"](geometry, H100)[0].warps == 2 * FORWARD["row_persistent"](geometry, MI300X)[0].warps
    )
