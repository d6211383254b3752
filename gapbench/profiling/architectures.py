"""GPU architectures: what one multiprocessor (NVIDIA) or compute unit (AMD) holds, and the occupancy that follows."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """The limits of one unit: a streaming multiprocessor, or a compute unit.

    ``units`` and ``product`` describe a product with the architecture; ``lanes`` are the threads of a warp or wave,
    ``warps`` and ``blocks`` the most that a unit holds, ``registers`` 32-bit registers of a unit for all its threads,
    given out to a warp in multiples of ``register_step`` a thread; ``partitions`` schedulers share them evenly.
    ``lone_blocks`` is the most blocks of one warp.
    ``shared_bytes`` of shared memory (LDS) are given out in steps of ``shared_step``, after ``shared_reserved`` for
    each block.
    """

    name: str
    backend: str
    target: int | str
    product: str
    units: int
    lanes: int
    warps: int
    blocks: int
    lone_blocks: int
    registers: int
    register_step: int
    shared_bytes: int
    shared_step: int
    shared_reserved: int
    partitions: int = 4

    def occupancy(self, registers: int, shared_bytes: int, warps: int) -> float:
        """Return the share of a unit's warps that can be resident, 0 to 1, for blocks of ``warps`` warps.

        ``registers`` are a thread's, ``shared_bytes`` a block's. 0 where not even one block fits.
        """
        granted = -(-max(registers, 1) // self.register_step) * self.register_step
        # A warp's registers come from the partition that it runs on.
        resident = self.partitions * (self.registers // self.partitions // (granted * self.lanes))
        blocks = min(self.blocks if warps > 1 else self.lone_blocks, self.warps // warps, resident // warps)
        if per_block := -(-shared_bytes // self.shared_step) * self.shared_step + self.shared_reserved:
            blocks = min(blocks, self.shared_bytes // per_block)
        return blocks * warps / self.warps


def _nvidia(capability: int, product: str, units: int, shared_kib: int) -> Architecture:
    return Architecture(
        name=f"sm_{capability}",
        backend="cuda",
        target=capability,
        product=product,
        units=units,
        lanes=32,
        warps=64,
        blocks=32,
        lone_blocks=32,
        registers=65536,
        register_step=8,
        shared_bytes=shared_kib * 1024,
        shared_step=128,
        shared_reserved=1024,
    )


ARCHITECTURES: tuple[Architecture, ...] = (
    _nvidia(80, "A100", 108, 164),
    _nvidia(90, "H100", 132, 228),
    _nvidia(100, "B200", 148, 228),
    # 512 registers (VGPRs and AGPRs together) for each of 64 lanes on each of four SIMDs, 8 waves on each. Blocks of
    # several waves need one of 16 barriers; those of one wave do not, and are limited by waves alone.
    Architecture("gfx942", "hip", "gfx942", "MI300X", 304, 64, 32, 16, 32, 512 * 64 * 4, 8, 64 * 1024, 512, 0),
)
"""Where `static` compiles for.

Sources. NVIDIA: "Compute Capabilities" in the CUDA Programming Guide (warps, blocks, registers, shared memory, 1 KiB
reserved for each block); register and shared-memory steps as in the CUDA Occupancy Calculator. AMD: the CDNA 3 ISA
guide (registers, LDS) and LLVM's AMDGPU backend (8 waves a SIMD, steps of 8 registers, 16 barriers a compute unit).
Units: the products' data sheets.
"""


def architecture(name: str) -> Architecture:
    """Return the architecture called ``name``. Raises `KeyError` for another."""
    return {one.name: one for one in ARCHITECTURES}[name]
