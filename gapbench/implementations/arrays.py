"""GAP by other array libraries, on the memory of the tensors."""

import torch

from gapbench.implementations.base import Implementation, implementation, not_off_cpu
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function


def _numpy_unsupported(case: Case) -> str | None:
    if case.dtype == "bfloat16":
        return "NumPy has no bfloat16; choose --dtype float16 or another implementation"
    if not case.window:
        return "NumPy warns at the mean of an empty window; use mean for empty windows"
    return not_off_cpu(case, "NumPy")


@implementation(
    "numpy",
    "NumPy's mean on the tensor's memory, in one thread; float16 is summed in float32",
    "torch.from_numpy(x.numpy().mean((2, 3), keepdims=True))",
    unsupported=_numpy_unsupported,
    differentiable=False,
)
def _numpy_mean(case: Case) -> Function:
    dims = case.spatial_dims
    return lambda x: torch.from_numpy(x.numpy().mean(dims, keepdims=True))


ARRAYS: tuple[Implementation, ...] = (_numpy_mean,)
