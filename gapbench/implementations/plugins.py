"""Implementations that other packages bring, by the entry point ``gapbench.implementations``.

Such a package declares, in its pyproject.toml::

    [project.entry-points."gapbench.implementations"]
    my_gap = "my_package:my_gap"

and ``my_package.my_gap`` is a function x (N, C, *spatial) -> y (N, C, 1, ..., 1), or an `Implementation`.
"""

from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from gapbench.implementations import user
from gapbench.implementations.base import Implementation

GROUP = "gapbench.implementations"


@cache
def found() -> dict[str, EntryPoint]:
    """Return the entry points by name; no package's code runs."""
    return {one.name: one for one in entry_points(group=GROUP)}


def origin(name: str) -> str:
    """Return the package that brings ``name``, with its version."""
    package = found()[name].dist
    return f"{package.name} {package.version}" if package else found()[name].value


def load(name: str) -> Implementation:
    """Import the package and return its implementation.

    Runs the package's code, so only workers call it. Raises `user.BrokenImplementationError`.
    """
    try:
        loaded = found()[name].load()
    except Exception as error:
        raise user.BrokenImplementationError(
            f"the plug-in {name} of {origin(name)} does not import: {type(error).__name__}: {error}"
        ) from error
    if isinstance(loaded, Implementation):
        return replace(loaded, name=name)
    if not callable(loaded):
        raise user.BrokenImplementationError(
            f"the plug-in {name} of {origin(name)} is neither a function f(x) nor an Implementation"
        )
    return user.wrap(name, loaded, origin(name))
