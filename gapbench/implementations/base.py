"""What an implementation is, and why those on other runtimes cannot run somewhere."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function
from gapbench.workloads.truth import GLOBAL_AVERAGE, Truth


@dataclass(frozen=True, slots=True)
class Implementation:
    """One way to compute global average pooling, or another operation.

    ``prepare(case)`` returns the function that is timed, with everything that a caller would know beforehand
    (dimensions, kernel size, scale) already worked out. ``snippet`` is what a person would write for 2-D input.
    ``unsupported(case)`` returns why it cannot run here, with the remedy, or None. ``proof()`` is called in the
    worker after the first call and returns why the function did not run as it claims (compiled code that fell
    back, say), or None. ``code_path(function)`` is asked there too, of what ``prepare`` returned: which code ran, where
    that is decided at run time (a kernel that was chosen, generated code or a fallback).

    ``differentiable`` is False where autograd does not see through the function; it supports the forward pass only.
    ``variant_of`` names the implementation that this one refines: variants are measured where a suite or --impl names
    them, not by default. ``parameters(case)`` is how many weights the function has; ``loads`` are modules whose import
    takes so long that it should happen once, before workers are forked. ``truth`` is the right
    answer, by which it is judged.
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
        """Return why it cannot run on ``case``, with the remedy, or None: its own reasons after those common to all."""
        if case.pass_ == "update" and not self.parameters(case):
            return "there are no weights to update; choose --pass forward"
        if case.pass_ != "forward" and not self.differentiable:
            return "autograd does not see through other runtimes; choose --pass forward"
        return self.unsupported(case)


Prepare = Callable[[Case], Function]


def implementation(family: str, summary: str, snippet: str, **fields: Any) -> Callable[[Prepare], Implementation]:
    """Return a decorator that makes an `Implementation` of a ``prepare``, by that function's name less a ``_``."""

    def decorate(prepare: Prepare) -> Implementation:
        return Implementation(prepare.__name__.removeprefix("_"), family, summary, snippet, prepare, **fields)

    return decorate


def missing(library: str, extra: str) -> str | None:
    """Return that ``library`` is not installed, and how it is, or None. It is looked for, and not imported."""
    if importlib.util.find_spec(library):
        return None
    return f"{library} is not installed; run pip install 'gapbench[{extra}]'"


def not_on_cpu(case: Case, runtime: str) -> str | None:
    """Return that ``runtime`` needs a GPU, where the case has none, or None."""
    if case.device == "cpu":
        return f"{runtime} is measured on GPUs only, this case is on the CPU; choose a GPU such as --device cuda"
    return None


def not_off_cpu(case: Case, runtime: str) -> str | None:
    """Return that ``runtime`` computes on the CPU, where the case does not, or None."""
    sentence = f"{runtime} computes on the CPU; choose --device cpu or another implementation"
    return None if case.device == "cpu" else sentence
