"""A timing loop of a few lines in fresh processes: independent of gapbench's engine, which it is to check.

What one call is, and its input, are gapbench's definitions (`workloads.passes`, `workloads.inputs`); how calls are
timed, ordered and replicated is this file's own.
"""

import gc
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from time import perf_counter
from typing import TypeVar

from gapbench.workloads.cases import Case

Call = Callable[[], object]
Result = TypeVar("Result")


def each(function: Callable[..., Result], jobs: Iterable[tuple[object, ...]]) -> Iterator[Result]:
    """Call ``function`` on each job's arguments, one after the other, in a fresh process each with torch loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "gapbench.workloads.inputs", "gapbench.workloads.passes", "numpy"])
    with context.Pool(1, maxtasksperchild=1) as pool:
        yield from pool.imap(_Unpacked(function), jobs, chunksize=1)


class _Unpacked:
    """``function(*job)``, as an object that travels to another process."""

    def __init__(self, function: Callable[..., Result]) -> None:
        self.function = function

    def __call__(self, job: tuple[object, ...]) -> Result:
        return self.function(*job)


def bound(sources: Sequence[str], names: Sequence[str], case: Case, seed: int) -> list[list[Call]]:
    """Return the calls that ``case`` times: by module source, its functions ``names``.

    All share one input: where it lies in memory would make more of a difference than what is looked for.
    """
    import torch

    from gapbench.workloads import inputs, passes

    torch.set_num_threads(case.threads)
    gc.disable()
    x = inputs.sample(case, seed)
    gradient = inputs.upstream(case, seed, case.averaged)
    calls = []
    for source in sources:
        namespace: dict[str, Callable[..., object]] = {}
        exec(compile(source, "pool.py", "exec"), namespace)  # noqa: S102 - written by `subject`
        calls.append([passes.make_call(case, namespace[name], x, gradient) for name in names])
    return calls


def batch(call: Call, count: int) -> float:
    """Return the seconds that ``count`` calls take, each."""
    started = perf_counter()
    for _ in repeat(None, count):
        call()
    return (perf_counter() - started) / count


def calls_within(call: Call, seconds: float) -> int:
    """Return how many calls take about so long, after warming up."""
    count = 1
    while (each_takes := batch(call, count)) * count < seconds:
        count *= 2
    return max(1, round(seconds / each_takes))
