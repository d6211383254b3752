"""The example of CuPy over a stand-in that computes with NumPy: CuPy itself needs a GPU, and has not run here."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gapbench.implementations import user
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import LAYOUTS, Case

EXAMPLE = f"{Path(__file__).parents[2] / 'examples' / 'cupy_mean.py'}:cupy_mean"
STREAM = 1234


class Stream:
    current = None

    def __init__(self, pointer):
        self.pointer = pointer

    def __enter__(self):
        Stream.current = self.pointer

    def __exit__(self, *_):
        Stream.current = None


@pytest.fixture
def arrays(monkeypatch):
    """Put a stand-in in CuPy's place; returns the arrays that it was given, and on which stream."""
    given = []

    def from_dlpack(tensor):
        given.append((np.from_dlpack(tensor), Stream.current))
        return given[-1][0]

    standin = SimpleNamespace(from_dlpack=from_dlpack, cuda=SimpleNamespace(ExternalStream=Stream))
    monkeypatch.setitem(sys.modules, "cupy", standin)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=STREAM))
    return given


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_averages_every_layout(arrays, layout, dtype):
    for shape in [(3, 5, 63), (2, 9, 31, 37), (2, 3, 4, 5, 6)]:
        case = Case(shape, dtype=dtype, layout=layout)
        assert oracle.examine(case, user.load(EXAMPLE).prepare(case), 0).reason is None


def test_shares_the_tensors_memory_and_stream(arrays):
    case = Case((2, 3, 7, 7))
    x = inputs.sample(case, 0)
    user.load(EXAMPLE).prepare(case)(x)
    ((array, stream),) = arrays
    assert array.ctypes.data == x.data_ptr()
    assert stream == STREAM
    assert Stream.current is None
