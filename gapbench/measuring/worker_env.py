"""Select, by name, the environment variables of workers, whose untrusted code must see no secrets (SECURITY.md)."""

import os
from collections.abc import Mapping
from types import MappingProxyType

NAMES = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "TEMP", "TMP",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "LIBRARY_PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH",
    "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "VIRTUAL_ENV", "XDG_CACHE_HOME", "NO_COLOR",
)  # fmt: skip
"""Names of inherited variables."""

PREFIXES = (
    "LC_", "PYTHON", "CONDA_", "CUDA", "CUDNN_", "CUBLAS", "NVIDIA_", "NCCL_", "ROCM_", "ROCR_", "HIP_", "HSA_",
    "ZE_", "SYCL_", "ONEAPI_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NVPL_", "NUMEXPR_", "NUMBA_",
    "GLIBC_", "MALLOC_", "CCACHE_", "TORCH", "PYTORCH_", "TRITON_", "INDUCTOR_", "ATEN_", "XLA_", "JAX_", "CUPY_",
    "ORT_", "COVERAGE_", "GAPBENCH_", "MIOPEN_", "ROCBLAS_", "HIPBLASLT_", "GPU_DEVICE_ORDINAL", "ASCEND_", "HABANA_",
    "PT_HPU_", "MUSA_", "MLU_", "NEURON_",
)  # fmt: skip
"""Prefixes of names of inherited variables."""

SECRET = ("TOKEN", "SECRET", "KEY", "PASSW", "PASSPHRASE", "CREDENTIAL", "AUTH", "COOKIE", "SESSION")
"""Parts of names that mark secrets, which are never inherited."""


def is_allowed(name: str) -> bool:
    """Tell whether workers inherit the variable called ``name``."""
    upper = name.upper()
    return (name in NAMES or name.startswith(PREFIXES)) and not any(word in upper for word in SECRET)


def environment(variables: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment of a process that runs untrusted code: allowed variables, and ``variables``."""
    allowed = {name: value for name, value in os.environ.items() if is_allowed(name)}
    return _DEFAULTS | allowed | dict(variables)


_DEFAULTS = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
"""Inductor would start a pool of compiler processes in each worker, which work beside timed batches."""

MEANINGS = {
    "CUDA_LAUNCH_BLOCKING": "every launch waits for its kernel",
    "HIP_LAUNCH_BLOCKING": "every launch waits for its kernel",
    "TRITON_INTERPRET": "Triton's kernels run in Python on the CPU",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "every allocation calls the driver",
    "PYTORCH_NO_HIP_MEMORY_CACHING": "every allocation calls the driver",
}
"""Variables that change what is timed on an accelerator, with their effect."""


def changes_meaning() -> dict[str, str]:
    """Return those of `MEANINGS` that are set to anything but 0."""
    return {name: effect for name, effect in MEANINGS.items() if os.environ.get(name, "0") not in ("", "0")}
