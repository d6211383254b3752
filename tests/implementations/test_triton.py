"""The Triton kernel, run by Triton's interpreter and compiled for GPUs that are not there.

Triton settles when it is first imported whether a process interprets kernels or compiles them, so neither can
be had for certain in this process, where another test may have imported it. Both run in processes of their
own, which import this module afresh: pytest stays here, and tensors travel through shared memory, strides and
all.
"""

import math
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
import triton
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder
from triton.runtime.jit import JITFunction

import gapbench.implementations.triton
from gapbench.cases import DTYPES, LAYOUTS, Case
from gapbench.implementations.triton import TRITON

RTOL = {"float32": 1.3e-6, "float16": 1e-3, "bfloat16": 1.6e-2, "float64": 1e-12}
TINY = 1e-30

TARGETS = {"sm_90": GPUTarget("cuda", 90, 32), "gfx942": GPUTarget("hip", "gfx942", 64)}


# inputs


def laid_out(values: Tensor, layout: str) -> Tensor:
    """Return values (N, C, *spatial) stored in one of `LAYOUTS`, with NaN wherever a slice leaves gaps."""
    if layout == "contiguous":
        return values.contiguous()
    if layout == "channels_last":
        return values.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "permuted":
        return values.movedim((0, 1), (-2, -1)).contiguous().movedim((-2, -1), (0, 1))
    tokens = values.flatten(2).mT
    with_class_token = torch.cat([torch.full_like(tokens[:, :1], math.nan), tokens], dim=1)
    return with_class_token[:, 1:].unflatten(1, values.shape[2:]).movedim(-1, 1)


def random_input(case: Case, seed: int = 0, offset: float = 3.0) -> Tensor:
    """Return an input whose averages are not near zero, which a kernel that writes zeros would pass."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(case.shape, generator=generator, dtype=torch.float64) + offset
    return laid_out(values.to(getattr(torch, case.dtype)), case.layout)


def assert_averages(y: Tensor, x: Tensor, case: Case) -> None:
    assert y.shape == (case.n, case.c, *(1 for _ in case.spatial))
    assert y.is_contiguous()
    assert y.dtype == x.dtype
    x = x.double()
    error = (y.double() - x.mean(case.spatial_dims, keepdim=True)).abs()
    assert (error <= RTOL[case.dtype] * x.abs().mean(case.spatial_dims, keepdim=True) + TINY).all()


# what runs in the other processes


def contains(tensor: Tensor, addresses: np.ndarray) -> bool:
    """Tell whether the addresses lie between the tensor's first and last element."""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    first = tensor.data_ptr()
    return bool(((first <= addresses) & (addresses <= first + last * tensor.itemsize)).all())


def interpret(case: Case, x: Tensor) -> Tensor:
    """Return GAP of x by Triton's interpreter, watching that the kernel stays inside x and y."""
    run = InterpretedFunction.run
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def watched_run(kernel, rows, y, *args, **kwargs):
        def watched_load(builder, pointers, mask, *rest):
            assert contains(rows, pointers.data[mask.data]), "read outside of x"
            return load(builder, pointers, mask, *rest)

        def watched_store(builder, pointers, value, mask, *rest):
            assert contains(y, pointers.data[mask.data]), "wrote outside of y"
            return store(builder, pointers, value, mask, *rest)

        watched = {"create_masked_load": watched_load, "create_masked_store": watched_store}
        with mock.patch.multiple(InterpreterBuilder, **watched):
            run(kernel, rows, y, *args, **kwargs)

    with mock.patch.object(InterpretedFunction, "run", watched_run):
        return TRITON.prepare(case)(x)


@dataclass(frozen=True)
class Compiled:
    """What a launch would have run: Triton's IR, the GPU's assembly, and whether x was copied beforehand."""

    ir: str
    assembly: str
    copied: bool


def compile_for(target: str, case: Case, x: Tensor) -> Compiled:
    """Launch GAP of x on a GPU that is not there, up to the driver's call."""
    driver = SimpleNamespace(
        get_current_target=lambda: TARGETS[target],
        get_current_device=lambda: target,
        get_current_stream=lambda _device: 0,
    )
    launched = []
    run = JITFunction.run

    def compile_only(kernel, rows, *args, warmup, **kwargs):
        asm = run(kernel, rows, *args, warmup=True, **kwargs).asm
        assembly = asm["amdgcn"] if "amdgcn" in asm else asm["sass"]
        launched.append(Compiled(asm["ttir"], assembly, rows.data_ptr() != x.data_ptr()))

    triton.runtime.driver.set_active(driver)
    with mock.patch.object(JITFunction, "run", compile_only):
        TRITON.prepare(case)(x)
    return launched[0]


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


@pytest.fixture(scope="module")
def interpreted() -> Iterator[Callable[[Case, Tensor], Tensor]]:
    with fresh_process(TRITON_INTERPRET="1") as call:
        yield partial(call, interpret)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Iterator[Callable[[str, Case, Tensor], Compiled]]:
    cache = str(tmp_path_factory.mktemp("triton"))
    with fresh_process(TRITON_INTERPRET="0", TRITON_CACHE_DIR=cache) as call:
        yield partial(call, compile_for)


# results


