"""Test kernels that are compiled for GPUs without one, and the parsing of their machine code."""

import importlib.util
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gapbench.profiling import static
from gapbench.profiling.static import ARCHITECTURES, CASES, DTYPES, MachineCode, read_amd, read_nvidia
from gapbench.workloads.cases import Case

DOCUMENT = Path(__file__).parents[2] / "docs" / "triton.md"
BASELINE = Path(__file__).with_name("static-baseline.json")
FORWARD = {"row_persistent", "row_looped", "column", "split_two_pass, launch 1", "split_single_pass", "flat"}
spec = importlib.util.spec_from_file_location("generate", DOCUMENT.with_name("generate.py"))
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)
BACKWARD = {"spread_row", "spread_column", "spread_flat"}


@pytest.fixture(scope="module")
def inspections(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        return static.inspect_all()


def test_the_documented_table_is_what_the_compiler_makes(inspections):
    documented = re.findall(r"^\|.*\|$", DOCUMENT.read_text(encoding="utf-8").partition("static table")[2], re.M)
    assert documented == generate.static_table(inspections).splitlines(), "run python docs/generate.py static"


def test_the_stored_baseline_is_what_the_compiler_makes(inspections):
    stored = json.loads(BASELINE.read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps([asdict(row) for row in inspections])), (
        f"see gapbench profile --static --baseline {BASELINE.name}; then use --json > {BASELINE.name}"
    )


def test_what_a_launch_moves_and_takes_at_the_stated_bandwidth(inspections):
    """Worked by hand: 8 x 512 rows of 28 x 28 halves are read, and 8 x 512 averages written."""
    (row,) = [row for row in inspections if (row.kernel, row.dtype, row.arch) == ("row_persistent", "float16", "sm_90")]
    moved = 2 * (8 * 512 * 28 * 28 + 8 * 512)
    assert row.case == "8x512x28x28 contiguous forward"
    assert row.bytes_moved == moved
    assert row.bytes_per_element == pytest.approx(2 + 2 / 784)
    assert row.seconds == pytest.approx(moved / 3.35e12)
    # BLOCK_C=2: 2048 programs of 4 warps, of which 16 fit each of 132 units
    assert row.plan.startswith("row_persistent BLOCK_C=2 ")
    assert row.waves == pytest.approx(2048 / (16 * 132))


def test_instructions_are_of_every_kind(inspections):
    for row in inspections:
        assert row.instructions["memory"] >= 2
        assert row.instructions["integer"] > 0
        assert (row.instructions["shuffle"] + row.instructions["shared"] > 0) >= (row.kernel in FORWARD)


def test_another_architecture_is_compiled_without_what_is_not_known_of_it():
    (row,) = static.inspect("flat", Case((8, 512, 7, 7)), "gfx1100", gbps=960.0)
    assert (row.arch, row.load_widths, row.store_widths) == ("gfx1100", (16,), (4,))
    assert (row.occupancy, row.waves) == (None, None)
    assert "gfx1100" in row.reason
    assert row.seconds == pytest.approx(row.bytes_moved / 960e9)
    assert static.inspect("flat", Case((8, 512, 7, 7)), "sm_120")[0].seconds is None


@pytest.mark.parametrize(
    ("arch", "reason"), [("sm_20", "LLVM ended its process"), ("gfx123", "RuntimeError"), ("sm_120", None)]
)
def test_whether_triton_compiles_for_an_architecture_is_tried_where_it_may_die(arch, reason):
    result = static.unsupported_reason(arch)
    assert result is None if reason is None else result.startswith(reason)


def test_covers_every_kernel_dtype_and_architecture(inspections):
    observed = {(row.kernel, row.dtype, row.arch) for row in inspections}
    expected = {
        (kernel, dtype, location.name)
        for kernel in FORWARD | BACKWARD | {"split_two_pass, launch 2"}
        for dtype in DTYPES
        for location in ARCHITECTURES
    }
    assert observed == expected
    assert len(inspections) == len(expected)


def test_no_kernel_spills(inspections):
    assert {row.spills for row in inspections} == {0}


def test_every_load_of_an_input_takes_16_bytes_a_thread(inspections):
    widths = {(row.kernel, row.load_widths) for row in inspections if row.kernel in FORWARD}
    assert widths == {(kernel, (16,)) for kernel in FORWARD}


def test_every_store_of_a_gradient_takes_16_bytes_a_thread(inspections):
    assert {row.store_bytes for row in inspections if row.kernel in BACKWARD} == {16}


def test_half_of_a_unit_or_more_is_occupied(inspections):
    assert min(row.occupancy for row in inspections) >= 0.5


@pytest.mark.parametrize(("dtype", "arch"), [("bfloat16", "gfx942"), ("float64", "sm_90"), ("float64", "gfx942")])
def test_no_kernel_spills_in_the_dtypes_that_the_table_leaves_out(dtype, arch):
    for kernel, case in CASES:
        for row in static.inspect(kernel, replace(case, dtype=dtype), arch):
            assert row.spills == 0
            assert row.registers > 0


def test_narrow_loads_and_spills_are_seen():
    """The reader itself: rows of 49 half floats cannot be read 16 bytes at a time, row by row."""
    (unaligned,) = static.inspect("row_persistent", Case((8, 512, 7, 7), dtype="float16"), "sm_90")
    assert unaligned.load_widths == (2,)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(KeyError, match="h100"):
        static.inspect("flat", Case((8, 512, 7, 7)), "h100")


SASS = """
 Function gap:
  REG:40 STACK:16 SHARED:0 LOCAL:0
        /*0100*/   LDG.E.128.STRONG.GPU R4, desc[UR4][R2.64] ;
        /*0110*/   @P0 LDG.E.U16 R8, desc[UR4][R2.64] ;
        /*0120*/   LDG.E.LTC128B.64 R8, desc[UR4][R2.64] ;
        /*0130*/   LDG.E R8, desc[UR4][R2.64] ;
        /*0138*/   FLO.U32 R4, R4 ;
        /*013a*/   FADD R4, R4, R5 ;
        /*013c*/   @!P0 SHFL.BFLY PT, R4, R5, 0x1, 0x1f ;
        /*013e*/   F2FP.F16.F32.PACK_AB R4, R4, R5 ;
        /*013f*/   NOP ;
        /*0140*/   STL [R1], R4 ;
        /*0150*/   STL.64 [R1+0x8], R4 ;
        /*0160*/   LDL R4, [R1] ;
        /*0170*/   STG.E.U8 desc[UR4][R2.64], R4 ;
"""

AMD = """
\tglobal_load_dwordx4 v[2:5], v[0:1], off
\tbuffer_load_ushort v6, v1, s[4:7], 0 offen
\tglobal_load_short_d16_hi v6, v1, s[4:7]
\tglobal_load_b128 v[2:5], v[0:1], off
\tbuffer_load_d16_hi_b16 v6, v1, s[4:7], 0 offen
\tv_add_f32_dpp v1, v1, v2 row_shr:1
\tv_add_f32_e32 v1, v1, v2
\tv_cmp_gt_f32_e32 vcc, v1, v2
\tds_read_b32 v1, v2
\tv_cvt_f32_f16_e32 v1, v2
\ts_nop 0
\ts_cbranch_execz .LBB0_2
\tbuffer_store_dword v6, v1, s[4:7], 0 offen
    .sgpr_spill_count: 1
    .vgpr_count:     26
    .vgpr_spill_count: 2
"""


def test_reads_nvidias_registers_spills_and_widths():
    mix = {"memory": 8, "shared": 0, "shuffle": 1, "convert": 1, "float": 1, "control": 0, "integer": 1}
    assert read_nvidia(SASS) == MachineCode(40, spills=2, loads=(16, 2, 8, 4), stores=(1,), instructions=mix)


def test_reads_amds_registers_spills_and_widths():
    mix = {"memory": 6, "shuffle": 1, "shared": 1, "convert": 1, "float": 1, "control": 1, "integer": 1}
    assert read_amd(AMD) == MachineCode(26, spills=3, loads=(16, 2, 2, 16, 2), stores=(4,), instructions=mix)


def test_refuses_what_is_no_machine_code():
    with pytest.raises(ValueError, match="run cuobjdump with -res-usage"):
        read_nvidia("hello")
    with pytest.raises(ValueError, match="no kernel metadata"):
        read_amd("hello")
