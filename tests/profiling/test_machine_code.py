"""Reading machine code, on excerpts."""

import pytest

from gapbench.profiling.machine_code import MachineCode, read_amd, read_nvidia

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
