"""GAP by our own Triton kernels (docs/triton.md): the dispatcher and each kernel; can be imported without Triton."""

from functools import partial
from typing import Any

from gapbench.implementations.base import Implementation, missing, no_launcher
from gapbench.implementations.triton.plans import FLAT, FORWARD, PERSISTENT, Chip, Geometry
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function

__all__ = ["TRITON"]

_SUMMARIES = {
    "row_persistent": "rows of contiguous inputs, the whole window of several rows in one tile",
    "row_looped": "rows of contiguous inputs, a tile that slides along the window",
    "column": "cache lines of adjacent channels, position by position, for channels-last inputs",
    "split_two_pass": "a window split over several programs, float32 partial sums and a second launch",
    "split_single_pass": "a window split over several programs, of which the last adds up in fixed order",
    "flat": "short contiguous rows, read as one aligned stretch and cut into rows in shared memory",
}


def _prepare(case: Case, kernel: str | None = None) -> Function:
    from gapbench.implementations.triton.dispatch import Gap  # needs Triton

    return Gap(case, kernel)


def _unsupported(case: Case) -> str | None:
    family = case.device.partition(":")[0]
    if family in ("cpu", "mps"):
        return f"triton kernels need a GPU; this case is on the {family.upper()}, choose a GPU such as --device cuda"
    return missing("triton", "triton") or no_launcher()


def _not_for(kernel: str, case: Case) -> str | None:
    if FORWARD[kernel](Geometry.of(case), Chip()):
        return None
    positions = f"a window of {case.window} positions"
    if kernel == "row_persistent":
        return f"{positions} is over the {PERSISTENT} that one tile holds; use triton_row_looped"
    if kernel == "row_looped":
        return f"{positions} fits one tile without a loop; use triton_row_persistent"
    if kernel == "flat" and case.layout != "contiguous":
        return f"rows of {case.layout} inputs are not adjacent in memory; use triton_column"
    if kernel == "flat":
        return f"rows of {case.window} positions are not the 1 to {FLAT} of a flat stretch; use triton"
    return f"{positions} is too short to split; use triton"


def _implementation(name: str, summary: str, **fields: Any) -> Implementation:
    snippet = f"builtin('{name}').prepare(case)(x)  # from gapbench.operations import builtin"
    return Implementation(
        name, "triton", summary, snippet, code_path=lambda function: getattr(function, "plan", None), **fields
    )


def _variant(kernel: str) -> Implementation:
    return _implementation(
        f"triton_{kernel}", _SUMMARIES[kernel], prepare=partial(_prepare, kernel=kernel),
        unsupported=lambda case: _unsupported(case) or _not_for(kernel, case), variant_of="triton",
    )  # fmt: skip


TRITON: tuple[Implementation, ...] = (
    _implementation(
        "triton",
        "our Triton kernels with float32 accumulation, the fastest for the case's shape, dtype and layout",
        prepare=_prepare,
        unsupported=_unsupported,
    ),
    *map(_variant, FORWARD),
)
