"""The code that launches would run, compiled for GPUs that are not there."""

import re

import compiling
import pytest
import torch
from test_kernels import plans_for

from gapbench.implementations.triton.plans import FORWARD, Chip
from gapbench.workloads import inputs
from gapbench.workloads.cases import LAYOUTS, Case

CASES = {
    "row_persistent": Case((8, 512, 28, 28)),
    "row_looped": Case((3, 5, 56, 56)),
    "column": Case((2, 512, 5, 5), layout="channels_last"),
    "split_two_pass": Case((2, 64, 20, 20), layout="channels_last"),
    "split_single_pass": Case((2, 64, 20, 20), layout="channels_last"),
    "flat": Case((2, 512, 7, 7)),
}


@pytest.mark.parametrize("kernel", FORWARD)
def test_offsets_are_64_bit_from_the_first_product_on(compiled, kernel):
    """2^31 elements do not fit everywhere; a 32-bit product would show in Triton's IR all the same."""
    case = CASES[kernel]
    for launch in compiled(compiling.compile_for, "sm_90", inputs.sample(case, 0), *plans_for(case, kernel)):
        # Within a flat stretch, which is a tile of some thousand elements, places are 32-bit; its start is not.
        ir = launch.ir
        scalar = r"(i64)" if "flat" in launch.kernel else r"((?:tensor<[\dx]+x)?i64>?)"
        products = re.findall(r"arith\.muli .* : (.+) loc", ir)
        offsets = re.findall(r"tt\.addptr .* : ([^,]+), (.+) loc", ir)
        if "flat" in launch.kernel:
            products = [kind for kind in products if not kind.startswith("tensor")]
            offsets = [(pointer, kind) for pointer, kind in offsets if not pointer.startswith("tensor")]
        assert products, launch.kernel
        assert offsets, launch.kernel
        assert [kind for kind in products if not re.fullmatch(scalar, kind)] == []
        assert [kind for _, kind in offsets if not re.fullmatch(scalar, kind)] == []


@pytest.mark.parametrize(("target", "load"), [("sm_90", "ld.global.v4.b32"), ("gfx942", "load_dwordx4")])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_aligned_inputs_are_read_128_bits_at_a_time(compiled, layout, target, load):
    case = Case((2, 512, 56, 56), dtype="float16", layout=layout)
    chip = Chip(lanes=compiling.TARGETS[target].warp_size)
    forward, *_ = compiled(compiling.compile_for, target, inputs.sample(case, 0), *plans_for(case, None, chip))
    assert load in forward.assembly


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sizes_and_strides_of_one_compile(compiled, layout, target):
    """Triton turns arguments of 1 into constants, which the interpreter does not."""
    for shape in [(1, 1, 1), (1, 3, 1), (1, 1, 45, 45)]:
        case = Case(shape, layout=layout)
        assert compiled(compiling.compile_for, target, inputs.sample(case, 0), *plans_for(case, None))


IN_ORDER = {
    # this program's sums, all threads, release and acquire, all threads, everyone's sums past the first-level cache
    "sm_90": ["st.global", "bar.sync", "atom.global.gpu.acq_rel", "bar.sync", "ld.global.cg"],
    "gfx942": [
        "store_dword",
        "s_barrier",
        "buffer_wbl2 sc1",
        "global_atomic_add",
        "buffer_inv sc1",
        "load_dword.* sc0",
    ],
}


@pytest.mark.parametrize("target", IN_ORDER)
def test_the_last_program_reads_partial_sums_only_after_all_others_wrote_them(compiled, target):
    """No interpreter can show a race; the instructions that forbid it can be seen."""
    case = Case((1, 256, 200, 336), dtype="float16")
    chip = Chip(lanes=compiling.TARGETS[target].warp_size)
    x = torch.empty(case.shape, dtype=torch.float16)
    first, _ = compiled(compiling.compile_for, target, x, *plans_for(case, "split_single_pass", chip))
    assert first.kernel == "single_pass_kernel"
    assert re.search(".*?".join(IN_ORDER[target]), first.assembly, re.DOTALL)


def test_a_kernel_with_its_axes_swapped_is_the_same_machine_code(compiled):
    """Which is why rows and columns share one kernel."""
    for case in (CASES["column"], CASES["row_persistent"]):
        kernel = "column" if case.layout == "channels_last" else "row_persistent"
        ours, swapped = compiled(compiling.beside_swapped, case, *plans_for(case, kernel))
        assert len(ours) > 20
        assert ours == swapped
