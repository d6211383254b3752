"""GAP by NumPy, on the memory of the tensors: what one gets who leaves PyTorch for plain arrays."""

import torch

from gapbench.cases import Case
from gapbench.implementations.base import Function, Implementation
from gapbench.implementations.external import not_off_cpu


def _mean(case: Case) -> Function:
    dims = case.spatial_dims
    return lambda x: torch.from_numpy(x.numpy().mean(dims, keepdims=True))


def _unsupported(case: Case) -> str | None:
    if case.dtype == "bfloat16":
        return "NumPy has no bfloat16; choose --dtype float16 or another implementation"
    if not case.window:
        return "NumPy warns at every mean of nothing; use mean for empty windows"
    return not_off_cpu(case, "NumPy")


NUMPY: tuple[Implementation, ...] = (
    Implementation(
        "numpy_mean",
        "numpy",
        "NumPy's mean on the tensor's memory, in one thread; float16 is summed in float32",
        "torch.from_numpy(x.numpy().mean((2, 3), keepdims=True))",
        _mean,
        _unsupported,
        differentiable=False,
    ),
)
