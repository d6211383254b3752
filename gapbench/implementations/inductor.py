"""Read what Inductor made of a compiled function: generated kernels, or calls of ATen's operators.

The source is the wrapper of each graph that the function holds, generated or from the cache on disk. There is no public
interface for this; with a version that stores graphs elsewhere the answer is None.
"""

import re
from collections.abc import Iterator
from types import CellType, FunctionType, MethodType
from typing import Any

import torch

from gapbench.errors import counted
from gapbench.workloads.passes import Function

_KERNEL = re.compile(r"^(\w+) = async_compile\.(?:cpp\w*|triton)\(", re.MULTILINE)
# with the parenthesis, since comments cite the operators that a kernel replaces
_FALLBACK = re.compile(r"\btorch\.ops\.(\w+\.\w+)(?:\.\w+)?\(|\bextern_kernels\.(\w+)\(")


def code_path(function: Function) -> str | None:
    """Describe the code of a compiled function that was called: generated kernels, fall-backs; None if unknown."""
    wrappers: dict[bool, list[str]] = {False: [], True: []}
    for is_backward, source in sources(function):
        wrappers[is_backward].append(source)
    if wrappers[True]:
        return f"forward: {_describe(wrappers[False])}; backward: {_describe(wrappers[True])}"
    return _describe(wrappers[False]) if wrappers[False] else None


def sources(function: Function) -> Iterator[tuple[bool, str]]:
    """Yield for each graph in Dynamo's cache for a function whether it is a backward pass, and its wrapper's source."""
    from torch._dynamo.eval_frame import _debug_get_cache_entry_list
    from torch._inductor.output_code import CompiledFxGraph

    original = function._torchdynamo_orig_callable  # type: ignore[attr-defined]  # torch.compile sets it
    todo: list[Any] = [
        original.__globals__.get(name)
        for entry in _debug_get_cache_entry_list(original)
        for name in entry.code.co_names
        if name.startswith("__compiled_fn")
    ]
    visited: dict[int, Any] = {}  # keeps the objects alive, so that no id is used twice
    while todo:
        thing = todo.pop()
        if id(thing) in visited:
            continue
        visited[id(thing)] = thing
        if isinstance(thing, CompiledFxGraph):
            yield bool(thing.fx_kwargs.get("is_backward")), thing.source_code
        elif isinstance(thing, MethodType):
            todo += [thing.__self__, thing.__func__]
        elif isinstance(thing, FunctionType):
            todo += [cell.cell_contents for cell in thing.__closure__ or () if cell != CellType()]  # filled
        elif isinstance(thing, type):
            todo += vars(thing).values() if issubclass(thing, torch.autograd.Function) else ()
        elif callable(thing):
            todo += getattr(thing, "__dict__", {}).values()


def kernels(source: str) -> list[str]:
    """Return the names of a wrapper's generated kernels; a name lists the fused operators."""
    return _KERNEL.findall(source)


def fallbacks(source: str) -> list[str]:
    """Return the operators that a wrapper calls, since no code was generated for them."""
    return list(dict.fromkeys(name or f"aten.{external}" for name, external in _FALLBACK.findall(source)))


def _describe(wrappers: list[str]) -> str:
    source = "\n".join(wrappers)
    generated, operators = kernels(source), fallbacks(source)
    parts = [f"generated {counted(len(generated), 'kernel')}"] if generated or not operators else []
    parts += [f"fell back to {', '.join(operators)}"] if operators else []
    return f"Inductor {' and '.join(parts)}"
