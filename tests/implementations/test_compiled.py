"""The modes of torch.compile, and what Inductor made of each spelling, by real compilations for the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from strategies import expected_output, upstream
from torch._dynamo.utils import counters

from gapbench.implementations import base, compiled, inductor
from gapbench.implementations.compiled import COMPILED, MODES
from gapbench.operations import builtin
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import make_call

torch.set_num_threads(1)

GENERATED = "Inductor generated 1 kernel"
STRIDE1 = compiled.compiled(builtin("avg_pool_stride1"), MODES[0])
"""No implementation of its own: it is how Inductor is made to fall back."""

GPU_ONLY = ["reduce_overhead", "max_autotune_graphs"]


def code_path_of(implementation, case):
    """Return what the implementation says of itself after one call."""
    function = implementation.prepare(case)
    make_call(case, function, inputs.sample(case, 0), upstream(case, 0))()
    return implementation.code_path(function)


# modes


def test_the_modes_and_their_spellings():
    four = ["mean", "adaptive", "avg_pool", "sum_scale"]
    on_every = ["max_autotune", "reduce_overhead", "dynamic"]
    variants = {f"compiled_{name}_{mode}": f"compiled_{name}" for name in four for mode in on_every}
    variants["compiled_mean_max_autotune_graphs"] = "compiled_mean"
    defaults = {f"compiled_{name}": None for name in four}
    assert {implementation.name: implementation.variant_of for implementation in COMPILED} == defaults | variants


def test_modes_for_gpus_say_so_on_the_cpu():
    for implementation in COMPILED:
        gpu_only = implementation.name.endswith(tuple(GPU_ONLY))
        assert ("choose a GPU" in (implementation.unsupported(Case((2, 9, 7, 7))) or "")) == gpu_only
        assert implementation.unsupported(Case((2, 9, 7, 7), device="cuda")) is None


def test_backward_where_it_cannot_be_repeated_says_so():
    backward = Case((2, 9, 7, 7), device="cuda", pass_="backward")
    unsupported = {implementation.name for implementation in COMPILED if implementation.unsupported(backward)}
    replayed = {f"compiled_{name}_reduce_overhead" for name in ("mean", "adaptive", "avg_pool", "sum_scale")}
    assert unsupported == {*replayed, "compiled_mean_max_autotune_graphs", "compiled_sum_scale_dynamic"}


def test_a_gradient_of_sum_scale_with_open_sizes_indeed_cannot_be_computed_twice():
    case = Case((2, 9, 7, 7), pass_="backward")
    function = builtin("compiled_sum_scale_dynamic").prepare(case)
    with pytest.raises(RuntimeError, match="donated"):
        make_call(case, function, inputs.sample(case, 0), upstream(case, 0))()


@pytest.mark.parametrize("mode", GPU_ONLY)
def test_modes_for_gpus_are_known_to_this_torch_and_compute(mode):
    """For the CPU these modes generate what the default does; torch refuses names that it does not know."""
    case = Case((2, 9, 7, 7))
    implementation = builtin(f"compiled_mean_{mode}")
    function = implementation.prepare(case)
    x = inputs.sample(case, 0)
    assert oracle.judge(case, function(x), expected_output(case, x)).reason is None
    assert implementation.proof() is None
    assert implementation.code_path(function) == GENERATED


def test_a_replayed_output_belongs_to_its_caller():
    graph_memory = torch.zeros(3)

    def replayed(x):
        return graph_memory.copy_(x)

    function = compiled._owning(replayed)
    first = function(torch.ones(3))
    function(torch.full((3,), 2.0))
    assert first.equal(torch.ones(3))


def test_dynamic_compiles_once_for_all_sizes_and_the_default_once_for_each():
    for name, graphs in (("compiled_mean_dynamic", 1), ("compiled_mean", 2)):
        function = builtin(name).prepare(Case((2, 9, 7, 7)))
        for shape in [(2, 9, 7, 7), (3, 5, 11, 11)]:  # square again: equal sizes are taken to stay equal
            x = torch.randn(shape)
            torch.testing.assert_close(function(x), x.mean((2, 3), keepdim=True))
        assert counters["stats"]["unique_graphs"] == graphs


def test_many_cases_of_one_spelling_in_one_process_stay_compiled():
    """Dynamo gives a code object up after 8 compilations."""
    for size in range(6, 16):
        case = Case((1, 1, size, size))
        assert code_path_of(STRIDE1, case) == "Inductor fell back to aten.avg_pool2d"
        assert STRIDE1.proof() is None


# evidence


def test_nothing_is_told_before_anything_was_compiled():
    assert inductor.code_path(builtin("compiled_mean").prepare(Case((2, 9, 7, 7)))) is None


@pytest.mark.parametrize("name", ["mean", "adaptive", "avg_pool", "sum_scale"])
@pytest.mark.parametrize("mode", ["", "_max_autotune", "_dynamic"])
def test_code_is_generated_for_every_spelling(name, mode):
    assert code_path_of(builtin(f"compiled_{name}{mode}"), Case((2, 9, 7, 7))) == GENERATED


def test_avg_pool_with_stride_1_falls_back_above_a_window_of_25():
    pool2d, pool3d = "Inductor fell back to aten.avg_pool2d", "Inductor fell back to aten.avg_pool3d"
    assert code_path_of(STRIDE1, Case((2, 9, 5, 5))) == GENERATED
    assert code_path_of(STRIDE1, Case((2, 9, 2, 13))) == pool2d
    assert code_path_of(STRIDE1, Case((2, 9, 63))) == pool2d
    assert code_path_of(STRIDE1, Case((1, 3, 4, 4, 4))) == pool3d


def test_the_backward_pass_has_a_path_of_its_own():
    flat, deep = Case((2, 9, 7, 7), pass_="backward"), Case((1, 3, 4, 4, 4), pass_="backward")
    assert code_path_of(builtin("compiled_avg_pool"), flat) == f"forward: {GENERATED}; backward: {GENERATED}"
    assert code_path_of(STRIDE1, flat) == (
        "forward: Inductor fell back to aten.avg_pool2d; backward: Inductor fell back to aten.avg_pool2d_backward"
    )
    assert code_path_of(STRIDE1, deep) == f"forward: Inductor fell back to aten.avg_pool3d; backward: {GENERATED}"


def test_each_function_is_told_of_its_own_code_in_a_process_of_many():
    case = Case((2, 9, 7, 7))
    functions = [
        implementation.prepare(case)
        for implementation in (STRIDE1, builtin("compiled_mean"), STRIDE1, builtin("compiled_adaptive"))
    ]
    for function in functions:
        function(inputs.sample(case, 0))
    paths = [inductor.code_path(function) for function in functions]
    assert paths == ["Inductor fell back to aten.avg_pool2d", GENERATED] * 2


def test_evidence_is_the_same_when_inductors_cache_on_disk_already_has_the_code(tmp_path):
    code = """
