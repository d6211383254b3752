"""JAX's function on JAX's own CPU backend; gapbench measures it on GPUs only, where nothing of this could run here."""

import itertools

import jax
import pytest

from gapbench.operations import builtin
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case

JAX_MEAN = builtin("jax_mean")
DTYPES = ["float32", "float16", "bfloat16"]
DENSE = ["contiguous", "channels_last", "permuted"]


@pytest.mark.parametrize(("dtype", "layout"), list(itertools.product(DTYPES, DENSE)))
def test_averages_every_dtype_and_dense_layout(dtype, layout):
    for shape in [(3, 5, 63), (2, 9, 31, 37), (2, 3, 4, 5, 6), (0, 3, 7, 7)]:
        case = Case(shape, dtype=dtype, layout=layout)
        assert oracle.examine(case, JAX_MEAN.prepare(case), 0).reason is None


def test_shares_memory_and_waits(monkeypatch):
    case = Case((2, 64, 7, 7))
    x, addresses = inputs.sample(case, 0), {}
    from_dlpack, jit = jax.dlpack.from_dlpack, jax.jit

    def watched_from_dlpack(tensor):
        array = from_dlpack(tensor)
        addresses["read"] = array.unsafe_buffer_pointer()
        return array

    class Result:
        def __init__(self, array):
            self.array = array

        def block_until_ready(self):
            addresses["written"] = self.array.block_until_ready().unsafe_buffer_pointer()
            return self.array

    monkeypatch.setattr(jax.dlpack, "from_dlpack", watched_from_dlpack)
    monkeypatch.setattr(jax, "jit", lambda function: lambda array: Result(jit(function)(array)))
    y = JAX_MEAN.prepare(case)(x)
    assert addresses == {"read": x.data_ptr(), "written": y.data_ptr()}


def test_leaves_the_gpus_memory_to_others():
    JAX_MEAN.prepare(Case((2, 3, 7, 7)))
    assert jax.config.jax_pjrt_client_create_options == {"preallocate": False}


def test_what_jax_cannot_do_has_a_remedy():
    assert "choose a GPU such as --device cuda" in JAX_MEAN.unsupported(Case((2, 3, 7)))
    assert "choose --dtype float32" in JAX_MEAN.unsupported(Case((2, 3, 7), dtype="float64", device="cuda"))
    assert "choose --layout channels_last" in JAX_MEAN.unsupported(Case((2, 3, 7), layout="sliced", device="cuda"))
    case = Case((2, 3, 7, 7), layout="sliced")
    with pytest.raises(Exception, match="compact"):
        JAX_MEAN.prepare(case)(inputs.sample(case, 0))
