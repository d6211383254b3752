"""Everything that is measured: one file per operation beside pooling itself, listed in `OPERATIONS`.

Global average pooling is the first; the others answer questions that people have about it, through the same engine,
oracle, store and reports. An implementation's name is its own across all operations.
"""

import importlib
import importlib.util
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType

from gapbench.errors import GapbenchError, unknown
from gapbench.implementations import IMPLEMENTATIONS, Implementation, user
from gapbench.operations.base import Operation
from gapbench.operations.classifier_head import CLASSIFIER_HEAD
from gapbench.operations.masked_mean import MASKED_MEAN
from gapbench.operations.pooling import POOLING
from gapbench.operations.varying_size import VARYING_SIZE
from gapbench.store.records import REFERENCE
from gapbench.workloads.cases import Case
from gapbench.workloads.truth import GLOBAL_AVERAGE, Truth

GAP = Operation(
    "gap", "global average pooling: the mean over all spatial dimensions", REFERENCE, IMPLEMENTATIONS, joinable=True
)

OPERATIONS: tuple[Operation, ...] = (GAP, POOLING, CLASSIFIER_HEAD, MASKED_MEAN, VARYING_SIZE)

_HARNESS = {
    "gapbench.implementations.base",
    "gapbench.implementations.inductor",
    "gapbench.implementations.user",
    "gapbench.operations",
    "gapbench.operations.base",
}
"""Modules of the two packages that serve every implementation, and have none."""

_MOVED = dict.fromkeys(("cases", "shapes", "passes", "truth"), "workloads")
_MOVED |= {"records": "store", "devices": "machine", "telemetry": "machine"}
"""Where implementations of versions before 0.2 find what they import from `gapbench`, by its old name."""

_BUILT_IN: dict[str, Implementation] = {each.name: each for own in OPERATIONS for each in own.implementations}


def operation(name: str) -> Operation:
    """Return the operation called ``name``. Raises `GapbenchError`, listing those there are."""
    operations = {operation.name: operation for operation in OPERATIONS}
    if name not in operations:
        raise unknown("operation", name, operations)
    return operations[name]


def contenders(name: str, chosen: Collection[str] | None = None) -> list[str]:
    """Return the names of those that compete at the operation ``name``: the usual ones, or those ``chosen`` of all.

    The usual ones are all but variants. Raises `GapbenchError` for a chosen name that nobody has, and for a plug-in
    that takes a built-in name.
    """
    for spec in chosen or ():
        name_of(spec)
    own = operation(name)
    competing = [each.name for each in own.implementations if chosen is not None or each.variant_of is None]
    for plugin in user.plugins() if own.joinable else ():
        if plugin in _BUILT_IN:
            raise GapbenchError(
                f"the plug-in {plugin!r} of {user.plugin_origin(plugin)} takes a built-in name; rename or uninstall it"
            )
        competing.append(plugin)
    return [each for each in competing if chosen is None or each in chosen]


def competing(name: str, chosen: Collection[str] | None, everyone: bool = False) -> list[str]:
    """Return who competes: those ``chosen`` that are of this operation, else the usual ones; both for ``everyone``."""
    usual = contenders(name)
    own = contenders(name, chosen) if chosen else usual
    return list(dict.fromkeys([*own, *usual])) if everyone or not own else own


def builtin(name: str) -> Implementation | None:
    """Return gapbench's own implementation called ``name``, or None."""
    return _BUILT_IN.get(name)


def load_checkout(package: Path, operation: str) -> None:
    """Take the ways to compute ``operation`` from the ``gapbench`` package in a folder, in this process from now on.

    Only the code under test comes from there, and what that imports late (a kernel, say); what judges and describes it
    stays this gapbench's, on both sides of a comparison. Raises whatever the checkout raises when it is imported.
    """
    for old, room in _MOVED.items():
        sys.modules[f"gapbench.{old}"] = importlib.import_module(f"gapbench.{room}.{old}")
    for name in [name for name in sys.modules if name.startswith(("gapbench.implementations", "gapbench.operations"))]:
        if name not in _HARNESS:
            del sys.modules[name]
    folder = package / "operations"
    built_in = {
        each.name: each for each in _import("gapbench.implementations", package / "implementations").IMPLEMENTATIONS
    }
    __path__[:] = [str(folder)]
    if (folder / f"{operation}.py").is_file():
        for own in vars(importlib.import_module(f"gapbench.operations.{operation}")).values():
            if isinstance(own, Operation):
                built_in |= {each.name: each for each in own.implementations}
    restore((built_in, list(__path__)))


def _import(name: str, folder: Path) -> ModuleType:
    """Import a package from ``folder`` in place of the one of that name."""
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)
    spec.loader.exec_module(module)
    return module


def state() -> tuple[dict[str, Implementation], list[str]]:
    """Return what `load_checkout` changes, for `restore`."""
    return dict(_BUILT_IN), list(__path__)


def restore(earlier: tuple[dict[str, Implementation], list[str]]) -> None:
    """Go back to an earlier `state`."""
    built_in, path = earlier
    _BUILT_IN.clear()
    _BUILT_IN.update(built_in)
    __path__[:] = path


def is_user_spec(spec: str) -> bool:
    """Tell ``FILE.py:FUNCTION`` from a name."""
    return ":" in spec or spec.endswith(".py")


def name_of(spec: str) -> str:
    """Return the name under which ``spec``'s rows are stored. Raises `GapbenchError` for what does not exist."""
    if is_user_spec(spec):
        return user.parse(spec)[1]
    if taken(spec):
        return spec
    raise unknown("implementation", spec, [*_BUILT_IN, *user.plugins()])


def taken(name: str) -> bool:
    """Tell whether an implementation is called ``name``."""
    return name in _BUILT_IN or name in user.plugins()


def load(spec: str) -> Implementation:
    """Return the implementation that ``spec`` names, running the code of users and plug-ins (in a worker only)."""
    if is_user_spec(spec):
        return user.load(spec)
    return _BUILT_IN[spec] if spec in _BUILT_IN else user.load_plugin(spec)


def unsupported_reason(spec: str, case: Case) -> str | None:
    """Return why a built-in implementation cannot run on ``case``; of any other, only a worker can tell."""
    own = builtin(spec)
    return own.unsupported_reason(case) if own else None


def truth(spec: str) -> Truth:
    """Return what ``spec`` is judged by: code of users and plug-ins computes the global average, and has no say."""
    own = builtin(spec)
    return own.truth if own else GLOBAL_AVERAGE


def other_truths(specs: Iterable[str]) -> int:
    """Return how many answers other than the global average those of ``specs`` that are built in are judged by."""
    return len({id(truth(spec)) for spec in specs} - {id(GLOBAL_AVERAGE)})


def loads(spec: str) -> tuple[str, ...]:
    """Return the modules that ``spec`` is known to be slow to import."""
    own = builtin(spec)
    return own.loads if own else ()


def compiles(spec: str) -> bool:
    """Tell whether ``spec`` is known to call torch.compile."""
    own = builtin(spec)
    return own is not None and own.family == "compiled"


def parameters(spec: str, case: Case) -> int:
    """Return how many weights ``spec`` is known to have."""
    own = builtin(spec)
    return own.parameters(case) if own else 0
