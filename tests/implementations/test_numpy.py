import tracemalloc

import torch

from gapbench.operations import builtin
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import LAYOUTS, Case

NUMPY_MEAN = builtin("numpy_mean")


def test_copies_neither_input_nor_output(monkeypatch):
    results = []

    def watched(array):
        results.append(array)
        return from_numpy(array)

    from_numpy = torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", watched)
    for layout in LAYOUTS:
        case = Case((2, 64, 56, 56), layout=layout)
        x, function = inputs.sample(case, 0), NUMPY_MEAN.prepare(case)
        tracemalloc.start()  # NumPy reports its allocations there
        y = function(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert y.data_ptr() == results[-1].ctypes.data
        assert peak < x.nbytes / 10


def test_float16_is_summed_in_float32():
    case = Case((1, 8, 112, 112), dtype="float16")
    assert oracle.examine(case, NUMPY_MEAN.prepare(case), 0).reason is None


def test_what_numpy_cannot_do_has_a_remedy():
    assert "choose --dtype float16" in NUMPY_MEAN.unsupported(Case((2, 3, 7), dtype="bfloat16"))
    assert "use mean" in NUMPY_MEAN.unsupported(Case((2, 3, 0)))
