import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_case, shapes

from gapbench.errors import GapbenchError
from gapbench.workloads.cases import DTYPES, LAYOUTS, PASSES, Case, parse_shape


@given(any_case)
def test_an_id_reads_back_as_the_same_case(case):
    assert Case.from_id(case.id) == case


@given(any_case, any_case)
def test_different_cases_have_different_ids(case, other):
    assert (case.id == other.id) == (case == other)


def test_the_id_is_the_one_that_tools_rely_on():
    case = Case((8, 2048, 7, 7), layout="channels_last")
    assert case.id == "8x2048x7x7-float32-channels_last-cpu-forward-t1"
    assert dataclasses.replace(case, operation="global_max").id.startswith("global_max-8x2048x7x7-float32-")


def test_a_label_is_no_part_of_the_identity():
    case, other = Case((1, 2, 3), label="head"), Case((1, 2, 3), label="squeeze")
    assert case == other
    assert case.id == other.id
    assert len({case, other}) == 1


@given(any_case, st.data())
def test_an_id_with_a_character_less_is_another_case_or_refused(case, data):
    position = data.draw(st.integers(0, len(case.id) - 1))
    damaged = case.id[:position] + case.id[position + 1 :]
    try:
        read = Case.from_id(damaged)
    except GapbenchError:
        return
    assert read != case


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8x2048x7x7",
        "8x2048x7x7-float32-contiguous-cpu-forward",
        "8x2048x7x7-float32-contiguous-cpu-forward-t1 ",
        "8x2048x7x7-float32-contiguous-cpu-forward-t1\n",
        "8x2048x7x7-float32-contiguous-cuda:-forward-t1",
        "-8x2048x7x7-float32-contiguous-cpu-forward-t1",
        "8X2048X7X7-float32-contiguous-cpu-forward-t1",
    ],
)
def test_a_malformed_id_is_refused_with_an_example(text):
    with pytest.raises(GapbenchError, match="malformed case .* write it as in 8x2048x7x7-float32-contiguous-cpu"):
        Case.from_id(text)


@given(shapes)
def test_a_shape_is_written_with_x(shape):
    assert parse_shape("x".join(map(str, shape))) == shape


@pytest.mark.parametrize(
    "text", ["", "7", "7x7", "1x2x3x4x5x6", "8x2048x7x", "8 x 2048 x 7", "-1x2x3", "1x2x3.5", "1,2,3"]
)
def test_a_malformed_shape_is_refused_with_an_example(text):
    with pytest.raises(GapbenchError, match="malformed shape .* as in 8x2048x7x7"):
        parse_shape(text)


@pytest.mark.parametrize("shape", [(), (2, 3), (1, 2, 3, 4, 5, 6), (1, -2, 3)])
def test_a_case_has_one_to_three_spatial_sizes(shape):
    with pytest.raises(GapbenchError, match="malformed shape"):
        Case(shape)


@pytest.mark.parametrize(
    ("wrong", "listed"),
    [
        ({"dtype": "float61"}, "unknown dtype 'float61'; there are: float64, float16, bfloat16, float32"),
        ({"dtype": "bf16"}, "unknown dtype 'bf16'; there are: bfloat16, float16, float32, float64"),
        ({"layout": "channel_last"}, "unknown layout 'channel_last'; there are: channels_last, "),
        ({"pass_": "backwards"}, "unknown pass 'backwards'; there are: backward, forward"),
        ({"threads": 0}, "threads must be 1 to 8192, not 0"),
        ({"device": "\udcff"}, r"malformed device '\\udcff': write cpu, cuda or cuda:1"),
        ({"threads": 2**40}, f"threads must be 1 to 8192, not {2**40}"),
    ],
)
def test_an_unknown_value_is_refused_naming_the_closest_first(wrong, listed):
    with pytest.raises(GapbenchError, match=listed):
        Case((1, 2, 3), **wrong)


@given(any_case)
def test_sizes_follow_from_the_shape(case):
    assert (case.n, case.c, *case.spatial) == case.shape
    assert [case.shape[dim] for dim in case.spatial_dims] == list(case.spatial)
    assert case.elements == case.n * case.c * case.window


@given(any_case)
def test_bytes_moved_are_every_input_element_once_and_every_output_element_once(case):
    itemsize = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}[case.dtype]
    once = itemsize * (math.prod(case.shape) + case.n * case.c)
    assert case.bytes_moved == {"forward": once, "backward": once, "training": 2 * once, "update": None}[case.pass_]


def test_bytes_moved_by_a_resnet_head():
    assert Case((8, 2048, 7, 7), dtype="bfloat16").bytes_moved == 2 * 8 * 2048 * 50


def test_a_case_is_made_of_the_shared_vocabulary():
    assert set(DTYPES) == {"float32", "float16", "bfloat16", "float64"}
    assert set(LAYOUTS) == {"contiguous", "channels_last", "sliced", "permuted"}
    assert set(PASSES) == {"forward", "backward", "update", "training"}
