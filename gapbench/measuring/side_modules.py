"""Two checkouts in one process: each side's own modules, installed before it runs.

Code of both sides that meets in the same batch order shares everything that makes processes differ (memory, code
placement, caches), so that only the code is compared. What a side has imported is taken out of ``sys.modules`` and put
back when it runs again, never during a batch: imports inside functions find their own side's modules.

Not every two checkouts can share a process: see `conflict`.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

from gapbench import operations
from gapbench.measuring import worker_env
from gapbench.measuring.plan import Source


class SideModules:
    """The sides of one process; none is active at first."""

    def __init__(self, sources: Sequence[Source], operation: str) -> None:
        self._sources, self._operation = sources, operation
        self._path = list(sys.path)
        self._shared = dict(sys.modules)  # what was loaded before either side
        self._modules: list[dict[str, ModuleType]] = [{} for _ in sources]
        self._paths: list[list[str] | None] = [None for _ in sources]
        self._adopted: list[Any] = [None for _ in sources]
        self._active: int | None = None
        self._count = -1

    def activate(self, side: int) -> None:
        """Install the modules of ``side``; the first time, import its ways to compute the operation.

        Raises whatever the checkout raises when it is imported.
        """
        if side == self._active:
            return
        if self._active is not None:
            self._put_away(self._active)
            self._active = None
        path = self._paths[side]
        if path is None:
            sys.path[:] = self._path
            self._count = -1
            try:
                self._sources[side].activate(self._operation)
            except BaseException:  # the next time it is tried again, rather than run what another side has
                self._put_away(side)
                self._paths[side] = None
                raise
            self._count = -1
        else:
            sys.path[:] = path
            self._install(self._modules[side])
            operations.restore(self._adopted[side])
            self._count = len(sys.modules)
        self._active = side

    def _put_away(self, side: int) -> None:
        self._paths[side] = list(sys.path)  # code may have added to it
        self._adopted[side] = operations.state()
        folder = self._sources[side].folder
        if folder is None:
            return
        modules = self._modules[side]
        if len(sys.modules) != self._count:  # something was imported meanwhile
            for name, module in list(sys.modules.items()):
                if self._shared.get(name) is not module and _is_of(module, f"{folder}{os.sep}"):
                    modules[name] = module
            self._count = len(sys.modules)
        for name in modules:
            sys.modules.pop(name, None)
        self._install({name: self._shared[name] for name in modules if name in self._shared})

    def _install(self, modules: Mapping[str, ModuleType]) -> None:
        for name, module in modules.items():
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], child, module)


def _is_of(module: object, folder: str) -> bool:
    """Tell whether a module lies in a checkout, and not in an environment inside that folder."""
    origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return isinstance(origin, str) and origin.startswith(folder) and "site-packages" not in origin


_OWNERS = (torch, torch.nn.functional, torch.Tensor)
_FUNCTIONS = "functions of torch"


def global_state() -> dict[str, object]:
    """Return what code may change for a whole process, so that others would be measured differently."""
    return {
        "the number of threads": torch.get_num_threads(),
        "the default dtype": torch.get_default_dtype(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the precision of matrix products": torch.get_float32_matmul_precision(),
        "oneDNN": torch.backends.mkldnn.enabled,
        "gradient mode": torch.is_grad_enabled(),
        "flushing of denormal numbers": bool((torch.full((1,), 1e-40) * 1.0).eq(0).item()),
        "environment variables": worker_env.environment(),
        _FUNCTIONS: {
            (owner, name): value
            for owner in _OWNERS
            for name, value in _members(owner).items()
            if callable(value) and not isinstance(value, type)
        },
    }


def _members(owner: object) -> dict[str, object]:
    return {**vars(torch._C.TensorBase), **vars(owner)} if owner is torch.Tensor else vars(owner)


_SETTERS: Mapping[str, Callable[[Any], object]] = {
    "the number of threads": torch.set_num_threads,
    "the default dtype": torch.set_default_dtype,
    "deterministic algorithms": torch.use_deterministic_algorithms,
    "the precision of matrix products": torch.set_float32_matmul_precision,
    "gradient mode": torch.set_grad_enabled,
    "flushing of denormal numbers": torch.set_flush_denormal,
}


def conflict(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Return what was changed for the whole process, so that others need one of their own, or None."""
    changed = [name for name, value in before.items() if name != _FUNCTIONS and after[name] != value]
    changed += [
        f"{owner.__name__}.{name}"
        for (owner, name), value in before.get(_FUNCTIONS, {}).items()
        if (now := after[_FUNCTIONS].get((owner, name))) is not value
        and not str(getattr(now, "__module__", "")).startswith("torch.")  # Dynamo replaces torch.manual_seed
    ]
    return f"it changes {', '.join(changed)} for the whole process" if changed else None


def restore_state(before: Mapping[str, Any]) -> None:
    """Put back what can be put back of a `global_state`."""
    for name, setter in _SETTERS.items():
        setter(before[name])
    for (owner, name), value in before[_FUNCTIONS].items():
        if _members(owner).get(name) is not value:
            setattr(owner, name, value)
