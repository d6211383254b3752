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
        /*0140*/   STL [R1], R4 ;
        /*0150*/   STL.64 [R1+0x8], R4 ;
        /*0160*/   LDL R4, [R1] ;
        /*0170*/   STG.E.U8 desc[UR4][R2.64], R4 ;
"""

AMD = """
\tglobal_load_dwordx4 v[2:5], v[0:1], off
\tbuffer_load_ushort v6, v1, s[4:7], 0 offen
\tglobal_load_short_d16_hi v6, v1, s[4:7]
\tbuffer_store_dword v6, v1, s[4:7], 0 offen
    .sgpr_spill_count: 1
    .vgpr_count:     26
    .vgpr_spill_count: 2
"""


def test_reads_nvidias_registers_spills_and_widths():
    assert read_nvidia(SASS) == MachineCode(registers=40, spills=2, loads=(16, 2, 8, 4), stores=(1,))


def test_reads_amds_registers_spills_and_widths():
    assert read_amd(AMD) == MachineCode(registers=26, spills=3, loads=(16, 2, 2), stores=(4,))


def test_refuses_what_is_no_machine_code():
    with pytest.raises(ValueError, match="run cuobjdump with -res-usage"):
        read_nvidia("hello")
    with pytest.raises(ValueError, match="no kernel metadata"):
        read_amd("hello")
