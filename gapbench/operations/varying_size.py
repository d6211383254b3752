"""The cost of changing input sizes: one call pools the feature maps of 160, 224, 288 and 320 px images in turn.

Every map is the first part of the same memory. Compiled code either compiles again for every new size or uses symbolic
sizes, which cost time; the results count the recompilations.
"""

import functools
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gapbench.implementations import Function, Implementation, compiled, inductor
from gapbench.operations.base import Operation
from gapbench.workloads.cases import Case
from gapbench.workloads.truth import Differentiated

PIXELS = (160, 224, 288, 320)  # image sizes; the case's shape is that of the last


def sizes(case: Case) -> list[tuple[int, ...]]:
    """Return the spatial sizes of the feature maps that one call pools, the case's own last."""
    return [tuple(math.ceil(size * pixels / PIXELS[-1]) for size in case.spatial) for pixels in PIXELS]


def _maps(x: Tensor, case: Case) -> list[Tensor]:
    flat = x.reshape(-1)
    maps = []
    for spatial in sizes(case):
        shape = (case.n, case.c, *spatial)
        maps.append(flat[: math.prod(shape)].view(shape))
    return maps


def _each(pool: Function) -> Callable[[Case], Function]:
    """Return GAP of every map, joined along the first spatial dimension."""
    return lambda case: lambda x: torch.cat([pool(each) for each in _maps(x, case)], 2)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _unsupported(case: Case) -> str | None:
    if len(case.spatial) != 2 or not case.elements:
        return "this operation pools images of varying size; choose a --shape of four sizes without a 0"
    if case.layout != "contiguous":
        return "the maps of all sizes share memory in the order (N, C, H, W); choose --layout contiguous"
    return None


def _truth(pool: Callable[[Case], Function], size: int) -> Differentiated:
    """Return the expected output of ``pool`` for maps of ``size`` x ``size``, joined."""
    return Differentiated(pool, lambda case: (case.n, case.c, size * len(PIXELS), size), lambda case: case.window, pool)


_EACH_MEAN = _each(_mean)
_EACH_1, _EACH_7 = (_each(partial(F.adaptive_avg_pool2d, output_size=size)) for size in (1, 7))

_varying = partial(Implementation, unsupported=_unsupported, truth=_truth(_EACH_MEAN, 1))


def _compiled(name: str, summary: str, **dynamic: bool) -> Implementation:
    def prepare(case: Case) -> Function:
        pool = compiled.compile_fresh(_mean, **{"dynamic": None, **dynamic})
        return functools.update_wrapper(_each(pool)(case), pool)  # for `inductor.code_path`

    arguments = "".join(f", {key}={value}" for key, value in dynamic.items())
    return _varying(
        name, "compiled", summary, f"torch.compile(lambda x: x.mean((2, 3), keepdim=True){arguments})(x)", prepare,
        unsupported=lambda case: compiled.unsupported(case) or _unsupported(case), proof=compiled.proof,
        code_path=inductor.code_path,
    )  # fmt: skip


VARYING_SIZE = Operation(
    "varying_size",
    "global average pooling of four image sizes in turn",
    "varying_mean",
    (
        _varying("varying_mean", "eager", "mean of each size", "x.mean((2, 3), keepdim=True)", _EACH_MEAN),
        _varying(
            "varying_adaptive", "eager", "adaptive pooling to 1 of each size", "F.adaptive_avg_pool2d(x, 1)", _EACH_1
        ),
        _compiled("varying_compiled_static", "compiled mean, one more compilation for each size", dynamic=False),
        _compiled("varying_compiled_auto", "compiled mean, sizes symbolic once a second one is seen"),
        _compiled("varying_compiled_dynamic", "compiled mean, sizes symbolic from the start", dynamic=True),
        _varying(
            "varying_adaptive_7x7",
            "eager",
            "adaptive pooling to 7x7 of each size, as VGG takes any: the control",
            "F.adaptive_avg_pool2d(x, 7)",
            _EACH_7,
            truth=_truth(_EACH_7, 7),
        ),
        _varying(
            "varying_flatten",
            "eager",
            "a linear layer over flattened positions, which takes one size only",
            "torch.nn.Linear(x[0].numel(), 1000)(x.flatten(1))",
            _EACH_MEAN,
            unsupported=lambda _case: (
                "a linear layer over flattened positions raises on every size but its own; use global average pooling"
            ),
        ),
    ),
    ranked=False,
)
