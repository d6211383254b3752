"""Prepare torch.compile for the CPU before workers are forked, which takes 4 to 15 s; elsewhere it starts the device.

Where it does not work, ``UNUSABLE`` is the reason, and only compiled implementations are not measured.
"""

UNUSABLE: str | None = None  # why nothing can be compiled here, with the remedy
_PROGRAMS = "set TMPDIR and TORCHINDUCTOR_CACHE_DIR to folders from which programs may run"
_WRITABLE = "set TORCHINDUCTOR_CACHE_DIR to a writable folder"

_REMEDIES = {
    "noexec": _PROGRAMS, "failed to map segment": _PROGRAMS, "no such file": _WRITABLE, "permission": _WRITABLE,
    "read-only": _WRITABLE, "no space": "free some space, or set TORCHINDUCTOR_CACHE_DIR to another disk",
}  # fmt: skip
_OTHERWISE = "install g++ or set CXX to a C++ compiler, and avoid spaces in the paths of Python, TMPDIR and the cache"


def _try() -> None:
    import torch
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # a pool of compiler processes would not survive the fork
    torch.set_num_threads(1)  # neither would OpenMP's threads
    torch.compile(lambda x: x.sum(1), fullgraph=True)(torch.ones(8, 64))
    torch.compiler.reset()


def _explain(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = next((line for line in lines if "error" in line.lower()), (lines or [""])[0])
    text = f"{type(error).__name__}: {message}"[:200]
    remedy = next((remedy for word, remedy in _REMEDIES.items() if word in str(error).lower()), _OTHERWISE)
    return f"torch.compile does not work here ({text}); {remedy}"


try:
    _try()
except Exception as error:
    UNUSABLE = _explain(error)
