"""A process that interprets Triton's kernels, and one that compiles them, for all tests of this folder."""

from collections.abc import Callable, Iterator

import pytest
from fresh_processes import fresh_process


@pytest.fixture(scope="session")
def interpreted(tmp_path_factory) -> Iterator[Callable]:
    cache = str(tmp_path_factory.mktemp("triton"))
    with fresh_process(TRITON_INTERPRET="1", TRITON_CACHE_DIR=cache) as call:
        yield call


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Iterator[Callable]:
    cache = str(tmp_path_factory.mktemp("triton"))
    with fresh_process(TRITON_INTERPRET="0", TRITON_CACHE_DIR=cache) as call:
        yield call
