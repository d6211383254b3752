"""The choice among plans, without a GPU: times are scripted, the memory is real."""

import pytest
import torch
from triton.runtime.errors import OutOfResources

from gapbench.implementations.triton import dispatch
from gapbench.implementations.triton.plans import Chip, Plan

PLANS = [Plan("column", 64, 32, 4), Plan("column", 32, 64, 4), Plan("row_persistent", 4, 64, 1)]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def test_takes_the_fastest_and_of_equals_the_first():
    times = dict(zip(PLANS, [3.0, 1.0, 2.0], strict=True))
    assert dispatch.choose(PLANS, times.__getitem__, dispatch.Memory(PLANS, CPU, "a")) == PLANS[1]
    assert dispatch.choose(PLANS, lambda _: 1.0, dispatch.Memory(PLANS, CPU, "b")) == PLANS[0]


def test_the_first_is_left_only_for_one_that_is_clearly_faster():
    """Times are noisy, and another choice in another process looks like a change of the code."""
    for seconds, chosen in ((0.98, PLANS[0]), (0.96, PLANS[1])):
        times = dict(zip(PLANS, [1.0, seconds, 1.0], strict=True))
        assert dispatch.choose(PLANS, times.__getitem__, dispatch.Memory(PLANS, CPU, seconds)) == chosen


def test_times_once_and_remembers():
    assert dispatch.Memory(PLANS, CPU, "a").recall() is None
    dispatch.Memory(PLANS, CPU, "a").remember(PLANS[2])
    untimed = dispatch.choose(PLANS, lambda _: pytest.fail("timed again"), dispatch.Memory(PLANS, CPU, "a"))
    assert untimed == PLANS[2]


def test_does_not_time_the_only_plan():
    memory = dispatch.Memory(PLANS[:1], CPU)
    assert dispatch.choose(PLANS[:1], lambda _: pytest.fail("timed"), memory) == PLANS[0]
    assert memory.recall() is None


def test_another_workload_list_of_plans_or_kernel_is_another_memory(monkeypatch, tmp_path):
    dispatch.Memory(PLANS, CPU, "a").remember(PLANS[2])
    assert dispatch.Memory(PLANS, CPU, "b").recall() is None
    assert dispatch.Memory(PLANS[::-1], CPU, "a").recall() is None
    assert dispatch.Memory(PLANS, torch.device("xpu"), "a").recall() is None
    changed = tmp_path / "kernels.py"
    changed.write_text("# another kernel")
    monkeypatch.setattr(dispatch.kernels, "__file__", str(changed))
    assert dispatch.Memory(PLANS, CPU, "a").recall() is None


def test_a_tile_that_the_gpu_cannot_hold_is_infinitely_slow(monkeypatch):
    def too_large(call, **_):
        raise OutOfResources(300_000, 232_448, "shared memory")

    monkeypatch.setattr(dispatch.triton.testing, "do_bench", too_large)
    assert dispatch.milliseconds(lambda: None) == float("inf")


def test_knows_no_chip_where_torch_describes_none():
    assert dispatch.chip_of("cpu") == dispatch.chip_of("xpu:0") == Chip()
