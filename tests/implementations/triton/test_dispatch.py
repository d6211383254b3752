"""The implementations as the rest of gapbench uses them."""

import re
import subprocess
import sys
from functools import partial

import compiling
import interpreting
import pytest
import torch
from strategies import AVERAGING

from gapbench.implementations.triton import TRITON
from gapbench.operations import builtin
from gapbench.workloads.cases import LAYOUTS, Case

NAMES = [implementation.name for implementation in TRITON]
HEAD = Case((8, 2048, 7, 7), device="cuda")


def test_one_dispatcher_and_its_kernels_as_variants():
    dispatcher, *variants = TRITON
    assert dispatcher.name == "triton"
    assert dispatcher.variant_of is None
    assert [implementation.name for implementation in variants] == [
        "triton_row_persistent",
        "triton_row_looped",
        "triton_column",
        "triton_split_two_pass",
        "triton_split_single_pass",
        "triton_flat",
    ]
    assert {implementation.variant_of for implementation in variants} == {"triton"}
    assert all(implementation.differentiable for implementation in TRITON)


@pytest.mark.parametrize("pass_", AVERAGING)
@pytest.mark.parametrize("name", NAMES)
def test_is_right_as_prepared_and_tells_which_code_ran(interpreted, name, pass_):
    windows = {"triton_row_looped": (33, 37), "triton_split_two_pass": (20, 20), "triton_split_single_pass": (20, 20)}
    case = Case((2, 9, *windows.get(name, (7, 7))), pass_=pass_)
    reason, path = interpreted(interpreting.judge_prepared, name, case)
    assert reason is None
    forward, backward = path.split("; ") if pass_ == "training" else (path, path)
    assert re.fullmatch(r"\w+ BLOCK_C=\d+ BLOCK_R=\d+( PARTS=\d+)?, \d+ warps?", forward)
    if pass_ != "forward":
        assert backward.startswith("spread_")
    if pass_ != "backward" and name != "triton":
        assert forward.startswith(name.removeprefix("triton_"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_element_and_empty_windows(interpreted, layout):
    for shape in [(1, 1, 1), (3, 5, 1, 1), (0, 3, 7), (2, 0, 5, 5)]:
        for pass_ in AVERAGING:
            assert (
                interpreted(interpreting.judge_prepared, "triton", Case(shape, layout=layout, pass_=pass_))[0] is None
            )


@pytest.mark.parametrize("name", ["triton", "triton_split_single_pass"])
def test_a_prepared_function_compiles_in_one_graph(compiled, name):
    y, expected = compiled(compiling.compile_prepared, name, Case((2, 5, 20, 20)))
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("pass_", ["forward", "backward"])
def test_the_first_call_times_every_plan_and_the_fastest_is_remembered(interpreted, pass_):
    case = Case((3, 40, 7, 7), pass_=pass_)
    times = [5.0, 3.0, 4.0, 2.0, 6.0, 7.0, 8.0, 9.0, 9.0, 9.0]
    before, after, timed = interpreted(interpreting.tune, case, times)
    assert 4 <= timed <= len(times)
    assert after != before


# where it cannot run


def test_says_why_it_cannot_run_and_what_to_do():
    for implementation in TRITON:
        reason = implementation.unsupported(Case((2, 3, 7, 7)))
        assert reason == "triton kernels need a GPU; this case is on the CPU, choose a GPU such as --device cuda"
    assert builtin("triton").unsupported(HEAD) is None


@pytest.mark.parametrize(
    ("name", "shape", "layout", "says"),
    [
        ("triton_row_persistent", (2, 3, 33, 32), "contiguous", "a window of 1056 positions is over the 1024"),
        ("triton_row_looped", (2, 3, 7, 7), "contiguous", "fits one tile without a loop; use triton_row_persistent"),
        ("triton_split_two_pass", (2, 3, 15), "contiguous", "a window of 15 positions is too short to split"),
        ("triton_split_single_pass", (2, 3, 3), "permuted", "a window of 3 positions is too short to split"),
        ("triton_flat", (2, 3, 7, 7), "channels_last", "not adjacent in memory; use triton_column"),
        ("triton_flat", (2, 3, 56, 56), "contiguous", "rows of 3136 positions are not the 1 to 512"),
        ("triton_flat", (2, 3, 0), "contiguous", "rows of 0 positions"),
    ],
)
def test_a_kernel_by_itself_says_what_it_is_not_for(name, shape, layout, says):
    reason = builtin(name).unsupported(Case(shape, layout=layout, device="cuda"))
    assert says in reason
    assert re.search(r"(;|,) (use|install|choose|run) ", reason)


@pytest.mark.parametrize("name", NAMES)
def test_supports_what_it_is_for(name):
    gpu = partial(Case, device="cuda:0")
    cases = {
        "triton_row_looped": gpu((2, 3, 56, 56)),
        "triton_column": gpu((2, 64, 7, 7), layout="channels_last"),
        "triton_split_two_pass": gpu((1, 2048, 7, 7), layout="channels_last"),
        "triton_split_single_pass": gpu((1, 256, 200, 336), dtype="bfloat16"),
    }
    assert builtin(name).unsupported(cases.get(name, HEAD)) is None


def test_imports_without_triton():
    code = (
        "import sys; sys.modules['triton'] = None\n"
        "from gapbench.workloads.cases import Case\n"
        "from gapbench.operations import builtin\n"
        "print(builtin('triton_flat').unsupported(Case((2, 3, 7, 7), device='cuda')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "triton is not installed; run pip install 'gapbench[triton]'"
