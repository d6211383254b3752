"""What changing input sizes cost: one call pools the feature maps of 160, 224, 288 and 320 px images in turn.

The input's memory serves every size: each map is its first part. Compiled code either compiles once more for every
new size or pays for symbolic ones; the results count the recompilations.
"""

import functools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from gapbench.cases import Case
from gapbench.implementations import Function, Implementation, compiled, inductor
from gapbench.operations.base import Operation
from gapbench.truth import Differentiated

PIXELS = (160, 224, 288, 320)
"""Image sizes, the last of which the case's shape belongs to."""


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
    return lambda case: lambda x: torch.cat([pool(one) for one in _maps(x, case)], 2)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=True)


def _adaptive(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1)


def _adaptive7(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 7)


def _compiled(dynamic: bool | None) -> Callable[[Case], Function]:
    def prepare(case: Case) -> Function:
        one = compiled.compile_fresh(_mean, dynamic=dynamic)
        return functools.update_wrapper(_each(one)(case), one)  # so that it can be asked what Inductor made

    return prepare


def _unsupported(case: Case) -> str | None:
    if len(case.spatial) != 2 or not case.elements:
        return "images of varying size are wanted; choose a --shape of four sizes without a 0"
    if case.layout != "contiguous":
        return "the maps of all sizes share memory in the order (N, C, H, W); choose --layout contiguous"
    return None


def _flatten_unsupported(_case: Case) -> str:
    return "a linear layer over flattened positions raises on every size but its own; use global average pooling"


def _outputs(rows: int, columns: int) -> Callable[[Case], tuple[int, ...]]:
    return lambda case: (case.n, case.c, rows * len(PIXELS), columns)


_EACH_MEAN = _each(_mean)
_TRUTH = Differentiated(_EACH_MEAN, _outputs(1, 1), lambda case: case.window, _EACH_MEAN)
_EACH_7 = _each(_adaptive7)


def _varying(name: str, family: str, summary: str, snippet: str, prepare: Callable[[Case], Function]) -> Implementation:
    if family != "compiled":
        return Implementation(name, family, summary, snippet, prepare, _unsupported, truth=_TRUTH)
    return Implementation(
        name,
        family,
        summary,
        snippet,
        prepare,
        lambda case: compiled.unsupported(case) or _unsupported(case),
        compiled.proof,
        inductor.code_path,
        truth=_TRUTH,
    )


VARYING_SIZE = Operation(
    "varying_size",
    "global average pooling of four image sizes in turn",
    "varying_mean",
    (
        _varying("varying_mean", "eager", "mean of each size", "x.mean((2, 3), keepdim=True)", _EACH_MEAN),
        _varying(
            "varying_adaptive", "eager", "adaptive pooling to 1 of each size", "F.adaptive_avg_pool2d(x, 1)",
            _each(_adaptive),
        ),
        _varying(
            "varying_compiled_static", "compiled", "compiled mean, one more compilation for each size",
            "torch.compile(lambda x: x.mean((2, 3), keepdim=True), dynamic=False)(x)", _compiled(False),
        ),
        _varying(
            "varying_compiled_auto", "compiled", "compiled mean, sizes symbolic once a second one is seen",
            "torch.compile(lambda x: x.mean((2, 3), keepdim=True))(x)", _compiled(None),
        ),
        _varying(
            "varying_compiled_dynamic", "compiled", "compiled mean, sizes symbolic from the start",
            "torch.compile(lambda x: x.mean((2, 3), keepdim=True), dynamic=True)(x)", _compiled(True),
        ),
        Implementation(
            "varying_adaptive_7x7",
            "eager",
            "adaptive pooling to 7x7 of each size, as VGG takes any: the control",
            "F.adaptive_avg_pool2d(x, 7)",
            _EACH_7,
            _unsupported,
            truth=Differentiated(_EACH_7, _outputs(7, 7), lambda case: case.window, _EACH_7),
        ),
        Implementation(
            "varying_flatten",
            "eager",
            "a linear layer over flattened positions, which takes one size only",
            "torch.nn.Linear(x[0].numel(), 1000)(x.flatten(1))",
            _EACH_MEAN,
            _flatten_unsupported,
            truth=_TRUTH,
        ),
    ),
)  # fmt: skip
