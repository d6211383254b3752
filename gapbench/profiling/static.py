"""Inspect our Triton kernels without a GPU: compile them for one that is not there, and read the machine code.

``python -m gapbench.profiling.static`` prints the table of docs/triton.md.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapbench.cases import Case
from gapbench.profiling.architectures import ARCHITECTURES, Architecture, architecture
from gapbench.profiling.machine_code import MachineCode, read_amd, read_nvidia

if TYPE_CHECKING:
    from gapbench.implementations.triton.launches import Launch

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
    text. ``registers`` are a thread's, ``spills`` those that went to memory, ``shared_bytes`` a block's.
    ``load_bytes`` and ``store_bytes`` are the widest global access of a thread, ``load_widths`` every width that
    occurs. ``occupancy`` is the share of a unit's warps that fit, 0 to 1.
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
    occupancy: float


def inspect(kernel: str, case: Case, arch: str) -> list[Inspection]:
    """Compile the launches of ``kernel``'s preferred plan for a case, and describe each.

    ``arch`` is one of `ARCHITECTURES`. Raises `KeyError` for another, and what Triton raises where it cannot compile.
    """
    import torch

    from gapbench.implementations.triton import launches, tilings
    from gapbench.implementations.triton.plans import Chip, Geometry

    where = architecture(arch)
    geometry, chip = Geometry.of(case), Chip(where.units, where.lanes)
    dtype = getattr(torch, case.dtype)
    # Tensors without memory: sizes and strides are all that a launch is specialised for.
    sizes = (case.n, case.window, case.c) if geometry.column else (case.n, case.c, case.window)
    x = torch.empty(sizes, dtype=dtype, device="meta")
    x = x.mT if geometry.column else x
    y = torch.empty((case.n, case.c), dtype=dtype, device="meta")
    if case.pass_ == "backward":
        plan = tilings.backward(geometry, chip, kernel)[0]
        found = launches.backward(plan, y, x)
    else:
        plan = tilings.FORWARD[kernel](geometry, chip)[0]
        found = launches.forward(plan, x, y)
    names = [plan.kernel] if len(found) == 1 else [f"{plan.kernel}, launch {i}" for i in range(1, len(found) + 1)]
    return [_describe(name, case, str(plan), one, where) for name, one in zip(names, found, strict=True)]


def _describe(name: str, case: Case, plan: str, launch: "Launch", where: Architecture) -> Inspection:
    compiled = compile_launch(launch, where)
    code = _machine_code(compiled)
    shared = int(compiled.metadata.shared)
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
        occupancy=where.occupancy(code.registers, shared, launch.warps),
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


_EVERY = tuple(where.name for where in ARCHITECTURES)


def inspect_all(archs: Sequence[str] = _EVERY) -> list[Inspection]:
    """Return every kernel of `CASES` in every dtype of `DTYPES` on every one of ``archs``."""
    return [
        inspection
        for kernel, case in CASES
        for dtype in DTYPES
        for arch in archs
        for inspection in inspect(kernel, replace(case, dtype=dtype), arch)
    ]


def table(inspections: list[Inspection]) -> str:
    """Return inspections as a Markdown table: a row for each kernel and dtype, a column for each architecture."""
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
