"""The eager spellings through ``torch.compile``, in several modes, with proof that compiled code ran."""

import functools
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from gapbench.implementations import inductor
from gapbench.implementations.base import Implementation, no_launcher
from gapbench.implementations.eager import EAGER
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to call ``torch.compile``: its keyword arguments, and the spellings and devices that it applies to."""

    name: str
    summary: str
    keywords: Mapping[str, Any] = field(default_factory=dict)
    spellings: tuple[str, ...] = ("mean", "adaptive", "avg_pool", "sum_scale")
    gpu_only: bool = False
    replays: bool = False  # the output lives in a CUDA graph's memory until the next replay


MODES: tuple[Mode, ...] = (
    Mode("", "static shapes, full graph", {"dynamic": False}),
    Mode("max_autotune", "with every candidate kernel and configuration tried, no CUDA graphs",
         {"mode": "max-autotune-no-cudagraphs", "dynamic": False}),
    Mode("reduce_overhead",
         "replayed as a CUDA graph; the input is copied into the graph's memory, the output out of it",
         {"mode": "reduce-overhead", "dynamic": False}, gpu_only=True, replays=True),
    Mode("max_autotune_graphs",
         "with every candidate kernel and configuration tried, replayed as a CUDA graph: plain max-autotune",
         {"mode": "max-autotune", "dynamic": False}, spellings=("mean",), gpu_only=True, replays=True),
    Mode("dynamic", "sizes left open, one compilation for all", {"dynamic": True}),
)  # fmt: skip


def proof() -> str | None:
    """Return from Dynamo's counters why no compiled code ran, or None: a fall-back leaves no graph, or a break."""
    from torch._dynamo.utils import counters

    if not counters["stats"]["unique_graphs"]:
        return "torch.compile captured no graph: the function ran eagerly"
    if counters["graph_break"]:
        return f"torch.compile broke the graph: {next(iter(counters['graph_break']))}"
    return None


def compile_fresh(function: Function, **keywords: Any) -> Function:
    """Return ``function`` through torch.compile, independent of earlier compilations."""
    from torch._dynamo.utils import counters

    counters.clear()  # for `proof`, called after this function's first call
    assert isinstance(function, FunctionType)
    # Dynamo caches compiled code by code object. With its own, a call searches no entries of other modes, and never
    # reaches the recompile limit, beyond which Dynamo falls back to eager silently.
    code = function.__code__.replace()
    own = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    made: Function = torch.compile(own, fullgraph=True, **keywords)
    return made


def _owning(replayed: Function) -> Function:
    """Copy outputs out of the CUDA graph's memory, which every later replay in the process overwrites."""

    @functools.wraps(replayed)
    def owning(x: Tensor) -> Tensor:
        return replayed(x).clone()

    return owning


def unsupported(case: Case) -> str | None:
    """Return why nothing can be compiled for ``case`` here, or None."""
    if case.device == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        return "torch.compile needs a C++ compiler for the CPU; install g++"
    return None if case.device == "cpu" else no_launcher()


def _unsupported(eager: Implementation, mode: Mode, case: Case) -> str | None:
    if case.device == "cpu" and mode.gpu_only:
        return f"compiled {mode.name} changes nothing on the CPU; choose a GPU such as --device cuda"
    if case.pass_ != "forward" and mode.replays:
        # gradients would lie in the graph's memory too, and the harness computes many through one recorded graph
        return f"compiled {mode.name} is measured forward only; choose --pass forward or another mode"
    if case.pass_ == "backward" and (eager.name, mode.name) == ("sum_scale", "dynamic"):
        # its scale is dynamic like the sizes, and Inductor reuses the scale's memory for the gradient
        return "a gradient of sum_scale with open sizes cannot be computed twice; use compiled_sum_scale"
    return unsupported(case)


def compiled(eager: Implementation, mode: Mode) -> Implementation:
    """Return ``eager`` through torch.compile in a mode."""

    def prepare(case: Case) -> Function:
        function = compile_fresh(eager.prepare(case), **mode.keywords)
        return _owning(function) if mode.replays else function

    name = f"compiled_{eager.name}"
    arguments = ", ".join(f"{key}={value!r}" for key, value in {"fullgraph": True, **mode.keywords}.items())
    call = f"torch.compile(lambda x: {eager.snippet}, {arguments})(x)"
    return replace(
        eager, name=f"{name}_{mode.name}" if mode.name else name, family="compiled",
        summary=f"{eager.name} through torch.compile (Inductor), {mode.summary}",
        snippet=f"{call}.clone()" if mode.replays else call, prepare=prepare,
        unsupported=lambda case: _unsupported(eager, mode, case) or eager.unsupported(case), proof=proof,
        code_path=inductor.code_path, variant_of=name if mode.name else None,
    )  # fmt: skip


COMPILED: tuple[Implementation, ...] = tuple(
    compiled(eager, mode) for mode in MODES for eager in EAGER if eager.name in mode.spellings
)
