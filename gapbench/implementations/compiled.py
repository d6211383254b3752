"""The same spellings through ``torch.compile``, with proof that compiled code ran."""

import shutil
from dataclasses import replace

import torch

from gapbench.cases import Case
from gapbench.implementations.base import Function, Implementation
from gapbench.implementations.eager import EAGER


def unsupported(case: Case) -> str | None:
    """Return why nothing can be compiled for ``case`` here, or None."""
    if case.device == "cpu" and not any(map(shutil.which, ("g++", "clang++"))):
        return "torch.compile needs a C++ compiler for the CPU; install g++"
    return None


def proof() -> str | None:
    """Read Dynamo's counters: a silent fall-back to eager leaves no captured graph or names a break."""
    from torch._dynamo.utils import counters

    if not counters["stats"]["unique_graphs"]:
        return "torch.compile captured no graph: the function ran eagerly"
    if counters["graph_break"]:
        return f"torch.compile broke the graph: {next(iter(counters['graph_break']))}"
    return None


def compile_fresh(function: Function, **options: object) -> Function:
    """Return ``function`` through torch.compile, with Dynamo's counters cleared for `proof`.

    Each worker process compiles each function once, so Dynamo's recompile limit, past which it would go back to
    eager silently, is never near.
    """
    from torch._dynamo.utils import counters

    counters.clear()
    compiled: Function = torch.compile(function, fullgraph=True, **options)  # type: ignore[call-overload]
    return compiled


def default(eager: Implementation) -> Implementation:
    """Return ``eager`` as torch.compile makes it by default, for static shapes."""
    return replace(
        eager,
        name=f"compiled_{eager.name}",
        family="compiled",
        summary=f"{eager.name} through torch.compile (Inductor), static shapes, full graph",
        snippet=f"torch.compile(lambda x: {eager.snippet})(x)",
        prepare=lambda case: compile_fresh(eager.prepare(case), dynamic=False),
        unsupported=lambda case: unsupported(case) or eager.unsupported(case),
        proof=proof,
    )


COMPILED: tuple[Implementation, ...] = tuple(
    default(eager) for eager in EAGER if eager.name in ("mean", "adaptive", "avg_pool")
)
