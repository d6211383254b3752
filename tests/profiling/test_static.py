"""Kernels compiled for GPUs that are not there, and what is read off their machine code."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from gapbench.cases import Case
from gapbench.profiling import static
from gapbench.profiling.architectures import ARCHITECTURES
from gapbench.profiling.static import CASES, DTYPES

DOCUMENT = Path(__file__).parents[2] / "docs" / "triton.md"
FORWARD = {"row_persistent", "row_looped", "column", "split_two_pass, launch 1", "split_single_pass", "flat"}
BACKWARD = {"spread_row", "spread_column", "spread_flat"}


@pytest.fixture(scope="module")
def inspections(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        return static.inspect_all()


def test_the_documented_table_is_what_the_compiler_makes(inspections):
    documented = re.findall(r"^\|.*\|$", DOCUMENT.read_text(encoding="utf-8").partition("static table")[2], re.M)
    assert documented == static.table(inspections).splitlines(), "run python -m gapbench.profiling.static"


def test_covers_every_kernel_dtype_and_architecture(inspections):
    seen = {(one.kernel, one.dtype, one.arch) for one in inspections}
    expected = {
        (kernel, dtype, where.name)
        for kernel in FORWARD | BACKWARD | {"split_two_pass, launch 2"}
        for dtype in DTYPES
        for where in ARCHITECTURES
    }
    assert seen == expected
    assert len(inspections) == len(expected)


def test_no_kernel_spills(inspections):
    assert {one.spills for one in inspections} == {0}


def test_every_load_of_an_input_takes_16_bytes_a_thread(inspections):
    widths = {(one.kernel, one.load_widths) for one in inspections if one.kernel in FORWARD}
    assert widths == {(kernel, (16,)) for kernel in FORWARD}


def test_every_store_of_a_gradient_takes_16_bytes_a_thread(inspections):
    assert {one.store_bytes for one in inspections if one.kernel in BACKWARD} == {16}


def test_half_of_a_unit_or_more_is_occupied(inspections):
    assert min(one.occupancy for one in inspections) >= 0.5


@pytest.mark.parametrize(("dtype", "arch"), [("bfloat16", "gfx942"), ("float64", "sm_90"), ("float64", "gfx942")])
def test_no_kernel_spills_in_the_dtypes_that_the_table_leaves_out(dtype, arch):
    for kernel, case in CASES:
        for one in static.inspect(kernel, replace(case, dtype=dtype), arch):
            assert one.spills == 0
            assert one.registers > 0


def test_narrow_loads_and_spills_are_seen():
    """The reader itself: rows of 49 half floats cannot be read 16 bytes at a time, row by row."""
    (unaligned,) = static.inspect("row_persistent", Case((8, 512, 7, 7), dtype="float16"), "sm_90")
    assert unaligned.load_widths == (2,)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(KeyError, match="sm_20"):
        static.inspect("flat", Case((8, 512, 7, 7)), "sm_20")
