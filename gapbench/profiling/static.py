"""Inspect our Triton kernels without a GPU: compile them for one that is not there, and read the machine code.

``python -m gapbench.profiling.static`` prints the table of docs/triton.md.
"""

import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapbench.cases import Case
from gapbench.profiling.architectures import ARCHITECTURES, Architecture, architecture
from gapbench.profiling.machine_code import MachineCode, read_amd, read_nvidia

if TYPE_CHECKING:
    from gapbench.implementations.triton.op import Launch

DTYPES = ("float16", "float32")

CASES: tuple[tuple[str, Case], ...] = (
    ("row_persistent", Case((8, 512, 28, 28))),
    ("row_looped", Case((8, 64, 112, 112))),
    ("column", Case((32, 2048, 7, 7), layout="channels_last")),
    ("split_two_pass", Case((1, 2048, 7, 7), layout="channels_last")),
    ("split_single_pass", Case((1, 2048, 7, 7), layout="channels_last")),
    ("flat", Case((32, 2048, 7, 7))),
    ("row_persistent", Case((8, 512, 28, 28), pass_="backward")),
    ("column", Case((32, 2048, 7, 7), layout="channels_last", pass_="backward")),
    ("flat", Case((32, 2048, 7, 7), pass_="backward")),
)
"""What the table shows: each kernel on an input that it is for."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """One kernel as compiled for one architecture.

    ``kernel`` is the plan's kernel, with the number of the launch where a plan takes several; ``plan`` its whole
    text, ``case`` what it was made for. ``registers`` are a thread's, ``spills`` those that went to memory,
    ``shared_bytes`` a block's. ``load_bytes`` and ``store_bytes`` are the widest global access of a thread,
    ``load_widths`` and ``store_widths`` every width that occurs. ``instructions`` are how many the code has of each
    kind. ``occupancy`` is the share of a unit's warps that fit, 0 to 1, and ``waves`` how often the product's units
    must be filled for all programs of the case; None, with the ``reason``, where a unit's limits are not known.

    ``bytes_moved`` are those of the launch's tensors, once each, ``bytes_per_element`` of the input; ``seconds`` is
    what they take at ``gbps``, 10^9 bytes a second: the product's data sheet, or what was asked for. No launch is
    faster, and nothing but memory is counted. None where no bandwidth is known.
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
    instructions: Mapping[str, int]
    bytes_moved: int
    bytes_per_element: float
    waves: float | None
    gbps: float | None
    seconds: float | None
    reason: str | None = None


def inspect(kernel: str, case: Case, arch: str, gbps: float | None = None) -> list[Inspection]:
    """Compile the launches of ``kernel``'s preferred plan for a case, and describe each.

    ``arch`` is as for `architecture`, whose `KeyError` it raises, and what Triton raises where it cannot compile.
    """
    import torch

    from gapbench.implementations.triton.op import backward_launches, forward_launches
    from gapbench.implementations.triton.plans import FORWARD, Chip, Geometry, backward_plans

    where = architecture(arch)
    geometry, chip = Geometry.of(case), Chip(where.units, where.lanes)
    dtype = getattr(torch, case.dtype)
    # Tensors without memory: sizes and strides are all that a launch is specialised for.
    sizes = (case.n, case.window, case.c) if geometry.column else (case.n, case.c, case.window)
    x = torch.empty(sizes, dtype=dtype, device="meta")
    x = x.mT if geometry.column else x
    y = torch.empty((case.n, case.c), dtype=dtype, device="meta")
    if case.pass_ == "backward":
        plan = backward_plans(geometry, chip, kernel)[0]
        found = backward_launches(plan, y, x)
    else:
        plan = FORWARD[kernel](geometry, chip)[0]
        found = forward_launches(plan, x, y)
    names = [plan.kernel] if len(found) == 1 else [f"{plan.kernel}, launch {i}" for i in range(1, len(found) + 1)]
    gbps = gbps or where.gbps
    return [_describe(name, case, str(plan), one, where, gbps) for name, one in zip(names, found, strict=True)]


