"""What a plan is: a kernel and its tile, for a case as kernels see it. Nothing here needs Triton or a GPU."""

import re
from dataclasses import dataclass
from functools import cache

from gapbench.cases import DTYPES, Case


@dataclass(frozen=True, slots=True)
class Chip:
    """What plans know of a GPU: ``units`` multiprocessors or compute units, ``lanes`` threads in a warp or wave.

    The defaults are an H100's, for where no GPU is.
    """

    units: int = 132
    lanes: int = 32

    @property
    def enough(self) -> int:
        """Programs that leave no unit idle: two for each, so that one computes while the other waits."""
        return 2 * self.units


@dataclass(frozen=True, slots=True)
class Geometry:
    """A case as kernels see it: ``images`` of ``channels`` rows of ``window`` positions.

    N and C are one dimension (one image) where one stride steps through both. ``column`` tells that channels are
    adjacent in memory, not positions.
    """

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
    """A kernel and its tile: ``block_c`` channels or rows by ``block_r`` positions, ``parts`` of the window.

    Its text, as in ``column BLOCK_C=64 BLOCK_R=32, 4 warps``, is what is recorded, and the operator's argument.
    """

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
        """Return how many tiles a program reads, one after the other."""
        return cdiv(geometry.window, self.parts * self.block_r)


def cdiv(a: int, b: int) -> int:
    """Return a / b, rounded up."""
    return -(-a // b)


def power(number: int) -> int:
    """Return the power of two at or above ``number``, 1 for 0."""
    return 1 << max(number - 1, 0).bit_length()
