"""Everything that is measured: one file per operation beside pooling itself, listed in `OPERATIONS`.

Global average pooling is the first; the others answer questions that people have about it, through the same engine,
oracle, store and reports. An implementation's name is its own across all operations.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from gapbench.cases import Case
from gapbench.errors import GapbenchError, unknown
from gapbench.implementations import IMPLEMENTATIONS, Implementation, user
from gapbench.operations.base import Operation
from gapbench.operations.classifier_head import CLASSIFIER_HEAD
from gapbench.operations.masked_mean import MASKED_MEAN
from gapbench.operations.pooling import POOLING
from gapbench.operations.varying_size import VARYING_SIZE
from gapbench.records import REFERENCE
from gapbench.truth import GLOBAL_AVERAGE

__all__ = [
    "OPERATIONS", "Operation", "adopt", "builtin", "competing", "compiles", "contenders", "is_user_spec", "load",
    "loads", "name_of", "operation", "other_truths", "parameters", "restore", "state", "taken", "why_not",
]  # fmt: skip

GAP = Operation(
    "gap", "global average pooling: the mean over all spatial dimensions", REFERENCE, IMPLEMENTATIONS, joinable=True
)

OPERATIONS: tuple[Operation, ...] = (GAP, POOLING, CLASSIFIER_HEAD, MASKED_MEAN, VARYING_SIZE)

_BUILT_IN: dict[str, Implementation] = {one.name: one for own in OPERATIONS for one in own.implementations}


def operation(name: str) -> Operation:
    """Return the operation called ``name``. Raises `GapbenchError`, listing those there are."""
    for one in OPERATIONS:
        if one.name == name:
            return one
    raise unknown("operation", name, (one.name for one in OPERATIONS))


def contenders(name: str, chosen: Collection[str] | None = None) -> list[str]:
    """Return the names of those that compete at the operation ``name``: the usual ones, or those ``chosen`` of all.

    The usual ones are all but variants. Raises `GapbenchError` for a chosen name that nobody has, and for a plug-in
    that takes a built-in name.
    """
    for one in chosen or ():
        name_of(one)
    own = operation(name)
    competing = [one.name for one in own.implementations if chosen is not None or one.variant_of is None]
    for found in user.plugins() if own.joinable else ():
        if found in _BUILT_IN:
            raise GapbenchError(
                f"the plug-in {found!r} of {user.plugin_origin(found)} takes a built-in name; rename or uninstall it"
            )
        competing.append(found)
    return [one for one in competing if chosen is None or one in chosen]


def competing(name: str, chosen: Collection[str] | None, everyone: bool = False) -> list[str]:
    """Return who competes at the operation ``name`` in a suite that chose some implementations, or None for the usual.

    Those chosen, the usual ones where none of them is of this operation, and both for ``everyone``.
    """
    usual = contenders(name)
    own = contenders(name, chosen) if chosen else usual
    return list(dict.fromkeys([*own, *usual])) if everyone or not own else own


def builtin(name: str) -> Implementation | None:
    """Return gapbench's own implementation called ``name``, or None."""
    return _BUILT_IN.get(name)


def adopt(package: Path, operation: str) -> None:
    """Take the ways to compute ``operation`` from the ``gapbench`` package in a folder, in this process from now on."""
    from gapbench.operations import adoption

    found = adoption.implementations(package, operation)
    restore((found, list(__path__)))


def state() -> tuple[dict[str, Implementation], list[str]]:
    """Return what `adopt` changes, for `restore`."""
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


def why_not(spec: str, case: Case) -> str | None:
    """Return why a built-in implementation cannot run on ``case``; of any other, only a worker can tell."""
    one = builtin(spec)
    return one.why_not(case) if one else None


def other_truths(specs: Iterable[str]) -> int:
    """Return how many answers other than the global average those of ``specs`` that are built in are judged by."""
    truths = {id(one.truth) for one in map(builtin, specs) if one is not None}
    return len(truths - {id(GLOBAL_AVERAGE)})


def loads(spec: str) -> tuple[str, ...]:
    """Return the modules that ``spec`` is known to be slow to import."""
    one = builtin(spec)
    return one.loads if one else ()


def compiles(spec: str) -> bool:
    """Tell whether ``spec`` is known to call torch.compile."""
    one = builtin(spec)
    return one is not None and one.family == "compiled"


def parameters(spec: str, case: Case) -> int:
    """Return how many weights ``spec`` is known to have."""
    one = builtin(spec)
    return one.parameters(case) if one else 0
