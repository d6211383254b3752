"""Run two checkouts in one process, by installing each side's own modules before it runs.

Sides that share a process share all that makes processes differ, so that only the code is compared. A side's modules
are in ``sys.modules`` while it runs, also for imports inside functions. Some cannot share one: see `conflict`.
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
        self._shared = dict(sys.modules)  # modules loaded before either side
        self._modules: list[dict[str, ModuleType]] = [{} for _ in sources]
        self._paths: list[list[str] | None] = [None for _ in sources]
        self._operations: list[Any] = [None for _ in sources]
        self._active: int | None = None
        self._count = -1

    def activate(self, side: int) -> None:
        """Install the modules of ``side``, the first time by an import of its checkout, which may raise anything."""
        if side == self._active:
            return
        if self._active is not None:
            self._remove(self._active)
            self._active = None
        path = self._paths[side]
        self._count = -1
        if path is None:
            sys.path[:] = self._path
            try:
                self._sources[side].activate(self._operation)
            except BaseException:  # the next call imports it again, and does not run another side's modules
                self._remove(side)
                self._paths[side] = None
                raise
        else:
            sys.path[:] = path
            self._install(self._modules[side])
            operations.restore(self._operations[side])
            self._count = len(sys.modules)
        self._active = side

    def _remove(self, side: int) -> None:
        self._paths[side] = list(sys.path)  # code may have added to it
        self._operations[side] = operations.state()
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
    """Tell whether a module lies in a checkout, but not in a virtual environment inside it."""
    origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return isinstance(origin, str) and origin.startswith(folder) and "site-packages" not in origin


_OWNERS = (torch, torch.nn.functional, torch.Tensor)
_FUNCTIONS = "functions of torch"

_SETTINGS: Mapping[str, tuple[Callable[[], object], Callable[[Any], object] | None]] = {
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "the precision of matrix products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "oneDNN": (lambda: torch.backends.mkldnn.enabled, None),
    "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "flushing of denormal numbers": (lambda: (torch.full((1,), 1e-40) * 1.0).item() == 0, torch.set_flush_denormal),
    "environment variables": (worker_env.environment, None),
}
"""Getters and setters of what code may change for a whole process."""


def global_state() -> dict[str, object]:
    """Return the settings and functions that code may change for a whole process, and so for other contenders."""
    functions = {
        (owner, name): value
        for owner in _OWNERS
        for name, value in _members(owner).items()
        if callable(value) and not isinstance(value, type)
    }
    return {**{name: getter() for name, (getter, _) in _SETTINGS.items()}, _FUNCTIONS: functions}


def _members(owner: object) -> dict[str, object]:
    return {**vars(torch._C.TensorBase), **vars(owner)} if owner is torch.Tensor else vars(owner)


def conflict(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """Return in words what was changed for the whole process, None if nothing was."""
    changed = [name for name, value in before.items() if name != _FUNCTIONS and after[name] != value]
    changed += [
        f"{owner.__name__}.{name}"
        for (owner, name), value in before.get(_FUNCTIONS, {}).items()
        if (now := after[_FUNCTIONS].get((owner, name))) is not value
        and not str(getattr(now, "__module__", "")).startswith("torch.")  # Dynamo replaces torch.manual_seed
    ]
    return f"it changes {', '.join(changed)} for the whole process" if changed else None


def restore_state(before: Mapping[str, Any]) -> None:
    """Restore the settings of a `global_state` that have a setter, and the functions."""
    for name, (_, setter) in _SETTINGS.items():
        if setter is not None:
            setter(before[name])
    for (owner, name), value in before[_FUNCTIONS].items():
        if _members(owner).get(name) is not value:
            setattr(owner, name, value)
