from unittest import mock

import onnxruntime
import pytest
from strategies import expected_output

from gapbench.operations import builtin
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case

POOL, REDUCE = builtin("onnx_global_average_pool"), builtin("onnx_reduce_mean")
both = pytest.mark.parametrize("implementation", [POOL, REDUCE], ids=lambda implementation: implementation.name)


@both
def test_reads_and_writes_the_tensors_own_memory(implementation):
    case = Case((2, 3, 7, 7))
    x, bound = inputs.sample(case, 0), {}

    class Watched(onnxruntime.IOBinding):
        def bind_input(self, name, *rest):
            bound[name] = rest[-1]
            super().bind_input(name, *rest)

        def bind_output(self, name, *rest):
            bound[name] = rest[-1]
            super().bind_output(name, *rest)

    with mock.patch.object(onnxruntime.InferenceSession, "io_binding", lambda self: Watched(self)):
        y = implementation.prepare(case)(x)
    assert bound == {"x": x.data_ptr(), "y": y.data_ptr()}
    assert oracle.judge(case, y, expected_output(case, x)).reason is None


@both
def test_every_call_returns_memory_of_its_own(implementation):
    case = Case((2, 3, 7, 7))
    function = implementation.prepare(case)
    x = inputs.sample(case, 0)
    first = function(x)
    kept = first.clone()
    function(inputs.sample(case, 1))
    assert first.equal(kept)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "permuted"])
def test_reduces_the_axes_that_are_spatial_in_memory(layout):
    for shape in [(2, 3, 5), (2, 3, 5, 7), (2, 3, 4, 5, 6)]:
        case = Case(shape, layout=layout)
        assert oracle.examine(case, REDUCE.prepare(case), 0).reason is None


@both
def test_a_session_has_the_threads_of_the_case(implementation):
    sessions = []
    make = onnxruntime.InferenceSession

    def watch(model, options, **rest):
        sessions.append(options)
        return make(model, options, **rest)

    with mock.patch.object(onnxruntime, "InferenceSession", watch):
        for threads in (1, 2):
            implementation.prepare(Case((2, 3, 7, 7), threads=threads))
    assert [options.intra_op_num_threads for options in sessions] == [1, 2]
    assert {options.inter_op_num_threads for options in sessions} == {1}


def test_what_the_runtime_cannot_do_has_a_remedy():
    assert "choose --dtype float32" in REDUCE.unsupported(Case((2, 3, 7), dtype="bfloat16"))
    assert "choose --layout channels_last" in REDUCE.unsupported(Case((2, 3, 7), layout="sliced"))
    assert "use mean" in REDUCE.unsupported(Case((0, 3, 7)))
    assert "use onnx_reduce_mean" in POOL.unsupported(Case((2, 3, 7), dtype="float64"))
    assert "use onnx_reduce_mean" in POOL.unsupported(Case((2, 3, 7), layout="channels_last"))


@both
def test_the_refused_dtypes_are_indeed_refused_by_the_runtime(implementation):
    """Should a release learn them, this test says so."""
    refused = ["bfloat16"] + ["float64"] * (implementation is POOL)
    for dtype in refused:
        with pytest.raises(Exception, match="(?i)implement|type|KeyError|bfloat16"):
            implementation.prepare(Case((2, 3, 7, 7), dtype=dtype))


@both
def test_float16_is_summed_in_float32(implementation):
    case = Case((1, 8, 112, 112), dtype="float16")
    assert oracle.examine(case, implementation.prepare(case), 0).reason is None
