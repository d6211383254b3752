"""Suites: sets of cases that a pytest module declares by `suite` (see ``suites/bench_quick.py``), or a file lists."""

import contextlib
import importlib.util
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from gapbench.errors import GapbenchError, unknown
from gapbench.workloads import case_lists
from gapbench.workloads.cases import Case
from gapbench.workloads.shapes import Shape

_INSTALLED = Path(__file__).parents[1] / "_suites"
_CHECKOUT = Path(__file__).parents[2] / "suites"
_FILE_PREFIX = "bench_"
_FUNCTION_PREFIX = "test_"  # so that pytest collects it unasked


@dataclass(frozen=True, slots=True)
class Suite:
    """A named set of cases, which name the CPU until `on`; ``summary`` says which decision it serves.

    ``implementations`` names those that compete; None, or an operation without a named one, stands for the usual.
    """

    name: str
    summary: str
    cases: tuple[Case, ...]
    implementations: tuple[str, ...] | None = None

    def on(self, device: str) -> "Suite":
        """Return the same suite on ``device``."""
        return replace(self, cases=tuple(replace(case, device=device) for case in self.cases))


DISTINCT = (
    "mean", "sum_scale", "avg_pool", "matmul", "compiled_mean", "compiled_avg_pool", "triton",
)  # fmt: skip
"""One spelling of each kind, for suites with many cases: the others run the same code or were never the fastest
(docs/findings.md)."""


def grid(
    shapes: Mapping[str, Shape],
    dtypes: Sequence[str] = ("float32",),
    layouts: Sequence[str] = ("contiguous",),
    passes: Sequence[str] = ("forward",),
    threads: Sequence[int] = (1,),
    operation: str = "gap",
    weights: Mapping[str, int] = MappingProxyType({}),
) -> tuple[Case, ...]:
    """Return every combination as cases: labelled shapes x dtypes x layouts x passes x thread counts.

    ``weights`` gives by label how often a shape occurs, 1 by default.
    """
    return tuple(
        Case(
            shape, dtype, layout, pass_=pass_, threads=count, operation=operation, label=label,
            weight=weights.get(label, 1),
        )
        for (label, shape), dtype, layout, pass_, count in itertools.product(
            shapes.items(), dtypes, layouts, passes, threads
        )
    )  # fmt: skip


def suite(
    *grids: Sequence[Case], implementations: Sequence[str] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare a suite: decorate a pytest function that takes the fixture ``measured``.

    ``grids`` are sequences of cases, as from `grid`. ``implementations`` names those that compete, by default each
    operation's usual ones. The suite's name is the function's without ``test_``, its summary the first line of the
    function's docstring or of the module's.
    """

    def declare(function: Callable[..., None]) -> Callable[..., None]:
        module = sys.modules.get(function.__module__)
        doc = (function.__doc__ or getattr(module, "__doc__", None) or "").strip()
        declared = Suite(
            name=function.__name__.removeprefix(_FUNCTION_PREFIX),
            summary=doc.splitlines()[0] if doc else "",
            cases=tuple(dict.fromkeys(itertools.chain(*grids))),
            implementations=None if implementations is None else tuple(implementations),
        )
        function.gapbench_suite = declared  # type: ignore[attr-defined]  # as pytest marks functions
        return function

    return declare


def declared_in(namespace: Mapping[str, Any]) -> list[Suite]:
    """Return the suites among the values of a module's namespace."""
    suites = (getattr(value, "gapbench_suite", None) for value in namespace.values())
    return [each for each in suites if isinstance(each, Suite)]


def import_file(name: str, path: Path) -> ModuleType:
    """Import a file as the module ``name``, or a package by its ``__init__.py``. Raises whatever its code raises."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def folder() -> Path:
    """Return the folder of the suites that come with gapbench, in the wheel or in the checkout."""
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def names() -> list[str]:
    """Return the names of the suites that come with gapbench."""
    return sorted(path.stem.removeprefix(_FILE_PREFIX) for path in folder().glob(f"{_FILE_PREFIX}*.py"))


def built_in() -> list[Suite]:
    """Return the suites that come with gapbench."""
    return [each for name in names() for each in find(name)]


def find(name_or_path: str) -> list[Suite]:
    """Return the suites of a file, or the one of that name. Raises `GapbenchError` for a missing or broken one."""
    path = Path(name_or_path)
    if case_lists.is_list(name_or_path):
        return [Suite(path.name, "which implementation for this network?", case_lists.read(path), DISTINCT)]
    if path.suffix != ".py":
        if name_or_path not in names():
            raise unknown("suite", name_or_path, names())
        path = folder() / f"{_FILE_PREFIX}{name_or_path}.py"
    if not path.is_file():
        raise GapbenchError(f"there is no suite file {name_or_path!r}; name one, or one of: {', '.join(names())}")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout carries data
            # not the plain stem: the file may be called json.py
            module = import_file(f"gapbench_suite_{path.stem}", path)
    except (Exception, SystemExit) as error:
        raise GapbenchError(f"suite {name_or_path!r} does not import: {type(error).__name__}: {error}") from error
    suites = declared_in(vars(module))
    if not suites:
        raise GapbenchError(f"{name_or_path!r} declares no suite; decorate a function with @gapbench.suite(...)")
    return suites
