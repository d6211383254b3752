"""Tilings are arithmetic: what they cover, and what they prefer."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gapbench.cases import Case
from gapbench.implementations.triton import tilings
from gapbench.implementations.triton.plans import Chip, Geometry
from gapbench.implementations.triton.tilings import FLAT, FORWARD, TILES

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


def is_power(number):
    return number > 0 and number & (number - 1) == 0


def every_plan(geometry, chip):
    forward = [plan for kernel in FORWARD for plan in FORWARD[kernel](geometry, chip)]
    return forward + [plan for kernel in (None, *FORWARD) for plan in tilings.backward(geometry, chip, kernel)]


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
            assert plan.parts * plan.block_c <= tilings.PARTIALS
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
    for candidates in (tilings.forward(geometry, chip), tilings.backward(geometry, chip)):
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
    assert tilings.forward(geometry, H100)[0].kernel == kernel


def test_small_grids_get_smaller_tiles_and_large_ones_the_preferred_tile():
    (small, *_), (large, *_) = (FORWARD["row_persistent"](Geometry.of(Case((n, 2048, 7, 7))), H100) for n in (1, 64))
    assert small.block_c * small.block_r < large.block_c * large.block_r == TILES[0]


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
