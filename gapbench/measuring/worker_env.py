"""What a worker inherits of its caller's environment: what computing needs, by name, and nothing that is a secret.

Workers run code that nobody here has read. Tokens, passwords and credentials of the caller are none of its business,
and the credentials of a store least of all. The lists are explained in SECURITY.md.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType

NAMES = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "TEMP", "TMP",
    "LD_LIBRARY_PATH", "LD_PRELOAD", "LIBRARY_PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH",
    "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS", "VIRTUAL_ENV", "XDG_CACHE_HOME", "NO_COLOR",
)  # fmt: skip
"""Variables that pass."""

PREFIXES = (
    "LC_", "PYTHON", "CONDA_", "CUDA", "CUDNN_", "CUBLAS", "NVIDIA_", "NCCL_", "ROCM_", "ROCR_", "HIP_", "HSA_",
    "ZE_", "SYCL_", "ONEAPI_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NVPL_", "NUMEXPR_", "NUMBA_",
    "GLIBC_", "MALLOC_", "CCACHE_", "TORCH", "PYTORCH_", "TRITON_", "INDUCTOR_", "ATEN_", "XLA_", "JAX_", "CUPY_",
    "ORT_", "COVERAGE_", "GAPBENCH_",
)  # fmt: skip
"""Beginnings of names that pass."""

SECRET = ("TOKEN", "SECRET", "KEY", "PASSW", "PASSPHRASE", "CREDENTIAL", "AUTH", "COOKIE", "SESSION")
"""What makes a name a secret's wherever it stands in it: that never passes."""


def passes(name: str) -> bool:
    """Tell whether workers inherit the variable called ``name``."""
    upper = name.upper()
    return (name in NAMES or name.startswith(PREFIXES)) and not any(word in upper for word in SECRET)


def environment(variables: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Return the environment of a process that runs other people's code: what passes, and ``variables``."""
    return {name: value for name, value in os.environ.items() if passes(name)} | dict(variables)
