"""The operations that are measured, listed in `OPERATIONS`; names of implementations are unique across all."""

import importlib
import sys
from collections.abc import Collection, Iterable
from pathlib import Path

from gapbench.errors import GapbenchError, unknown
from gapbench.implementations import IMPLEMENTATIONS, Implementation, user
from gapbench.operations import network
from gapbench.operations.base import Operation
from gapbench.operations.classifier_head import CLASSIFIER_HEAD
from gapbench.operations.network import NETWORK
from gapbench.operations.pooling import POOLING
from gapbench.store.records import REFERENCE
from gapbench.workloads.cases import Case
from gapbench.workloads.suites import import_file
from gapbench.workloads.truth import GLOBAL_AVERAGE, Truth

GAP = Operation(
    "gap", "global average pooling: the mean over all spatial dimensions", REFERENCE, IMPLEMENTATIONS, joinable=True
)

OPERATIONS: tuple[Operation, ...] = (GAP, POOLING, CLASSIFIER_HEAD, NETWORK)

_HARNESS = {
    "gapbench.implementations.base", "gapbench.implementations.inductor", "gapbench.implementations.user",
    "gapbench.operations", "gapbench.operations.base",
}  # fmt: skip
"""Modules of the two packages that hold no implementation."""

_MOVED = dict.fromkeys(("cases", "shapes", "passes", "truth"), "workloads")
_MOVED |= {"records": "store", "devices": "machine", "telemetry": "machine"}
"""Folders of modules that implementations of versions before 0.2 import directly from `gapbench`."""

_BUILT_IN: dict[str, Implementation] = {each.name: each for own in OPERATIONS for each in own.implementations}


def operation(name: str) -> Operation:
    """Return the operation called ``name``. Raises `GapbenchError` that lists all operations."""
    operations = {operation.name: operation for operation in OPERATIONS}
    if name not in operations:
        raise unknown("operation", name, operations)
    return operations[name]


def contenders(name: str, chosen: Collection[str] | None = None) -> list[str]:
    """Return an operation's implementations: all but variants, or the ``chosen``. Raises `GapbenchError` for others."""
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
    """Return the ``chosen`` implementations of the operation ``name``, the usual if none, both for ``everyone``."""
    usual = contenders(name)
    own = contenders(name, chosen) if chosen else usual
    return list(dict.fromkeys([*own, *usual])) if everyone or not own else own


def builtin(name: str) -> Implementation | None:
    """Return gapbench's own implementation called ``name``, or None."""
    return _BUILT_IN.get(name)


def load_checkout(package: Path, operation: str) -> None:
    """Take the implementations of ``operation`` from the ``gapbench`` package in a folder, in this process from now on.

    Only the code under test comes from there, with what it imports late; the code that judges it stays this gapbench's.
    """
    for old, room in _MOVED.items():
        sys.modules[f"gapbench.{old}"] = importlib.import_module(f"gapbench.{room}.{old}")
    for name in [name for name in sys.modules if name.startswith(("gapbench.implementations", "gapbench.operations"))]:
        if name not in _HARNESS:
            del sys.modules[name]
    folder = package / "operations"
    implementations = import_file("gapbench.implementations", package / "implementations" / "__init__.py")
    sys.modules["gapbench"].implementations = implementations  # type: ignore[attr-defined]
    built_in = {each.name: each for each in implementations.IMPLEMENTATIONS}
    __path__[:] = [str(folder)]
    if (folder / f"{operation}.py").is_file():
        for own in vars(importlib.import_module(f"gapbench.operations.{operation}")).values():
            if isinstance(own, Operation):
                built_in |= {each.name: each for each in own.implementations}
    restore((built_in, list(__path__)))


def state() -> tuple[dict[str, Implementation], list[str]]:
    """Return the state that `load_checkout` changes, for `restore`."""
    return dict(_BUILT_IN), list(__path__)


def restore(earlier: tuple[dict[str, Implementation], list[str]]) -> None:
    """Restore an earlier `state`."""
    built_in, path = earlier
    _BUILT_IN.clear()
    _BUILT_IN.update(built_in)
    __path__[:] = path


def is_user_spec(spec: str) -> bool:
    """Tell ``FILE.py:FUNCTION`` from a name."""
    return (":" in spec or spec.endswith(".py")) and not _is_network(spec)


def _is_network(spec: str) -> bool:
    return spec.startswith("{")


def name_of(spec: str) -> str:
    """Return the name under which rows of ``spec`` are stored. Raises `GapbenchError` for an unknown one."""
    if is_user_spec(spec):
        return user.parse(spec)[1]
    if taken(spec):
        return spec
    raise unknown("implementation", spec, [*_BUILT_IN, *user.plugins()])


def taken(name: str) -> bool:
    """Tell whether an implementation is called ``name``."""
    return name in _BUILT_IN or name in user.plugins() or _is_network(name)


def load(spec: str) -> Implementation:
    """Return the implementation that ``spec`` names. Runs code of users and plug-ins, so only workers call it."""
    if _is_network(spec):
        return network.implementation(spec)
    if is_user_spec(spec):
        return user.load(spec)
    return _BUILT_IN[spec] if spec in _BUILT_IN else user.load_plugin(spec)


def unsupported_reason(spec: str, case: Case) -> str | None:
    """Return why a built-in implementation cannot run on ``case``; None for others, which only a worker can tell."""
    own = builtin(spec)
    return own.unsupported_reason(case) if own else None


def truth(spec: str) -> Truth:
    """Return the expected output for ``spec``: for code of users and plug-ins always the global average."""
    if _is_network(spec):
        return network.truth(spec)
    own = builtin(spec)
    return own.truth if own else GLOBAL_AVERAGE


def other_truths(specs: Iterable[str]) -> int:
    """Return how many expected outputs ``specs`` have beside the global average."""
    return len({id(truth(spec)) for spec in specs} - {id(GLOBAL_AVERAGE)})


def loads(spec: str) -> tuple[str, ...]:
    """Return the modules of a built-in ``spec`` that are slow to import."""
    own = builtin(spec)
    return own.loads if own else ()


def compiles(spec: str) -> bool:
    """Tell whether ``spec`` is built in and calls torch.compile."""
    own = builtin(spec)
    return own is not None and own.family == "compiled"


def parameters(spec: str, case: Case) -> int:
    """Return the number of weights of a built-in ``spec``, 0 for any other."""
    own = builtin(spec)
    return own.parameters(case) if own else 0
