"""What gapbench and its peers time: spins of known duration, and two real implementations.

A spin returns its (1, 1, 1, 1) input, which is its own mean, so it passes for an implementation. Its true duration is
the time it waits for, plus a last look at the clock (about 0.05 µs) and the call itself.
"""

from collections.abc import Callable
from time import perf_counter_ns

import torch
from torch import Tensor

MICROSECONDS = (3, 10, 30, 100, 300, 1000, 3000, 10000)

ONE = torch.ones(1, 1, 1, 1)
HEAD = torch.randn(8, 2048, 7, 7, generator=torch.Generator().manual_seed(0))


def _spin(microseconds: int) -> Callable[[Tensor], Tensor]:
    nanoseconds = microseconds * 1000

    def spin(x: Tensor) -> Tensor:
        end = perf_counter_ns() + nanoseconds
        while perf_counter_ns() < end:
            pass
        return x

    return spin


spin_3, spin_10, spin_30, spin_100, spin_300, spin_1000, spin_3000, spin_10000 = map(_spin, MICROSECONDS)


def mean(x: Tensor) -> Tensor:
    """Average: what ratios are taken against."""
    return x.mean((2, 3), keepdim=True)


def sum_scale(x: Tensor) -> Tensor:
    """Average by hand: what is compared with it."""
    return x.sum((2, 3), keepdim=True) * (1 / 49)


SPINS: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    f"spin_{us}": (globals()[f"spin_{us}"], ONE) for us in MICROSECONDS
}
PAIR: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {"mean": (mean, HEAD), "sum_scale": (sum_scale, HEAD)}
