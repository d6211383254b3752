"""Implementations of users, by ``--impl FILE.py:FUNCTION``, and of packages (plug-ins), by an entry point.

A package declares in its pyproject.toml::

    [project.entry-points."gapbench.implementations"]
    my_gap = "my_package:my_gap"

and ``my_package.my_gap`` is a function x (N, C, *spatial) -> y (N, C, 1, ..., 1), or an `Implementation`.
"""

import importlib.util
import re
import sys
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from gapbench.errors import GapbenchError
from gapbench.implementations import compiled, inductor
from gapbench.implementations.base import Implementation
from gapbench.workloads.passes import Function


class BrokenImplementationError(Exception):
    """A user's file or function that cannot be used; the message says why."""


def split(spec: str) -> tuple[str, str]:
    """Split ``FILE.py:FUNCTION``, whether or not the file exists. Raises `GapbenchError` for a malformed one."""
    file, _, function = spec.rpartition(":")
    if not function.isidentifier():
        raise GapbenchError(f"--impl {spec!r}: write FILE.py:FUNCTION, as in mine.py:my_gap")
    return file, function


def parse(spec: str) -> tuple[Path, str]:
    """Split ``FILE.py:FUNCTION``, with an absolute path. Raises `GapbenchError` where the file is missing."""
    file, function = split(spec)
    path = Path(file).resolve()
    if not path.is_file():
        raise GapbenchError(f"--impl {spec!r}: there is no file {file!r}")
    return path, function


def mentions(spec: str) -> bool:
    """Tell, without running code, whether the file of a ``FILE.py:FUNCTION`` exists and may define the function."""
    file, function = split(spec)
    try:
        source = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(rf"\b({function}|globals|setattr|exec|__getattr__)\b|import \*", source) is not None


def load(spec: str) -> Implementation:
    """Import the file (its folder joins `sys.path`); return its function. Raises `BrokenImplementationError`."""
    file, function_name = split(spec)
    path = Path(file).resolve()
    if not path.is_file():  # removed since the command began, or not in this checkout
        raise BrokenImplementationError(f"there is no file {path.name!r} here")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    module_spec = importlib.util.spec_from_file_location(f"gapbench_user_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise BrokenImplementationError(f"{path.name} is not a Python file; rename it to end in .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise BrokenImplementationError(f"{path.name} does not import: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if isinstance(function, type):
        raise BrokenImplementationError(
            f"{function_name} of {path.name} is a class; name an instance: my_gap = {function_name}()"
        )
    if not callable(function):
        raise BrokenImplementationError(f"{path.name} has no function {function_name!r}; define it as f(x)")
    return wrap(function_name, function, path.name)


def wrap(name: str, function: Function, source: str) -> Implementation:
    """Return a plain function as an implementation called ``name``; ``source`` names its file or package."""
    own = Implementation(
        name=name,
        family="user",
        summary=[*(function.__doc__ or "").strip().splitlines(), f"{name} of {source}"][0],
        snippet=f"{name}(x)",
        prepare=lambda _case: function,
    )
    if hasattr(function, "_torchdynamo_orig_callable"):  # torch.compile returned it
        return replace(own, family="compiled", proof=compiled.proof, code_path=inductor.code_path)
    return own


@cache
def plugins() -> dict[str, EntryPoint]:
    """Return the entry points of packages by name, without running their code."""
    return {point.name: point for point in entry_points(group="gapbench.implementations")}


def plugin_origin(name: str) -> str:
    """Return the name and version of the package of a plug-in."""
    package = plugins()[name].dist
    return f"{package.name} {package.version}" if package else plugins()[name].value


def load_plugin(name: str) -> Implementation:
    """Import a plug-in, in a worker, and return its implementation. Raises `BrokenImplementationError`."""
    try:
        loaded = plugins()[name].load()
    except Exception as error:
        raise BrokenImplementationError(
            f"the plug-in {name} of {plugin_origin(name)} does not import: {type(error).__name__}: {error}"
        ) from error
    if isinstance(loaded, Implementation):
        return replace(loaded, name=name)
    if not callable(loaded):
        raise BrokenImplementationError(
            f"the plug-in {name} of {plugin_origin(name)} is neither a function f(x) nor an Implementation"
        )
    return wrap(name, loaded, plugin_origin(name))
