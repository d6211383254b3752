"""Which pooling costs what: global average beside global maximum and 2x2 windows, on the same inputs.

These compute different things, each with its own truth; what is compared is their price.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter

import torch.nn.functional as F
from torch import Tensor

from gapbench.implementations import Function, Implementation
from gapbench.operations.base import Operation
from gapbench.workloads.cases import Case
from gapbench.workloads.truth import Differentiated

_Pool = Callable[[Case], Function]


def _of_rank(pools: Sequence[Callable[..., Tensor]], size: int) -> _Pool:
    """Return the pool for a case's number of spatial dimensions, called with ``size``."""
    return lambda case: lambda x: pools[len(case.spatial) - 1](x, size)


def _windowed(case: Case) -> tuple[int, ...]:
    return (case.n, case.c, *(size // 2 for size in case.spatial))


def _unsupported(case: Case) -> str | None:
    return None if case.elements else "nothing is there to be pooled; choose --shape without a 0"


def _window_unsupported(case: Case) -> str | None:
    if min(case.spatial) < 2:
        return "2x2 windows need spatial sizes of 2 or more; choose --shape with such"
    if case.device == "cpu" and case.dtype in ("float16", "bfloat16") and len(case.spatial) == 3:
        return "PyTorch's 3-D windows have no half-precision code for the CPU; choose --dtype float32"
    return _unsupported(case)


def _max_unsupported(case: Case) -> str | None:
    if case.device == "cpu" and case.dtype in ("float16", "bfloat16") and len(case.spatial) == 3:
        return "adaptive_max_pool3d has no half-precision code for the CPU; choose --dtype float32"
    return _unsupported(case)


def _pooling(
    name: str,
    summary: str,
    snippet: str,
    pool: _Pool,
    outputs: Callable[[Case], tuple[int, ...]] = attrgetter("averaged"),
    summed: Callable[[Case], int] = lambda case: case.window,
    unsupported: Callable[[Case], str | None] = _unsupported,
) -> Implementation:
    truth = Differentiated(pool, outputs, summed, pool, stressed=True)
    return Implementation(name, "pooling", summary, snippet, pool, unsupported, truth=truth)


POOLING = Operation(
    "pooling",
    "global average pooling beside global maximum and windowed pooling, each judged by its own answer",
    "global_average",
    (
        _pooling(
            "global_average",
            "mean over the spatial dimensions",
            "x.mean((2, 3), keepdim=True)",
            lambda case: lambda x: x.mean(case.spatial_dims, keepdim=True),
        ),
        _pooling(
            "global_max",
            "maximum over the spatial dimensions",
            "x.amax((2, 3), keepdim=True)",
            lambda case: lambda x: x.amax(case.spatial_dims, keepdim=True),
            summed=lambda _case: 1,
        ),
        _pooling(
            "adaptive_max",
            "adaptive maximum pooling to size 1 (nn.AdaptiveMaxPool2d(1)), which remembers where the maximum was",
            "F.adaptive_max_pool2d(x, 1)",
            _of_rank((F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d), 1),
            summed=lambda _case: 1,
            unsupported=_max_unsupported,
        ),
        _pooling(
            "average_2x2",
            "windowed average pooling, 2 wide with stride 2",
            "F.avg_pool2d(x, 2)",
            _of_rank((F.avg_pool1d, F.avg_pool2d, F.avg_pool3d), 2),
            _windowed,
            lambda case: 2 ** len(case.spatial),
            _window_unsupported,
        ),
        _pooling(
            "max_2x2",
            "windowed maximum pooling, 2 wide with stride 2",
            "F.max_pool2d(x, 2)",
            _of_rank((F.max_pool1d, F.max_pool2d, F.max_pool3d), 2),
            _windowed,
            lambda _case: 1,
            _window_unsupported,
        ),
    ),
    ranked=False,
)
