"""Reading registers, spills and the width of memory accesses off machine code."""

import re
from dataclasses import dataclass

_SASS_BYTES = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
_AMD_BYTES = {"dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4, "short": 2, "ushort": 2, "sshort": 2, "ubyte": 1}


@dataclass(frozen=True, slots=True)
class MachineCode:
    """What the compiler made of a kernel: registers a thread, spilled registers, bytes of each global access."""

    registers: int
    spills: int
    loads: tuple[int, ...]
    stores: tuple[int, ...]


def read_nvidia(dump: str) -> MachineCode:
    """Read the output of ``cuobjdump -sass -res-usage``. Raises `ValueError` if it is none."""
    usage = re.search(r"REG:(\d+)", dump)
    if usage is None:
        raise ValueError("no resource usage in the dump; run cuobjdump with -res-usage")
    # A spill is a store to local memory, one for each register and place.
    spills = len(re.findall(r"\bSTL\b", dump))
    return MachineCode(int(usage[1]), spills, _sass_widths(dump, "LDG"), _sass_widths(dump, "STG"))


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
    return MachineCode(int(counts["vgpr_count"]), spills, _amd_widths(assembly, "load"), _amd_widths(assembly, "store"))


def _amd_widths(assembly: str, access: str) -> tuple[int, ...]:
    found = re.findall(rf"\b(?:global|buffer|flat)_{access}_([a-z]+?(?:x\d)?)(?:_\w+)?\s", assembly)
    return tuple(_AMD_BYTES[name] for name in found)
