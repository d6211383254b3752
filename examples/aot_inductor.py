"""The mean, compiled ahead of time by AOTInductor: a call runs neither Python's compiler nor its guards.

A user file may keep what it compiles, as here by the kind of input, but no outputs: what remembers answers is found.
"""

import torch
from torch import Tensor, nn

COMPILED = {}


class Mean(nn.Module):
    """GAP as a module, since `torch.export` takes modules."""

    def forward(self, x: Tensor) -> Tensor:
        """Average (N, C, *spatial) over its spatial dimensions."""
        return x.mean(tuple(range(2, x.dim())), keepdim=True)


def aot_mean(x: Tensor) -> Tensor:
    """Call the package for this kind of input; compile it first if there is none."""
    key = x.shape, x.stride(), x.dtype, x.device
    if key not in COMPILED:
        package = torch._inductor.aoti_compile_and_package(torch.export.export(Mean(), (x,)))
        COMPILED[key] = torch._inductor.aoti_load_package(package)
    return COMPILED[key](x)
