"""Plans: the kernels and tiles to time for a case, best guess first (docs/triton.md), without Triton or a GPU."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache, partial

from gapbench.workloads.cases import DTYPES, Case


@dataclass(frozen=True, slots=True)
class Chip:
    """The figures of a GPU: ``units`` (SMs or CUs), ``lanes`` (threads in a warp or wave); an H100's by default."""

    units: int = 132
    lanes: int = 32

    @property
    def enough(self) -> int:
        """Number of programs that fills the GPU: two per unit, so that one computes while the other waits."""
        return 2 * self.units


@dataclass(frozen=True, slots=True)
class Geometry:
    """A case for kernels; N and C are one dimension where one stride serves both. ``column``: channels are adjacent."""

    images: int
    channels: int
    window: int
    itemsize: int
    column: bool

    @classmethod
    def of(cls, case: Case) -> "Geometry":
        """Return the geometry of a case's input."""
        by_image = case.layout in ("channels_last", "sliced")
        images, channels = (case.n, case.c) if by_image else (1, case.n * case.c)
        return cls(images, channels, case.window, DTYPES[case.dtype], column=case.layout != "contiguous")


@dataclass(frozen=True, slots=True)
class Plan:
    """A kernel and its tile: ``block_c`` channels or rows by ``block_r`` positions, and ``parts`` of the window."""

    kernel: str
    block_c: int
    block_r: int
    warps: int
    parts: int = 1

    def __str__(self) -> str:
        parts = f" PARTS={self.parts}" if self.parts > 1 else ""
        warps = f"{self.warps} warp{'s' * (self.warps > 1)}"
        return f"{self.kernel} BLOCK_C={self.block_c} BLOCK_R={self.block_r}{parts}, {warps}"

    @staticmethod
    @cache
    def parse(text: str) -> "Plan":
        """Return the plan whose text this is. Raises `ValueError` for any other text."""
        match = re.fullmatch(r"(\w+) BLOCK_C=(\d+) BLOCK_R=(\d+)(?: PARTS=(\d+))?, (\d+) warps?", text)
        if not match:
            raise ValueError(f"malformed plan {text!r}: write it as in 'column BLOCK_C=64 BLOCK_R=32, 4 warps'")
        kernel, block_c, block_r, parts, warps = match.groups()
        return Plan(kernel, int(block_c), int(block_r), int(warps), int(parts or 1))

    def programs(self, geometry: Geometry) -> int:
        """Return how many programs read (or, backward, write) a tensor of this geometry."""
        parts = cdiv(geometry.window, self.block_r) if self.kernel.startswith("spread") else self.parts
        return geometry.images * cdiv(geometry.channels, self.block_c) * parts

    def steps(self, geometry: Geometry) -> int:
        """Return how many tiles a program reads in sequence."""
        return cdiv(geometry.window, self.parts * self.block_r)


