import pytest
import torch

from gapbench.machine.devices import Cpu
from gapbench.measuring import probes
from gapbench.operations import builtin
from gapbench.workloads.cases import Case
from gapbench.workloads.passes import make_call

CASE = Case((2, 8, 16, 16), dtype="bfloat16")
INPUT_BYTES = 2 * 8 * 16 * 16 * 2


def footprint(name, case=CASE):
    x, gradient = torch.ones(case.shape, dtype=torch.bfloat16), torch.ones(2, 8, 1, 1, dtype=torch.bfloat16)
    return probes.footprint(make_call(case, builtin(name).prepare(case), x, gradient), Cpu())


def test_mean_of_bfloat16_on_a_cpu_copies_its_input_to_float32():
    assert footprint("mean").peak_extra_bytes >= 2 * INPUT_BYTES
    assert footprint("mean").operators > footprint("avg_pool").operators >= 1


def test_avg_pool_allocates_its_output_and_little_else():
    assert 2 * 8 * 2 <= footprint("avg_pool").peak_extra_bytes < INPUT_BYTES / 2


def test_allocations_that_were_freed_do_not_add_up():
    def call():
        for _ in range(5):
            torch.empty(1 << 20, dtype=torch.uint8)
        return torch.empty(1)

    assert (1 << 20) <= probes.footprint(call, Cpu()).peak_extra_bytes < (2 << 20)


@pytest.mark.parametrize(("name", "saves_input"), [("avg_pool", True), ("mean", False), ("sum_scale", False)])
def test_saved_bytes_are_the_input_or_next_to_nothing(name, saves_input):
    saved = probes.saved_bytes(CASE, builtin(name).prepare(CASE), torch.ones(CASE.shape, dtype=torch.bfloat16))
    assert saved == INPUT_BYTES if saves_input else saved < INPUT_BYTES / 10


def test_what_native_code_says_on_stderr_is_kept_from_the_terminal(capfd):
    footprint("mean")
    assert capfd.readouterr().err == ""


def test_a_heads_weights_are_not_saved_for_backward_but_there_anyway():
    case = Case((2, 3, 7, 7), operation="classifier_head")
    head = builtin("flatten_linear").prepare(case)
    assert probes.saved_bytes(case, head, torch.ones(case.shape)) == 2 * 3 * 49 * 4  # the input
