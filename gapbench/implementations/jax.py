"""GAP by JAX, compiled by XLA, on the memory of the tensors (DLPack).

XLA works on streams of its own, which PyTorch's events do not see: a call waits until its result is there.
"""

from torch import Tensor
from torch.utils.dlpack import from_dlpack

from gapbench.cases import Case
from gapbench.implementations.base import Function, Implementation
from gapbench.implementations.external import missing, not_on_cpu


def _mean(case: Case) -> Function:
    import jax

    # Or the first call would take three quarters of the GPU's memory, from all others in this process.
    preallocate = {"preallocate": False}
    jax.config.update("jax_pjrt_client_create_options", preallocate)  # type: ignore[no-untyped-call]
    dims = case.spatial_dims
    mean = jax.jit(lambda a: a.mean(dims, keepdims=True))

    def jax_mean(x: Tensor) -> Tensor:
        y: Tensor = from_dlpack(mean(jax.dlpack.from_dlpack(x)).block_until_ready())
        return y

    return jax_mean


def _unsupported(case: Case) -> str | None:
    if reason := not_on_cpu(case, "JAX"):
        return reason
    if case.dtype == "float64":
        return "JAX computes in float32 unless a whole process is told otherwise; choose --dtype float32"
    if case.layout == "sliced":
        return "JAX takes dense tensors only, without gaps; choose --layout channels_last"
    return missing("jax", "jax")


JAX: tuple[Implementation, ...] = (
    Implementation(
        "jax_mean",
        "jax",
        "JAX's mean, compiled by XLA, on the tensor's memory; waits for its result in every call",
        "torch.from_dlpack(jax.jit(lambda a: a.mean((2, 3), keepdims=True))(jax.dlpack.from_dlpack(x)))",
        _mean,
        _unsupported,
        differentiable=False,
    ),
)
