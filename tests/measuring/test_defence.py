import threading
import time

import pytest
import torch

from gapbench.measuring import defence


def busy(seconds=2e-3):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        torch.ones(64).sum()
    return torch.ones(1)


def busy_elsewhere():
    thread = threading.Thread(target=busy)
    thread.start()
    thread.join()
    return torch.ones(1)


def test_work_in_the_calling_thread_is_fine():
    assert defence.work_elsewhere(busy, threads=1) is None


def test_work_on_another_thread_is_told_with_its_share_and_the_remedy():
    reason = defence.work_elsewhere(busy_elsewhere, threads=1)
    assert "on other threads" in reason
    assert "--threads" in reason


def test_a_case_with_several_threads_may_use_them():
    assert defence.work_elsewhere(busy_elsewhere, threads=2) is None


@pytest.mark.parametrize("name", ["perf_counter", "perf_counter_ns", "monotonic", "time"])
def test_a_replaced_clock_is_named(monkeypatch, name):
    assert defence.replaced_clock() is None
    monkeypatch.setattr(time, name, lambda: 0)
    assert f"replaces time.{name}" in defence.replaced_clock()


def test_untouched_notices_restores_and_replaces():
    tensor = torch.arange(4.0)
    watched = defence.Untouched(tensor)
    assert watched
    tensor[2] = 7
    assert not watched
    watched.restore()
    assert watched
    assert tensor.tolist() == [0, 1, 2, 3]
    place = tensor.data_ptr()
    watched.replace(torch.ones(4))
    assert watched
    assert tensor.tolist() == [1, 1, 1, 1]
    assert tensor.data_ptr() == place


def test_replacing_is_not_noticed_by_a_recorded_graph():
    x = torch.ones(3, requires_grad=True)
    y = (x * x).sum()
    defence.Untouched(x.detach()).replace(torch.full((3,), 2.0))
    (grad,) = torch.autograd.grad(y, x)
    assert grad.tolist() == [4, 4, 4]
