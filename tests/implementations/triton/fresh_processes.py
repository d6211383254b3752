"""Processes of their own for kernels.

Triton settles when it is first imported whether a process interprets kernels or compiles them, so neither can be had
for certain in pytest's process, where another test may have imported it. Tensors travel through shared memory, strides
and all.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import pytest


@contextmanager
def fresh_process(**environment: str) -> Iterator[Callable]:
    """Start a process with these variables; yields call(function, *args), which runs the function there."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        pool.submit(int).result()  # the process starts, and takes its environment, with the first call
    with pool:
        yield lambda function, *args: pool.submit(function, *args).result()