def _describe(
    name: str, case: Case, plan: str, launch: "Launch", where: Architecture, gbps: float | None
) -> Inspection:
    compiled = compile_launch(launch, where)
    code = _machine_code(compiled)
    shared = int(compiled.metadata.shared)
    moved = sum(one.nbytes for one in launch.arguments.values() if hasattr(one, "nbytes"))
    resident = where.resident(code.registers, shared, launch.warps) * where.units if where.limits else 0
    return Inspection(
        kernel=name,
        dtype=case.dtype,
        plan=plan,
        arch=where.name,
        registers=code.registers,
        spills=code.spills,
        shared_bytes=shared,
        load_bytes=max(code.loads, default=0),
        store_bytes=max(code.stores, default=0),
        load_widths=tuple(sorted(set(code.loads))),
        occupancy=where.occupancy(code.registers, shared, launch.warps) if where.limits else None,
        case=f"{'x'.join(map(str, case.shape))} {case.layout} {case.pass_}",
        store_widths=tuple(sorted(set(code.stores))),
        instructions=code.instructions,
        bytes_moved=moved,
        bytes_per_element=moved / math.prod(case.shape),
        waves=launch.programs / resident if resident else None,
        gbps=gbps,
        seconds=moved / gbps / 1e9 if gbps else None,
        reason=None if where.limits else f"what a unit of {where.name} holds is not known here",
    )


def compile_launch(launch: "Launch", where: Architecture) -> Any:
    """Return Triton's compiled kernel, specialised as a real launch is: by type, by 1, and by multiples of 16."""
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
        if not isinstance(value, int) and where.backend == "hip":
            attributes[index,].append(["tt.pointer_range", 32])  # as for every tensor below 2 GiB
    return triton.compile(
        ASTSource(launch.kernel, signature, constants, attributes),
        target=GPUTarget(where.backend, where.target, where.lanes),
        options={"num_warps": launch.warps},
    )


def _type(value: Any) -> str:
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    kind = str(value.dtype).removeprefix("torch.")
    return "*" + kind.replace("bfloat", "bf").replace("float", "fp").replace("int", "i")


def _machine_code(compiled: Any) -> MachineCode:
    if "amdgcn" in compiled.asm:
        return read_amd(compiled.asm["amdgcn"])
    import triton

    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(compiled.asm["cubin"])
        command = [triton.knobs.nvidia.cuobjdump.path, "-sass", "-res-usage", str(cubin)]
        return read_nvidia(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def why_not(arch: str) -> str | None:
    """Return why Triton compiles nothing for an architecture, None where it does.

    Tried in a process of its own: LLVM ends the one in which it does not know what to do.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_attempt, arch).result()
        except BrokenProcessPool:
            return "LLVM gave up"


def _attempt(arch: str) -> str | None:
    from gapbench.measuring import probes

    try:
        with probes.silent_stderr():
            inspect(*CASES[0], arch)
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


_EVERY = tuple(where.name for where in ARCHITECTURES)


def inspect_all(archs: Sequence[str] = _EVERY, gbps: float | None = None) -> list[Inspection]:
    """Return every kernel of `CASES` in every dtype of `DTYPES` on every one of ``archs``."""
    return [
        inspection
        for kernel, case in CASES
        for dtype in DTYPES
        for arch in archs
        for inspection in inspect(kernel, replace(case, dtype=dtype), arch, gbps)
    ]


def table(inspections: list[Inspection]) -> str:
    """Return inspections for `ARCHITECTURES` as a Markdown table: a row for each kernel and dtype, a column each."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for one in inspections:
        cell = f"{one.registers} / {one.spills} / {one.shared_bytes} / {one.load_bytes} / {one.store_bytes}"
        rows.setdefault((one.kernel, one.dtype), {})[one.arch] = f"{cell} / {one.occupancy:.0%}"
    names = [where.name for where in ARCHITECTURES]
    lines = [f"| kernel | dtype | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    lines += [
        f"| {kernel} | {dtype} | {' | '.join(cells[name] for name in names)} |"
        for (kernel, dtype), cells in rows.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(inspect_all()))
