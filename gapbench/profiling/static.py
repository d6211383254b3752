"""Inspect our Triton kernels without a GPU: compile them for an architecture, and parse the machine code."""

import math
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapbench.workloads.cases import Case

if TYPE_CHECKING:
    from gapbench.implementations.triton.op import Launch


@dataclass(frozen=True, slots=True)
class Architecture:
    """The limits of one unit, a streaming multiprocessor or compute unit; the defaults are NVIDIA's.

    ``units``, ``product`` and ``gbps`` (by the data sheet, in 10^9 bytes per second) describe a product with it.
    ``lanes`` are the threads of a warp or wave, ``warps`` and ``blocks`` the most in a unit, ``lone_blocks`` the most
    of one warp. ``registers`` (32 bits) are allocated to a warp in multiples of ``register_step`` per thread, and
    shared evenly by ``partitions``. ``shared_bytes`` (LDS) are allocated in steps of ``shared_step``, plus
    ``shared_reserved`` for each block. Without ``limits`` the values are those of a related architecture.
    """

    name: str
    backend: str
    target: int | str
    product: str
    units: int
    shared_bytes: int
    gbps: float | None = None
    lanes: int = 32
    warps: int = 64
    blocks: int = 32
    lone_blocks: int = 32
    registers: int = 65536
    register_step: int = 8
    shared_step: int = 128
    shared_reserved: int = 1024
    partitions: int = 4
    limits: bool = True

    def occupancy(self, registers: int, shared_bytes: int, warps: int) -> float:
        """Return the share of a unit's warps that can be resident, 0 to 1, for blocks of ``warps`` warps."""
        return self.resident(registers, shared_bytes, warps) * warps / self.warps

    def resident(self, registers: int, shared_bytes: int, warps: int) -> int:
        """Return the number of such blocks that fit in a unit."""
        granted = -(-max(registers, 1) // self.register_step) * self.register_step
        # A warp's registers are those of its partition.
        resident = self.partitions * (self.registers // self.partitions // (granted * self.lanes))
        blocks = min(self.blocks if warps > 1 else self.lone_blocks, self.warps // warps, resident // warps)
        if per_block := -(-shared_bytes // self.shared_step) * self.shared_step + self.shared_reserved:
            blocks = min(blocks, self.shared_bytes // per_block)
        return blocks


ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("sm_80", "cuda", 80, "A100", units=108, shared_bytes=164 * 1024, gbps=2039),
    Architecture("sm_90", "cuda", 90, "H100", units=132, shared_bytes=228 * 1024, gbps=3350),
    Architecture("sm_100", "cuda", 100, "B200", units=148, shared_bytes=228 * 1024, gbps=8000),
    # 512 registers (VGPRs and AGPRs together) for each of 64 lanes on each of four SIMDs, 8 waves on each. Blocks of
    # several waves need one of 16 barriers; blocks of one wave do not, and are limited only by waves.
    Architecture(
        "gfx942", "hip", "gfx942", "MI300X", units=304, shared_bytes=64 * 1024, gbps=5300, lanes=64, warps=32,
        blocks=16, registers=512 * 64 * 4, shared_step=512, shared_reserved=0,
    ),
)  # fmt: skip
"""The architectures to compile for by default.

Sources. NVIDIA: "Compute Capabilities" in the CUDA Programming Guide (warps, blocks, registers, shared memory, 1 KiB
reserved for each block); register and shared-memory steps as in the CUDA Occupancy Calculator. AMD: the CDNA 3 ISA
guide (registers, LDS) and LLVM's AMDGPU backend (8 waves a SIMD, steps of 8 registers, 16 barriers a compute unit).
Units and bandwidth: the products' data sheets (A100 80 GB, H100 and B200 as SXM).
"""


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``, of `ARCHITECTURES` or without limits. Raises `KeyError` for others."""
    ours = {architecture.name: architecture for architecture in ARCHITECTURES}
    if name in ours:
        return ours[name]
    other: dict[str, Any] = {"name": name, "product": name, "gbps": None, "limits": False}
    if capability := re.fullmatch(r"sm_(\d{2,3})", name):
        return replace(ours["sm_90"], **other, target=int(capability[1]))
    if re.fullmatch(r"gfx[0-9a-f]{3,4}", name):
        lanes = 64 if re.fullmatch(r"gfx[789]\w\w", name) else 32  # GCN and CDNA, then RDNA
        return replace(ours["gfx942"], **other, target=name, lanes=lanes)
    raise KeyError(name)


_SASS_BYTES = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
_AMD_BYTES = {"dwordx4": 16, "dwordx3": 12, "dwordx2": 8, "dword": 4, "short": 2, "ushort": 2, "sshort": 2, "ubyte": 1,
              "b128": 16, "b96": 12, "b64": 8, "b32": 4, "b16": 2, "u16": 2, "i16": 2, "b8": 1, "u8": 1,
              "i8": 1}  # fmt: skip
"""Bytes by the last part of an instruction's name: for GCN and CDNA, and for RDNA since its third generation."""

_SASS_KINDS = {
    "memory": r"LDG|STG|LDL|STL|LD|ST|ATOMG|ATOM|RED|CCTL", "shared": r"LDS|LDSM|STS|STSM|ATOMS",
    "shuffle": r"SHFL|VOTEU?|REDUX|MATCH", "convert": r"[FIU]2\w*", "float": r"F(?!LO)\w+|H\w+|D\w+|MUFU",
    "control": r"BRA|BRX|EXIT|BAR|BSSY|BSYNC|BREAK|WARPSYNC|CALL|RET|MEMBAR|ERRBAR|CGAERRBAR|DEPBAR",
}  # fmt: skip
_AMD_KINDS = {
    "memory": r"(?:global|buffer|flat|scratch)_\w+",
    "shuffle": r"ds_\w*(?:permute|swizzle)\w*|\w+_dpp\d*|v_(?:read|write|readfirst|perm)lane\w*",
    "shared": r"ds_\w+",
    "convert": r"v_cvt_\w+",
    "float": r"v_(?!cmp)\w+_f(?:16|32|64)\w*|v_(?:rcp|rsq|sqrt)_\w+",
    "control": r"s_(?:waitcnt|wait_|barrier|branch|cbranch|endpgm|delay)\w*",
}
_AMD_IDLE = ("s_nop", "s_code_end", "s_delay_alu")
INTEGER = "integer"  # all other instructions: indices, comparisons, moves, constants


@dataclass(frozen=True, slots=True)
class MachineCode:
    """Registers per thread, spilled registers, bytes of each global access, and the ``instructions`` by kind."""

    registers: int
    spills: int
    loads: tuple[int, ...]
    stores: tuple[int, ...]
    instructions: Mapping[str, int]


def read_nvidia(dump: str) -> MachineCode:
    """Parse the output of ``cuobjdump -sass -res-usage``. Raises `ValueError` if the resource usage is missing."""
    usage = re.search(r"REG:(\d+)", dump)
    if usage is None:
        raise ValueError("no resource usage in the dump; run cuobjdump with -res-usage")
    # A spill is a store to local memory, one per register and location.
    spills = len(re.findall(r"\bSTL\b", dump))
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z]\w*)", dump)
    mix = _mix((name for name in names if name != "NOP"), _SASS_KINDS)
    return MachineCode(int(usage[1]), spills, _sass_widths(dump, "LDG"), _sass_widths(dump, "STG"), mix)


def _mix(names: Iterable[str], kinds: Mapping[str, str]) -> dict[str, int]:
    counts = Counter(
        next((kind for kind, pattern in kinds.items() if re.fullmatch(pattern, name)), INTEGER) for name in names
    )
    return {kind: counts[kind] for kind in (*kinds, INTEGER)}


def _sass_widths(dump: str, instruction: str) -> tuple[int, ...]:
    widths = re.findall(rf"\b{instruction}\.([\w.]+)", dump)
    return tuple(next((_SASS_BYTES[part] for part in name.split(".") if part in _SASS_BYTES), 4) for name in widths)


def read_amd(assembly: str) -> MachineCode:
    """Parse LLVM's assembly of one kernel. Raises `ValueError` if its metadata is missing."""
    counts = dict(re.findall(r"\.(\w+_(?:count|spill_count)): +(\d+)", assembly))
    if "vgpr_count" not in counts:
        raise ValueError("no kernel metadata in the assembly")
    spills = int(counts["vgpr_spill_count"]) + int(counts["sgpr_spill_count"])
    # vgpr_count includes the accumulation registers, which are in the same register file.
    loads, stores = (_amd_widths(assembly, access) for access in ("load", "store"))
    names = re.findall(r"^\s+([a-z]\w+)", assembly, re.MULTILINE)
    mix = _mix((name for name in names if name not in _AMD_IDLE), _AMD_KINDS)
    return MachineCode(int(counts["vgpr_count"]), spills, loads, stores, mix)


def _amd_widths(assembly: str, access: str) -> tuple[int, ...]:
    widths = re.findall(rf"\b(?:global|buffer|flat)_{access}_(?:d16_)?(?:hi_)?([a-z]+\d*)(?:_\w+)?\s", assembly)
    return tuple(_AMD_BYTES[name] for name in widths)


DTYPES = ("float16", "float32")

CASES: tuple[tuple[str, Case], ...] = (
    ("row_persistent", Case((8, 512, 28, 28))), ("row_looped", Case((8, 64, 112, 112))),
    ("column", Case((32, 2048, 7, 7), layout="channels_last")),
    ("split_two_pass", Case((1, 2048, 7, 7), layout="channels_last")),
    ("split_single_pass", Case((1, 2048, 7, 7), layout="channels_last")), ("flat", Case((32, 2048, 7, 7))),
    ("row_persistent", Case((8, 512, 28, 28), pass_="backward")),
    ("column", Case((32, 2048, 7, 7), layout="channels_last", pass_="backward")),
    ("flat", Case((32, 2048, 7, 7), pass_="backward")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inspection:
    """One kernel as compiled for one architecture.

    ``registers`` are per thread, ``spills`` those in memory, ``shared_bytes`` per block. ``load_bytes`` and
    ``store_bytes`` are the widest global access of a thread, ``load_widths`` and ``store_widths`` every width.
    ``occupancy`` is the share of a unit's warps that fit, 0 to 1, and ``waves`` how many times all programs of the case
    fill the product's units; both are None, with the ``reason``, if a unit's limits are unknown. ``bytes_moved`` are
    those of the launch's tensors, once each; ``seconds`` is their time at ``gbps``, a lower bound.
    """

    kernel: str
    dtype: str
    plan: str
    arch: str
    registers: int
    spills: int
    shared_bytes: int
    load_bytes: int
    store_bytes: int
    load_widths: tuple[int, ...]
    occupancy: float | None
    case: str
    store_widths: tuple[int, ...]
    elements_per_thread: float
    instructions: Mapping[str, int]
    bytes_moved: int
    bytes_per_element: float
    waves: float | None
    gbps: float | None
    seconds: float | None
    reason: str | None = None


def inspect(kernel: str, case: Case, arch: str, gbps: float | None = None) -> list[Inspection]:
    """Compile the launches of ``kernel``'s preferred plan for a case, and describe each.

    ``arch`` is a name for `architecture`. Raises its `KeyError`, and Triton's error if that cannot compile.
    """
    import torch

    from gapbench.implementations.triton.op import backward_launches, forward_launches
    from gapbench.implementations.triton.plans import FORWARD, Chip, Geometry, backward_plans

    gpu = architecture(arch)
    geometry, chip = Geometry.of(case), Chip(gpu.units, gpu.lanes)
    dtype = getattr(torch, case.dtype)
    # Tensors without memory: a launch depends only on sizes and strides.
    sizes = (case.n, case.window, case.c) if geometry.column else (case.n, case.c, case.window)
    x = torch.empty(sizes, dtype=dtype, device="meta")
    x = x.mT if geometry.column else x
    y = torch.empty((case.n, case.c), dtype=dtype, device="meta")
    if case.pass_ == "backward":
        plan = backward_plans(geometry, chip, kernel)[0]
        planned = backward_launches(plan, y, x)
    else:
        plan = FORWARD[kernel](geometry, chip)[0]
        planned = forward_launches(plan, x, y)
    names = [plan.kernel] if len(planned) == 1 else [f"{plan.kernel}, launch {i}" for i in range(1, len(planned) + 1)]
    gbps = gbps or gpu.gbps
    return [_describe(name, case, str(plan), launch, gpu, gbps) for name, launch in zip(names, planned, strict=True)]


def _describe(name: str, case: Case, plan: str, launch: "Launch", gpu: Architecture, gbps: float | None) -> Inspection:
    compiled = compile_launch(launch, gpu)
    code = _machine_code(compiled)
    shared = int(compiled.metadata.shared)
    moved = sum(argument.nbytes for argument in launch.arguments.values() if hasattr(argument, "nbytes"))
    resident = gpu.resident(code.registers, shared, launch.warps) * gpu.units if gpu.limits else 0
    return Inspection(
        kernel=name, dtype=case.dtype, plan=plan, arch=gpu.name, registers=code.registers, spills=code.spills,
        shared_bytes=shared, load_bytes=max(code.loads, default=0), store_bytes=max(code.stores, default=0),
        load_widths=tuple(sorted(set(code.loads))),
        occupancy=gpu.occupancy(code.registers, shared, launch.warps) if gpu.limits else None,
        case=f"{'x'.join(map(str, case.shape))} {case.layout} {case.pass_}",
        store_widths=tuple(sorted(set(code.stores))),
        elements_per_thread=launch.tile / (launch.warps * gpu.lanes), instructions=code.instructions, bytes_moved=moved,
        bytes_per_element=moved / math.prod(case.shape), waves=launch.programs / resident if resident else None,
        gbps=gbps, seconds=moved / gbps / 1e9 if gbps else None,
        reason=None if gpu.limits else f"the limits of a unit of {gpu.name} are unknown",
    )  # fmt: skip


def compile_launch(launch: "Launch", gpu: Architecture) -> Any:
    """Compile a kernel with Triton, specialised as in a real launch: by type, by 1, and by multiples of 16."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attributes: dict[tuple[int], list[list[object]]] = {}
    for index, name in enumerate(launch.kernel.arg_names):
        value = launch.constants.get(name, launch.arguments.get(name))
        if name in launch.constants or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = _type(value)
        if not isinstance(value, int) or value % 16 == 0:
            attributes[index,] = [["tt.divisibility", 16]]
        if not isinstance(value, int) and gpu.backend == "hip":
            attributes[index,].append(["tt.pointer_range", 32])  # as for every tensor below 2 GiB
    return triton.compile(
        ASTSource(launch.kernel, signature, constants, attributes),
        target=GPUTarget(gpu.backend, gpu.target, gpu.lanes),
        options={"num_warps": launch.warps},
    )


def _type(value: Any) -> str:
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    kind = str(value.dtype).removeprefix("torch.")
    return "*" + kind.replace("bfloat", "bf").replace("float", "fp").replace("int", "i")


def _machine_code(compiled: Any) -> MachineCode:
    import triton

    if "amdgcn" in compiled.asm:
        return read_amd(compiled.asm["amdgcn"])
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(compiled.asm["cubin"])
        command = [triton.knobs.nvidia.cuobjdump.path, "-sass", "-res-usage", str(cubin)]
        return read_nvidia(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def unsupported_reason(arch: str) -> str | None:
    """Return why Triton cannot compile for an architecture, or None; in another process, which LLVM may abort."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_attempt, arch).result()
        except BrokenProcessPool:
            return "LLVM ended its process"


def _attempt(arch: str) -> str | None:
    from gapbench.measuring import probes

    try:
        with probes.silent_stderr():
            inspect(*CASES[0], arch)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def inspect_all(archs: Sequence[str] = (), gbps: float | None = None) -> list[Inspection]:
    """Inspect every kernel of `CASES` in every dtype of `DTYPES` on ``archs``, by default on `ARCHITECTURES`."""
    return [
        inspection
        for kernel, case in CASES
        for dtype in DTYPES
        for arch in archs or [gpu.name for gpu in ARCHITECTURES]
        for inspection in inspect(kernel, replace(case, dtype=dtype), arch, gbps)
    ]
