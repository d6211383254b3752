"""Implementations that users bring: ``--impl FILE.py:FUNCTION``."""

import importlib.util
from pathlib import Path

from gapbench.errors import GapbenchError
from gapbench.implementations import compiled, inductor
from gapbench.implementations.base import Function, Implementation, untold


class BrokenImplementationError(Exception):
    """A user's file or function cannot be used; the message says why."""


def split(spec: str) -> tuple[str, str]:
    """Split ``FILE.py:FUNCTION``, whether or not there is such a file. Raises `GapbenchError` for what is none."""
    file, _, function = spec.rpartition(":")
    if not function.isidentifier():
        raise GapbenchError(f"--impl {spec!r}: write FILE.py:FUNCTION, as in mine.py:my_gap")
    return file, function


def parse(spec: str) -> tuple[Path, str]:
    """Split ``FILE.py:FUNCTION``, with the path made absolute. Raises `GapbenchError` where no such file is."""
    file, function = split(spec)
    path = Path(file).resolve()
    if not path.is_file():
        raise GapbenchError(f"--impl {spec!r}: there is no file {file!r}")
    return path, function


def load(spec: str) -> Implementation:
    """Import the file and return its function as an `Implementation`.

    Runs the user's code, so only workers call it. Raises `BrokenImplementationError`.
    """
    try:
        path, function_name = parse(spec)
    except GapbenchError as error:  # it was there when the command began, or is not in this checkout
        raise BrokenImplementationError(str(error)) from error
    module_spec = importlib.util.spec_from_file_location(f"gapbench_user_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise BrokenImplementationError(f"{path.name} is no Python file: its name should end in .py")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise BrokenImplementationError(f"{path.name} does not import: {type(error).__name__}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise BrokenImplementationError(f"{path.name} has no function {function_name!r}; define it as f(x)")
    return wrap(function_name, function, path.name)


def wrap(name: str, function: Function, source: str) -> Implementation:
    """Return a plain function as an implementation called ``name``; ``source`` says where it comes from."""
    claims_compiled = hasattr(function, "_torchdynamo_orig_callable")  # it is what torch.compile returned
    return Implementation(
        name=name,
        family="compiled" if claims_compiled else "user",
        summary=(function.__doc__ or f"{name} of {source}").strip().splitlines()[0],
        snippet=f"{name}(x)",
        prepare=lambda _case: function,
        proof=compiled.proof if claims_compiled else lambda: None,
        code_path=inductor.code_path if claims_compiled else untold,
    )