@st.composite
def cases(draw) -> Case:
    """Draw a case of the kernel's corners that the interpreter, which is slow, does in about 0.1 s."""
    spatial = draw(st.lists(st.sampled_from([1, 2, 3, 5, 7, 16, 31, 63, 64, 65]), min_size=1, max_size=3))
    budget = 2**16 // math.prod(spatial)
    c = min(draw(st.sampled_from([1, 2, 3, 63, 64, 65, 131])), max(budget, 1))
    n = min(draw(st.sampled_from([1, 2, 5])), max(budget // c, 1))
    dtype, layout = draw(st.sampled_from(list(DTYPES))), draw(st.sampled_from(list(LAYOUTS)))
    return Case((n, c, *spatial), dtype=dtype, layout=layout)


@settings(max_examples=150, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32), offset=st.sampled_from([3.0, -50.0]))
def test_averages_every_shape_layout_and_dtype(interpreted, case, seed, offset):
    x = random_input(case, seed, offset)
    assert_averages(interpreted(case, x), x, case)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 67, 7, 7), (2, 5, 37, 31)], ids=["one tile", "looped"])
def test_averages_partial_tiles(interpreted, shape, layout):
    case = Case(shape, layout=layout)
    x = random_input(case)
    assert_averages(interpreted(case, x), x, case)


def test_averages_views_whose_spatial_dimensions_do_not_collapse(interpreted):
    case = Case((2, 3, 5, 4))
    x = random_input(Case((2, 3, 5, 8)))[..., ::2]
    assert_averages(interpreted(case, x), x, case)


def test_averages_expanded_views(interpreted):
    case = Case((4, 6, 5, 5))
    for shape in [(4, 1, 5, 5), (1, 6, 5, 5), (4, 6, 1, 1)]:
        x = random_input(Case(shape)).expand(case.shape)
        assert_averages(interpreted(case, x), x, case)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_float16_sums_beyond_its_range(interpreted, layout):
    case = Case((1, 3, 64, 64), dtype="float16", layout=layout)
    x = laid_out(torch.full(case.shape, 40.0, dtype=torch.float16), layout)
    assert (interpreted(case, x) == 40).all()


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spatial", [(7, 7), (37, 31)], ids=["one tile", "looped"])
def test_nan_and_infinity_stay_in_their_channel(interpreted, spatial, layout, poison):
    case = Case((2, 5, *spatial), layout=layout)
    x = random_input(case)
    x[1, 2, 3, 4] = poison
    y = interpreted(case, x).flatten()
    torch.testing.assert_close(y[7], torch.tensor(poison), equal_nan=True)
    assert y.isfinite().sum() == 9


@pytest.mark.parametrize("shape", [(0, 3, 7, 7), (2, 0, 7), (0, 0, 1, 1, 1)])
def test_nothing_averages_to_nothing(interpreted, shape):
    case = Case(shape)
    assert_averages(interpreted(case, torch.ones(shape)), torch.ones(shape), case)


def test_empty_windows_average_to_nan_like_mean(interpreted):
    case = Case((2, 3, 0, 7), dtype="float16")
    y = interpreted(case, torch.ones(case.shape, dtype=torch.float16))
    assert y.shape == (2, 3, 1, 1)
    assert y.dtype == torch.float16
    assert y.isnan().all()


# machine code


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_every_layout_where_it_lies(compiled, layout):
    for shape in [(2, 5, 7), (2, 5, 7, 3), (2, 5, 7, 3, 2)]:
        case = Case(shape, layout=layout)
        assert not compiled("sm_90", case, random_input(case)).copied


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spatial", [(7, 7), (56, 56)], ids=["one tile", "looped"])
def test_offsets_are_64_bit_from_the_first_product_on(compiled, spatial, layout):
    """2^31 elements do not fit everywhere; a 32-bit product would show in Triton's IR all the same."""
    case = Case((3, 5, *spatial), layout=layout)
    ir = compiled("sm_90", case, random_input(case)).ir
    products = re.findall(r"arith\.muli .* : (.+) loc", ir)
    offsets = re.findall(r"tt\.addptr .* : [^,]+, (.+) loc", ir)
    assert products
    assert offsets
    assert [kind for kind in products + offsets if not re.fullmatch(r"(tensor<[\dx]+x)?i64>?", kind)] == []


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("spatial", [(7, 7), (56, 56)], ids=["one tile", "looped"])
def test_spills_no_registers(compiled, spatial, layout, dtype, target):
    case = Case((2, 512, *spatial), dtype=dtype, layout=layout)
    assembly = compiled(target, case, random_input(case)).assembly
    if target == "gfx942":
        assert re.findall(r"\.[sv]gpr_spill_count: *(\d+)", assembly) == ["0", "0"]
    else:
        assert "LDG" in assembly
        assert not re.search(r"\b(LDL|STL)\b", assembly)


@pytest.mark.parametrize(("target", "load"), [("sm_90", "LDG.E.128"), ("gfx942", "load_dwordx4")])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_aligned_inputs_are_read_128_bits_at_a_time(compiled, layout, target, load):
    case = Case((2, 512, 56, 56), dtype="float16", layout=layout)
    assert load in compiled(target, case, random_input(case)).assembly


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes_and_strides_of_one_compile(compiled, layout, target):
    """Triton turns arguments of 1 into constants, which the interpreter does not."""
    for shape in [(1, 1, 1), (1, 3, 1), (1, 1, 45, 45)]:
        case = Case(shape, layout=layout)
        compiled(target, case, random_input(case))


# where it cannot run


def test_says_why_it_cannot_run_and_what_to_do():
    gpu = partial(Case, (2, 3, 7, 7), device="cuda:0")
    assert "need a GPU" in TRITON.unsupported(Case((2, 3, 7, 7)))
    assert "backward" in TRITON.unsupported(gpu(pass_="backward"))
    assert TRITON.unsupported(gpu()) is None


def test_imports_without_triton(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    module = runpy.run_path(gapbench.implementations.triton.__file__)
    assert "pip install 'gapbench[triton]'" in module["TRITON"].unsupported(Case((2, 3, 7, 7), device="cuda"))
