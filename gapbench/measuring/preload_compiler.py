"""torch.compile made ready for the CPU, so that each worker only loads what it compiles.

Importing Inductor and probing the C++ compiler takes about 4 s (15 s the first time on a machine, for its
precompiled headers). Only for the CPU: on other devices the compiler would initialise the device before the fork.
Where it does not work, ``UNUSABLE`` says why, and everything that is not compiled is measured all the same.
"""

UNUSABLE: str | None = None
"""Why nothing can be compiled here, with the remedy."""

_REMEDIES = {
    "noexec": "set TMPDIR and TORCHINDUCTOR_CACHE_DIR to folders from which programs may run",
    "failed to map segment": "set TMPDIR and TORCHINDUCTOR_CACHE_DIR to folders from which programs may run",
    "no such file": "set TORCHINDUCTOR_CACHE_DIR to a folder that can be written to",
    "permission": "set TORCHINDUCTOR_CACHE_DIR to a folder that can be written to",
    "read-only": "set TORCHINDUCTOR_CACHE_DIR to a folder that can be written to",
    "no space": "free some space, or set TORCHINDUCTOR_CACHE_DIR to another disk",
}
_OTHERWISE = "install g++, name a C++ compiler in CXX, and avoid spaces in the paths of Python, TMPDIR and the cache"


def _try() -> None:
    import torch
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # a pool of compiler processes would not survive the fork
    torch.set_num_threads(1)  # neither would OpenMP's threads
    torch.compile(lambda x: x.sum(1), fullgraph=True)(torch.ones(8, 64))
    torch.compiler.reset()


def _explain(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")
    text = f"{type(error).__name__}: {said}"[:200]
    remedy = next((remedy for word, remedy in _REMEDIES.items() if word in str(error).lower()), _OTHERWISE)
    return f"torch.compile does not work here ({text}); {remedy}"


try:
    _try()
except Exception as error:
    UNUSABLE = _explain(error)