def cdiv(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def power(number: int) -> int:
    """Return the least power of two that is not below ``number``, 1 for 0."""
    return 1 << max(number - 1, 0).bit_length()


PERSISTENT = 1024  # the longest window, in positions, that one tile covers
FLAT = 512  # the longest row, in positions, that is read as part of a flat stretch
ALIGNED = 16  # elements: Triton reads rows 16 bytes at a time where it knows their starts to be multiples of this apart

TILES = (2048, 1024, 4096, 512)
"""Elements that a program holds at once, 16 a thread with 1 to 8 warps; the first where that fills the GPU."""

PER_THREAD = 16  # elements a thread holds of a tile: two 16-byte loads of a half type in flight, four of float32
LINES = (128, 256, 512)  # bytes of adjacent channels that a column tile reads at a time: whole cache lines
LONG = 4  # steps, each a memory round trip of nearly a microsecond, that exceed the second launch of a split
PARTIALS = 8192  # partial sums that one program adds up: 64 a thread with four warps


_MOST_WARPS = 16  # 512 threads on NVIDIA's, 1024 on AMD's GPUs


def _warps(elements: int, chip: Chip) -> int:
    return min(8, max(1, elements // (PER_THREAD * chip.lanes)))


def _tiles(
    geometry: Geometry, chip: Chip, kernel: str, *, column: bool, longest: int = PERSISTENT, whole: bool = False
) -> list[Plan]:
    longest = min(longest, power(geometry.window))
    plans = []
    for tile in TILES:
        for line in LINES if column else (1,):
            if column:
                block_c = min(line // geometry.itemsize, power(geometry.channels))
                block_r = min(max(1, tile // block_c), longest)
            else:
                block_r = longest if whole else min(tile, longest)
                block_c = min(max(1, tile // block_r), power(geometry.channels))
            plans.append(Plan(kernel, block_c, block_r, _warps(block_c * block_r, chip)))
    return _ranked(plans, geometry, chip)


def _ranked(plans: Iterable[Plan], geometry: Geometry, chip: Chip) -> list[Plan]:
    """Return distinct plans, those that fill the GPU first, then by distance from the preferred tile, then by line."""

    def badness(plan: Plan) -> tuple[int, float, int]:
        distance = abs(math.log2(plan.block_c * plan.block_r / TILES[0]))
        return max(0, chip.enough - plan.programs(geometry)), distance, plan.block_c if geometry.column else 0

    return sorted(dict.fromkeys(plans), key=badness)


def row_persistent(geometry: Geometry, chip: Chip) -> list[Plan]:
    """Return plans whose tile covers the whole window of some rows; none for windows beyond `PERSISTENT`."""
    if geometry.window > PERSISTENT:
        return []
    return _tiles(geometry, chip, "row_persistent", column=False, whole=True)


def row_looped(geometry: Geometry, chip: Chip) -> list[Plan]:
    """Return plans whose tile slides along longer windows."""
    if geometry.window <= PERSISTENT:
        return []
    lengths = (PERSISTENT, 2 * PERSISTENT)
    return [plan for most in lengths for plan in _tiles(geometry, chip, "row_looped", column=False, longest=most)]


def column(geometry: Geometry, chip: Chip) -> list[Plan]:
    """Return plans that sum whole cache lines of adjacent channels, position by position."""
    return _tiles(geometry, chip, "column", column=True)


def _split(geometry: Geometry, chip: Chip, kernel: str) -> list[Plan]:
    """Return plans that split a window over several programs; a second launch or the last program adds their sums."""
    shortest = 8 if geometry.column else 128
    if geometry.window < 2 * shortest:
        return []
    plans = []
    for tile in _tiles(geometry, chip, kernel, column=geometry.column):
        blocks = tile.programs(geometry)
        for wanted in (chip.enough, 2 * chip.enough):
            most = min(PARTIALS // tile.block_c, geometry.window // shortest)
            parts = max(2, min(power(cdiv(wanted, max(blocks, 1))), most))
            block_r = min(tile.block_r, power(cdiv(geometry.window, parts)))
            plans.append(Plan(kernel, tile.block_c, block_r, _warps(tile.block_c * block_r, chip), parts))
    return _ranked(plans, geometry, chip)


def flat(geometry: Geometry, chip: Chip, kernel: str = "flat") -> list[Plan]:
    """Return plans for short contiguous rows, as many per stretch as align its start to 16 bytes; else none."""
    window = geometry.window
    if geometry.column or not 0 < window <= FLAT:
        return []
    aligned = 16 // math.gcd(16, window * geometry.itemsize)
    counts = {max(aligned, power(tile // window + 1) // 2) for tile in TILES}
    plans = [
        Plan(kernel, rows, power(window), _warps(power(rows * window), chip))
        for rows in counts
        if rows * window <= max(TILES)
    ]
    return _ranked(plans, geometry, chip)


FORWARD: dict[str, Callable[[Geometry, Chip], list[Plan]]] = {
    "row_persistent": row_persistent, "row_looped": row_looped, "column": column,
    "split_two_pass": partial(_split, kernel="split_two_pass"),
    "split_single_pass": partial(_split, kernel="split_single_pass"), "flat": flat,
}  # fmt: skip
"""The kernels, and the plans of each for a geometry: none where it does not apply."""


def _swept(plan: Plan, chip: Chip) -> list[Plan]:
    """Return a plan with half and with twice the elements a thread: how many are best is the memory's secret.

    With 4 elements a thread a GB300 reaches a third of its bandwidth, with 16 all of it (QuACK's published figures).
    """
    return [
        replace(plan, warps=warps)
        for warps in (2 * plan.warps, plan.warps // 2)
        if 1 <= warps <= _MOST_WARPS and plan.block_c * plan.block_r >= warps * chip.lanes
    ]


def forward_plans(geometry: Geometry, chip: Chip) -> list[Plan]:
    """Return the plans that the dispatcher times for the forward pass, the best guess first."""
    if geometry.column:
        whole = column(geometry, chip)[:3]
    else:
        whole = [*row_persistent(geometry, chip)[:3], *row_looped(geometry, chip)[:3]]
    if geometry.window % ALIGNED:
        whole = [*flat(geometry, chip)[:3], *whole]
    programs, steps = whole[0].programs(geometry), whole[0].steps(geometry)
    whole += [plan for plan in _swept(whole[0], chip) if plan not in whole]
    if programs >= 2 * chip.enough:
        return whole
    split = [plan for kernel in ("split_two_pass", "split_single_pass") for plan in _split(geometry, chip, kernel)[:2]]
    return [*split, *whole] if programs < chip.enough and steps >= LONG else [*whole, *split]


def backward_plans(geometry: Geometry, chip: Chip, kernel: str | None = None) -> list[Plan]:
    """Return plans that write the gradient, of the dispatcher or of one forward ``kernel``."""
    by_column = geometry.column if kernel is None or kernel.startswith("split") else kernel == "column"
    spread = _tiles(geometry, chip, f"spread_{'column' if by_column else 'row'}", column=by_column)
    flat_spread = flat(geometry, chip, "spread_flat")
    if kernel is not None:
        return flat_spread if kernel == "flat" else spread
    if geometry.window % ALIGNED:
        return [*flat_spread[:3], *spread[:3]]
    return spread[:4]
