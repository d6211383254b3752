"""Reading registers, spills, the width of memory accesses and the kinds of instructions off machine code."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_SASS_BYTES = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
_AMD_BYTES = {"dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4, "short": 2, "ushort": 2, "sshort": 2, "ubyte": 1,
              "b128": 16, "b96": 12, "b64": 8, "b32": 4, "b16": 2, "u16": 2, "i16": 2, "b8": 1, "u8": 1,
              "i8": 1}  # fmt: skip
"""By the last part of the names: of GCN and CDNA, and of RDNA since its third generation."""

_SASS_KINDS = {
    "memory": r"LDG|STG|LDL|STL|LD|ST|ATOMG|ATOM|RED|CCTL",
    "shared": r"LDS|LDSM|STS|STSM|ATOMS",
    "shuffle": r"SHFL|VOTEU?|REDUX|MATCH",
    "convert": r"[FIU]2\w*",
    "float": r"F(?!LO)\w+|H\w+|D\w+|MUFU",
    "control": r"BRA|BRX|EXIT|BAR|BSSY|BSYNC|BREAK|WARPSYNC|CALL|RET|MEMBAR|ERRBAR|CGAERRBAR|DEPBAR",
}
_AMD_KINDS = {
    "memory": r"(?:global|buffer|flat|scratch)_\w+",
    "shuffle": r"ds_\w*(?:permute|swizzle)\w*|\w+_dpp\d*|v_(?:read|write|readfirst|perm)lane\w*",
    "shared": r"ds_\w+",
    "convert": r"v_cvt_\w+",
    "float": r"v_(?!cmp)\w+_f(?:16|32|64)\w*|v_(?:rcp|rsq|sqrt)_\w+",
    "control": r"s_(?:waitcnt|wait_|barrier|branch|cbranch|endpgm|delay)\w*",
}
_AMD_IDLE = ("s_nop", "s_code_end", "s_delay_alu")
INTEGER = "integer"
"""All other instructions: indices, comparisons, moves, constants."""


@dataclass(frozen=True, slots=True)
class MachineCode:
    """What the compiler made of a kernel: registers a thread, spilled registers, bytes of each global access.

    ``instructions`` are how many there are of each kind, `INTEGER` among them; those that do nothing are not counted.
    """

    registers: int
    spills: int
    loads: tuple[int, ...]
    stores: tuple[int, ...]
    instructions: Mapping[str, int]


def read_nvidia(dump: str) -> MachineCode:
    """Read the output of ``cuobjdump -sass -res-usage``. Raises `ValueError` if it is none."""
    usage = re.search(r"REG:(\d+)", dump)
    if usage is None:
        raise ValueError("no resource usage in the dump; run cuobjdump with -res-usage")
    # A spill is a store to local memory, one for each register and place.
    spills = len(re.findall(r"\bSTL\b", dump))
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z]\w*)", dump)
    mix = _mix((name for name in names if name != "NOP"), _SASS_KINDS)
    return MachineCode(int(usage[1]), spills, _sass_widths(dump, "LDG"), _sass_widths(dump, "STG"), mix)


def _mix(names: Iterable[str], kinds: Mapping[str, str]) -> dict[str, int]:
    """Count instructions by the first of ``kinds`` whose pattern is theirs."""
    counts = Counter(
        next((kind for kind, pattern in kinds.items() if re.fullmatch(pattern, name)), INTEGER) for name in names
    )
    return {kind: counts[kind] for kind in (*kinds, INTEGER)}


def _sass_widths(dump: str, instruction: str) -> tuple[int, ...]:
    found = re.findall(rf"\b{instruction}\.([\w.]+)", dump)
    return tuple(next((_SASS_BYTES[part] for part in name.split(".") if part in _SASS_BYTES), 4) for name in found)


def read_amd(assembly: str) -> MachineCode:
    """Read LLVM's assembly of one kernel, with its metadata. Raises `ValueError` if it has none."""
    counts = dict(re.findall(r"\.(\w+_(?:count|spill_count)): +(\d+)", assembly))
    if "vgpr_count" not in counts:
        raise ValueError("no kernel metadata in the assembly")
    spills = int(counts["vgpr_spill_count"]) + int(counts["sgpr_spill_count"])
    # vgpr_count includes the accumulation registers, which come from the same file.
    loads, stores = (_amd_widths(assembly, access) for access in ("load", "store"))
    names = re.findall(r"^\s+([a-z]\w+)", assembly, re.MULTILINE)
    mix = _mix((name for name in names if name not in _AMD_IDLE), _AMD_KINDS)
    return MachineCode(int(counts["vgpr_count"]), spills, loads, stores, mix)


def _amd_widths(assembly: str, access: str) -> tuple[int, ...]:
    found = re.findall(rf"\b(?:global|buffer|flat)_{access}_(?:d16_)?(?:hi_)?([a-z]+\d*)(?:_\w+)?\s", assembly)
    return tuple(_AMD_BYTES[name] for name in found)
