"""GAP by CuPy, on the memory of the tensors (DLPack) and on PyTorch's stream."""

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from gapbench.cases import Case
from gapbench.implementations.base import Function, Implementation
from gapbench.implementations.external import missing, not_on_cpu


def _mean(case: Case) -> Function:
    import cupy

    dims = case.spatial_dims

    def cupy_mean(x: Tensor) -> Tensor:
        # On PyTorch's own stream nothing waits for anything else, and its events see the work.
        with cupy.cuda.ExternalStream(torch.cuda.current_stream(x.device).cuda_stream):
            y: Tensor = from_dlpack(cupy.from_dlpack(x).mean(dims, keepdims=True))
        return y

    return cupy_mean


def _unsupported(case: Case) -> str | None:
    if reason := not_on_cpu(case, "CuPy"):
        return reason
    if not case.device.startswith("cuda"):
        return f"CuPy knows CUDA devices, not {case.device}; choose --device cuda"
    if case.dtype == "bfloat16":
        return "CuPy has no bfloat16; choose --dtype float16 or another implementation"
    if not case.window:
        return "CuPy's mean of nothing is not PyTorch's; use mean for empty windows"
    return missing("cupy", "cupy")


CUPY: tuple[Implementation, ...] = (
    Implementation(
        "cupy_mean",
        "cupy",
        "CuPy's mean on the tensor's memory and PyTorch's stream; float16 is summed in float32",
        "torch.from_dlpack(cupy.from_dlpack(x).mean((2, 3), keepdims=True))",
        _mean,
        _unsupported,
        differentiable=False,
    ),
)
