"""What Inductor made of a compiled function: code of its own, or calls of ATen's operators.

Read from the graphs that the function holds, each with the source of its wrapper. That is the same whether Inductor
has just generated it or found it in its cache on disk, and belongs to this function whatever else the process compiles.
Dynamo and Inductor have no public way to ask; where another version keeps its graphs elsewhere, nothing is told.
"""

import re
from collections.abc import Iterator
from types import CellType, FunctionType, MethodType
from typing import Any

import torch

from gapbench.workloads.passes import Function

_KERNEL = re.compile(r"^(\w+) = async_compile\.(?:cpp\w*|triton)\(", re.MULTILINE)
# With the parenthesis: comments cite the operators that a kernel replaces, without.
_FALLBACK = re.compile(r"\btorch\.ops\.(\w+\.\w+)(?:\.\w+)?\(|\bextern_kernels\.(\w+)\(")


def code_path(function: Function) -> str | None:
    """Say what runs in a compiled function that was called: generated kernels, fall-backs; None without evidence."""
    wrappers: dict[bool, list[str]] = {False: [], True: []}
    for is_backward, source in sources(function):
        wrappers[is_backward].append(source)
    if wrappers[True]:
        return f"forward: {_say(wrappers[False])}; backward: {_say(wrappers[True])}"
    return _say(wrappers[False]) if wrappers[False] else None


def sources(function: Function) -> Iterator[tuple[bool, str]]:
    """Yield whether each graph in Dynamo's cache for a function is of the backward pass, and its wrapper's source."""
    from torch._dynamo.eval_frame import _debug_get_cache_entry_list
    from torch._inductor.output_code import CompiledFxGraph

    original = function._torchdynamo_orig_callable  # type: ignore[attr-defined]  # torch.compile sets it
    todo: list[Any] = [
        original.__globals__.get(name)
        for entry in _debug_get_cache_entry_list(original)
        for name in entry.code.co_names
        if name.startswith("__compiled_fn")
    ]
    seen: dict[int, Any] = {}  # holds what it has seen, so that no identity is used twice
    while todo:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
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
    """Return the names of the kernels that a wrapper has had generated; a name lists what was fused."""
    return _KERNEL.findall(source)


def fallbacks(source: str) -> list[str]:
    """Return the operators that a wrapper calls because no code was generated for them."""
    return list(dict.fromkeys(name or f"aten.{external}" for name, external in _FALLBACK.findall(source)))


def _say(wrappers: list[str]) -> str:
    """Put the kernels and fall-backs of some wrappers into words."""
    source = "\n".join(wrappers)
    generated, operators = len(kernels(source)), fallbacks(source)
    parts = []
    if generated or not operators:
        parts.append(f"generated {generated} kernel{'' if generated == 1 else 's'}")
    if operators:
        parts.append(f"fell back to {', '.join(operators)}")
    return f"Inductor {' and '.join(parts)}"