import json, torch
from torch._dynamo.utils import counters
torch.set_num_threads(1)
from test_compiled import STRIDE1, Case, builtin, code_path_of
said = []
for one in (builtin("compiled_avg_pool"), STRIDE1):
    for pass_ in ("forward", "backward"):
        said.append(code_path_of(one, Case((2, 9, 7, 7), pass_=pass_)))
        found = counters["inductor"]
        said.append([found["fxgraph_cache_miss"] > 0, found["fxgraph_cache_hit"] > 0, found["extern_calls"] > 0])
print(json.dumps(said))
"""
    environment = {
        **os.environ,
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    first, second = (json.loads(run.stdout) for run in runs)
    fell_back = "Inductor fell back to aten.avg_pool2d"
    expected = [GENERATED, f"forward: {GENERATED}; backward: {GENERATED}"]
    expected += [fell_back, f"forward: {fell_back}; backward: {fell_back}_backward"]
    assert first[::2] == second[::2] == expected
    fallbacks = [False, False, True, True]  # Inductor's own counter, which says how many, but not of what
    assert first[1::2] == [[True, False, any_] for any_ in fallbacks]
    assert second[1::2] == [[False, True, any_] for any_ in fallbacks]


def test_wrappers_for_gpus_are_read_as_well():
    """By hand, after what Inductor writes: comments cite operators, definitions come one a kernel."""
    wrapper = """
# Original ATen: [aten.mean]
#   %mean : [num_users=1] = call_function[target=torch.ops.aten.mean.dim](args = (%arg0_1, [2, 3], True))
alloc_from_pool = torch.ops.inductor._alloc_from_pool
triton_red_fused_mean_0 = async_compile.triton('triton_red_fused_mean_0', '''
    tl.store(out_ptr0 + (x0), tmp2, None)
''', device_str='cuda')
triton_per_fused_mean_1 = async_compile.triton('triton_per_fused_mean_1', ''' ''', device_str='cuda')
async_compile.wait(globals())
"""
    assert inductor._describe([wrapper]) == "Inductor generated 2 kernels"
    calls = "    extern_kernels.mm(a, b, out=buf0)\n    buf1 = torch.ops.aten.avg_pool2d.default(buf0, [7, 7])\n"
    assert inductor._describe([calls]) == "Inductor fell back to aten.mm, aten.avg_pool2d"
    assert (
        inductor._describe([wrapper, calls]) == "Inductor generated 2 kernels and fell back to aten.mm, aten.avg_pool2d"
    )


@pytest.mark.parametrize(
    ("found", "header", "remedy"),
    [(None, "/usr/include", "install gcc"), ("/usr/bin/gcc", "/nowhere", "/nowhere/Python.h; install python3-dev")],
)
def test_without_what_launchers_are_built_with_gpus_run_neither_inductors_nor_our_kernels(
    monkeypatch, found, header, remedy
):
    """In images without development tools every compiled row was "failed", with exit code 3."""
    monkeypatch.setattr(base.shutil, "which", lambda _program: found)
    monkeypatch.setattr(base.sysconfig, "get_path", lambda _name: header)
    case = Case((1, 8, 4, 4), device="cuda:0")
    for name in ("compiled_mean", "triton"):
        assert remedy in builtin(name).unsupported_reason(case)
    assert builtin("mean").unsupported_reason(case) is None
