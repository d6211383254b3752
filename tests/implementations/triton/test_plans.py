"""How a plan reads, and what kernels see of a case."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.cases import Case
from gapbench.implementations.triton.plans import Geometry, Plan
from gapbench.implementations.triton.tilings import FORWARD


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
