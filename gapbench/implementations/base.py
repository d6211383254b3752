"""The type of an implementation, and reasons why one cannot run."""

import importlib.util
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function
from gapbench.workloads.truth import GLOBAL_AVERAGE, Truth


@dataclass(frozen=True, slots=True)
class Implementation:
    """One way to compute global average pooling, or another operation.

    ``prepare(case)`` returns the function that is timed, with everything that a caller would know beforehand
    (dimensions, kernel size, scale) already computed. ``snippet`` is the code that a user would write for 2-D input.
    ``unsupported(case)`` returns why it cannot run here, with the remedy, or None. In the worker, after the first
    call, ``proof()`` returns why the function did not run as claimed (compiled code that fell back, say), or None, and
    ``code_path(function)`` names the code that ran where that is decided at run time: the chosen kernel, generated code
    or a fallback.

    ``differentiable`` is False for code that autograd cannot differentiate, which supports the forward pass only.
    ``variant_of`` names the implementation that this one refines; variants are measured only where a suite or --impl
    names them. ``parameters(case)`` is the number of weights. ``loads`` are modules with a slow import, which happens
    once, before workers are forked. ``truth`` is the expected output.
    """

    name: str
    family: str
    summary: str
    snippet: str
    prepare: Callable[[Case], Function]
    unsupported: Callable[[Case], str | None] = lambda _case: None
    proof: Callable[[], str | None] = lambda: None
    code_path: Callable[[Function], str | None] = lambda _function: None
    differentiable: bool = True
    variant_of: str | None = None
    parameters: Callable[[Case], int] = lambda _case: 0
    loads: tuple[str, ...] = ()
    truth: Truth = GLOBAL_AVERAGE

    def unsupported_reason(self, case: Case) -> str | None:
        """Return why it cannot run on ``case``, with the remedy, or None."""
        if case.pass_ == "update" and not self.parameters(case):
            return "there are no weights to update; choose --pass forward"
        if case.pass_ != "forward" and not self.differentiable:
            return "autograd cannot differentiate code of other runtimes; choose --pass forward"
        return self.unsupported(case)


Prepare = Callable[[Case], Function]


def implementation(family: str, summary: str, snippet: str, **fields: Any) -> Callable[[Prepare], Implementation]:
    """Return a decorator that makes an `Implementation` of a ``prepare``, named as that function without the ``_``."""

    def decorate(prepare: Prepare) -> Implementation:
        return Implementation(prepare.__name__.removeprefix("_"), family, summary, snippet, prepare, **fields)

    return decorate


def missing(library: str, extra: str) -> str | None:
    """Return that ``library`` is not installed, with the remedy, or None; it is not imported."""
    if importlib.util.find_spec(library):
        return None
    return f"{library} is not installed; run pip install 'gapbench[{extra}]'"


def no_launcher() -> str | None:
    """Return what Triton lacks to compile the C code that launches its kernels, with the remedy, or None."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return "Triton needs a C compiler, which images without development tools lack; install gcc"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return None if header.is_file() else f"Triton needs {header}; install python3-dev"


def empty(case: Case) -> str | None:
    """Return that the input of ``case`` has no elements, or None."""
    return None if case.elements else "the input has no elements; choose --shape without a 0"


def no_half_windows(case: Case, pool: str) -> str | None:
    """Return that PyTorch's 3-D ``pool`` has no half-precision code for the CPU, where ``case`` needs it, or None."""
    if case.device == "cpu" and case.dtype in ("float16", "bfloat16") and len(case.spatial) == 3:
        return f"{pool} has no half-precision code for the CPU; use mean, or choose --dtype float32"
    return None


def not_on_cpu(case: Case, runtime: str) -> str | None:
    """Return that ``runtime`` needs a GPU if the case is on the CPU, or None; for checkouts that `ab` measures."""
    if case.device == "cpu":
        return f"{runtime} is measured on GPUs only, this case is on the CPU; choose a GPU such as --device cuda"
    return None


def not_off_cpu(case: Case, runtime: str) -> str | None:
    """Return that ``runtime`` computes on the CPU if the case does not, or None."""
    reason = f"{runtime} computes on the CPU; choose --device cpu or another implementation"
    return None if case.device == "cpu" else reason
