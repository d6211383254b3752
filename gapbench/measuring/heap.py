"""A heap that no two workers share.

Workers are forked from one template, so each would begin with the very same heap, and what is measured depends on it:
whether a temporary of some megabytes comes from memory that is mapped already, and where it lies, changed a mean in
bfloat16 by 20 %, the same way in every round, between two commits that differed in the length of a table.
"""

from random import Random

_BLOCKS = 64
_SMALLEST, _LARGEST = 1 << 8, 1 << 20


def shuffle(rng: Random) -> list[bytearray]:
    """Allocate blocks of random sizes, free half of them, and return the others, to be kept as long as it matters.

    About 4 MB are kept; sizes are spread evenly over their orders of magnitude, from 256 bytes to 1 MB.
    """
    sizes = [int(_SMALLEST * (_LARGEST / _SMALLEST) ** rng.random()) for _ in range(_BLOCKS)]
    blocks = [bytearray(size) for size in sizes]
    return rng.sample(blocks, _BLOCKS // 2)
