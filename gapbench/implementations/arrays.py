"""GAP by other array libraries, on the memory of the tensors: NumPy on the CPU, CuPy on GPUs."""

from functools import partial

import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from gapbench.implementations.base import Implementation, implementation, missing, not_off_cpu, not_on_cpu
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import Function

_on_other_runtimes = partial(implementation, differentiable=False)


def _numpy_unsupported(case: Case) -> str | None:
    if case.dtype == "bfloat16":
        return "NumPy has no bfloat16; choose --dtype float16 or another implementation"
    if not case.window:
        return "NumPy warns at the mean of an empty window; use mean for empty windows"
    return not_off_cpu(case, "NumPy")


@_on_other_runtimes(
    "numpy",
    "NumPy's mean on the tensor's memory, in one thread; float16 is summed in float32",
    "torch.from_numpy(x.numpy().mean((2, 3), keepdims=True))",
    unsupported=_numpy_unsupported,
)
def _numpy_mean(case: Case) -> Function:
    dims = case.spatial_dims
    return lambda x: torch.from_numpy(x.numpy().mean(dims, keepdims=True))


def _cupy_unsupported(case: Case) -> str | None:
    if reason := not_on_cpu(case, "CuPy"):
        return reason
    if not case.device.startswith("cuda"):
        return f"CuPy knows CUDA devices, not {case.device}; choose --device cuda"
    if case.dtype == "bfloat16":
        return "CuPy has no bfloat16; choose --dtype float16 or another implementation"
    if not case.window:
        return "CuPy's mean of an empty window differs from PyTorch's; use mean for empty windows"
    return missing("cupy", "cupy")


@_on_other_runtimes(
    "cupy",
    "CuPy's mean on the tensor's memory and PyTorch's stream; float16 is summed in float32",
    "torch.from_dlpack(cupy.from_dlpack(x).mean((2, 3), keepdims=True))",
    unsupported=_cupy_unsupported,
)
def _cupy_mean(case: Case) -> Function:
    import cupy

    dims = case.spatial_dims

    def cupy_mean(x: Tensor) -> Tensor:
        # on PyTorch's own stream nothing has to wait, and PyTorch's events cover the work
        with cupy.cuda.ExternalStream(torch.cuda.current_stream(x.device).cuda_stream):
            y: Tensor = from_dlpack(cupy.from_dlpack(x).mean(dims, keepdims=True))
        return y

    return cupy_mean


ARRAYS: tuple[Implementation, ...] = (_numpy_mean, _cupy_mean)
