"""The same spellings through ``torch.compile``, with proof that compiled code ran."""

import shutil

import torch

from gapbench.cases import Case
from gapbench.implementations.base import Function, Implementation
from gapbench.implementations.eager import EAGER


def _unsupported(case: Case) -> str | None:
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


def _compiled(eager: Implementation) -> Implementation:
    def prepare(case: Case) -> Function:
        from torch._dynamo.utils import counters

        counters.clear()  # for `proof`, which is asked after this function's first call
        # Each worker process compiles each function once, so Dynamo's recompile limit, past which it would go
        # back to eager silently, is never near.
        compiled: Function = torch.compile(eager.prepare(case), fullgraph=True, dynamic=False)
        return compiled

    return Implementation(
        f"compiled_{eager.name}",
        "compiled",
        f"{eager.name} through torch.compile (Inductor), static shapes, full graph",
        f"torch.compile(lambda x: {eager.snippet})(x)",
        prepare,
        lambda case: _unsupported(case) or eager.unsupported(case),
        proof,
    )


COMPILED: tuple[Implementation, ...] = tuple(
    _compiled(eager) for eager in EAGER if eager.name in ("mean", "adaptive", "avg_pool")
)
