"""Every way to compute GAP that gapbench knows.

To add one, write it in its family's file and it joins `IMPLEMENTATIONS`; the oracle's tests cover it unasked.
"""

from gapbench.errors import unknown
from gapbench.implementations import user
from gapbench.implementations.base import Function, Implementation
from gapbench.implementations.compiled import COMPILED
from gapbench.implementations.eager import EAGER
from gapbench.implementations.triton import TRITON

__all__ = ["IMPLEMENTATIONS", "Function", "Implementation", "builtin", "is_user_spec", "load", "name_of"]

IMPLEMENTATIONS: tuple[Implementation, ...] = (*EAGER, *COMPILED, *TRITON)


def builtin(name: str) -> Implementation:
    """Return the implementation called ``name``. Raises `GapbenchError`, listing those there are."""
    for implementation in IMPLEMENTATIONS:
        if implementation.name == name:
            return implementation
    raise unknown("implementation", name, (implementation.name for implementation in IMPLEMENTATIONS))


def is_user_spec(spec: str) -> bool:
    """Tell ``FILE.py:FUNCTION`` from a name."""
    return ":" in spec or spec.endswith(".py")


def name_of(spec: str) -> str:
    """Return the name under which ``spec``'s rows are stored. Raises `GapbenchError` for what does not exist."""
    return user.parse(spec)[1] if is_user_spec(spec) else builtin(spec).name


def load(spec: str) -> Implementation:
    """Return the implementation that ``spec`` names, importing a user's file if it is one (in a worker only)."""
    return user.load(spec) if is_user_spec(spec) else builtin(spec)
