"""GPU architectures: what one multiprocessor (NVIDIA) or compute unit (AMD) holds, and the occupancy that follows."""

import re
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Architecture:
    """The limits of one unit: a streaming multiprocessor, or a compute unit; the defaults are NVIDIA's.

    ``units``, ``product`` and ``gbps`` (10^9 bytes a second of memory, by the data sheet; None where not known)
    describe a product with the architecture. ``lanes`` are the threads of a warp or wave, ``warps`` and ``blocks`` the
    most that a unit holds, ``lone_blocks`` the most blocks of one warp. ``registers`` are 32-bit registers of a unit
    for all its threads, given out to a warp in multiples of ``register_step`` a thread; ``partitions`` schedulers
    share them evenly. ``shared_bytes`` of shared memory (LDS) are given out in steps of ``shared_step``, after
    ``shared_reserved`` for each block. Without ``limits`` those are a relative's: enough to choose plans, not to tell
    an occupancy.
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
        """Return the share of a unit's warps that can be resident, 0 to 1, for blocks of ``warps`` warps.

        ``registers`` are a thread's, ``shared_bytes`` a block's. 0 where not even one block fits.
        """
        return self.resident(registers, shared_bytes, warps) * warps / self.warps

    def resident(self, registers: int, shared_bytes: int, warps: int) -> int:
        """Return how many such blocks fit a unit."""
        granted = -(-max(registers, 1) // self.register_step) * self.register_step
        # A warp's registers come from the partition that it runs on.
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
    # several waves need one of 16 barriers; those of one wave do not, and are limited by waves alone.
    Architecture(
        "gfx942", "hip", "gfx942", "MI300X", units=304, shared_bytes=64 * 1024, gbps=5300, lanes=64, warps=32,
        blocks=16, registers=512 * 64 * 4, shared_step=512, shared_reserved=0,
    ),
)  # fmt: skip
"""Where `static` compiles for.

Sources. NVIDIA: "Compute Capabilities" in the CUDA Programming Guide (warps, blocks, registers, shared memory, 1 KiB
reserved for each block); register and shared-memory steps as in the CUDA Occupancy Calculator. AMD: the CDNA 3 ISA
guide (registers, LDS) and LLVM's AMDGPU backend (8 waves a SIMD, steps of 8 registers, 16 barriers a compute unit).
Units and bandwidth: the products' data sheets (A100 80 GB, H100 and B200 as SXM).
"""


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``, as in sm_90 or gfx942: one of ours, or another without limits.

    Raises `KeyError` for what is no such name. Whether there is one, and Triton compiles for it, is not asked here.
    """
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
