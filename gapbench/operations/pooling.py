"""The cost of pooling operations, which compute different outputs: global average, global maximum, 2x2 windows."""

from collections.abc import Callable, Sequence
from operator import attrgetter

import torch.nn.functional as F
from torch import Tensor

from gapbench.implementations import Function, Implementation
from gapbench.implementations.base import empty, no_half_windows
from gapbench.operations.base import Operation
from gapbench.workloads.cases import Case
from gapbench.workloads.truth import Differentiated

_Pool = Callable[[Case], Function]


def _of_rank(pools: Sequence[Callable[..., Tensor]], size: int) -> _Pool:
    return lambda case: lambda x: pools[len(case.spatial) - 1](x, size)


def _windowed(case: Case) -> tuple[int, ...]:
    return (case.n, case.c, *(size // 2 for size in case.spatial))


def _window_unsupported(case: Case) -> str | None:
    if min(case.spatial) < 2:
        return "2x2 windows need spatial sizes of 2 or more; choose a larger --shape"
    return no_half_windows(case, "windowed pooling in 3-D") or empty(case)


def _pooling(
    name: str,
    summary: str,
    snippet: str,
    pool: _Pool,
    outputs: Callable[[Case], tuple[int, ...]] = attrgetter("averaged"),
    summed: Callable[[Case], int] = lambda case: case.window,
    unsupported: Callable[[Case], str | None] = empty,
) -> Implementation:
    truth = Differentiated(pool, outputs, summed, pool, stressed=True)
    return Implementation(name, "pooling", summary, snippet, pool, unsupported, truth=truth)


def _windowed_pooling(kind: str, *pools: Callable[..., Tensor], summed: Callable[[Case], int]) -> Implementation:
    summary, snippet = f"windowed {kind} pooling, 2 wide with stride 2", f"F.{pools[1].__name__}(x, 2)"
    return _pooling(f"{kind}_2x2", summary, snippet, _of_rank(pools, 2), _windowed, summed, _window_unsupported)


POOLING = Operation(
    "pooling",
    "global average pooling beside global maximum and windowed pooling, each judged by its own expected output",
    "global_average",
    (
        _pooling("global_average", "mean over the spatial dimensions", "x.mean((2, 3), keepdim=True)",
                 lambda case: lambda x: x.mean(case.spatial_dims, keepdim=True)),
        _pooling("global_max", "maximum over the spatial dimensions", "x.amax((2, 3), keepdim=True)",
                 lambda case: lambda x: x.amax(case.spatial_dims, keepdim=True), summed=lambda _case: 1),
        _pooling("adaptive_max",
                 "adaptive maximum pooling to size 1 (nn.AdaptiveMaxPool2d(1)), which stores the index of the maximum",
                 "F.adaptive_max_pool2d(x, 1)",
                 _of_rank((F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d), 1),
                 summed=lambda _case: 1,
                 unsupported=lambda case: no_half_windows(case, "adaptive_max_pool3d") or empty(case)),
        _windowed_pooling("average", F.avg_pool1d, F.avg_pool2d, F.avg_pool3d,
                          summed=lambda case: 2 ** len(case.spatial)),
        _windowed_pooling("max", F.max_pool1d, F.max_pool2d, F.max_pool3d, summed=lambda _case: 1),
    ),
    ranked=False,
)  # fmt: skip
