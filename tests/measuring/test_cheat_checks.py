import threading
import time

import pytest
import torch

from gapbench.measuring import cheat_checks
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case
from gapbench.workloads.inputs import GuardedTensor


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
    assert cheat_checks.off_thread_work(busy, Case((1, 1, 1))) is None


def test_work_on_another_thread_is_told_with_its_share_and_the_remedy():
    reason = cheat_checks.off_thread_work(busy_elsewhere, Case((1, 1, 1)))
    assert "on threads other than" in reason
    assert "--threads" in reason


class Counters:
    """The system's counters of processor time in virtual time: ``elsewhere`` says what share of a watch is not ours."""

    def __init__(self, monkeypatch, elsewhere):
        self.now, self.caller, self.process = 0.0, 0, 0
        self.watches, self._elsewhere = 0, elsewhere
        monkeypatch.setattr(cheat_checks, "_perf_counter", lambda: self.now)
        monkeypatch.setattr(cheat_checks, "_thread_time_ns", lambda: self.caller)
        monkeypatch.setattr(cheat_checks, "_process_time_ns", self.begin_or_end)

    def begin_or_end(self):
        self.watches += 0.5  # read at the beginning and at the end
        return self.process

    def call(self):
        share = self._elsewhere[int(self.watches)]
        self.now += 1e-3
        self.process += 1_000_000
        self.caller += int(1_000_000 * (1 - share))


@pytest.mark.parametrize("noisy", range(3))
@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_one_quiet_watch_acquits(monkeypatch, noisy, share):
    """The counters are read one after the other, and a busy machine may come between: for 10 ms, not always."""
    counters = Counters(monkeypatch, [share] * noisy + [0.05] * 3)
    assert cheat_checks.off_thread_work(counters.call, Case((1, 1, 1))) is None
    assert counters.watches == min(noisy, 2) + 1


@pytest.mark.parametrize("shares", [[0.2, 0.9, 0.5], [0.11] * 3, [1.0] * 3])
def test_who_works_elsewhere_in_every_watch_is_told_the_least_of_it(monkeypatch, shares):
    counters = Counters(monkeypatch, shares)
    reason = cheat_checks.off_thread_work(counters.call, Case((1, 1, 1)))
    assert reason.startswith(f"{min(shares):.0%} of its processor time")
    assert counters.watches == 3


def test_counters_that_stand_still_accuse_nobody(monkeypatch):
    counters = Counters(monkeypatch, [1.0] * 3)

    def call():
        counters.now += 1e-3

    assert cheat_checks.off_thread_work(call, Case((1, 1, 1))) is None


def test_a_case_with_several_threads_may_use_them():
    assert cheat_checks.off_thread_work(busy_elsewhere, Case((1, 1, 1), threads=2)) is None


def test_autograd_may_launch_from_a_thread_of_its_own_on_an_accelerator():
    assert cheat_checks.off_thread_work(busy_elsewhere, Case((1, 1, 1), device="cuda:0", pass_="backward")) is None


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (time, "perf_counter"), (time, "perf_counter_ns"), (time, "monotonic"), (time, "time"), (torch, "equal"),
        (torch, "allclose"), (torch, "Event"), (torch.cuda.Event, "elapsed_time"), (torch.Tensor, "double"),
        (torch.Tensor, "__eq__"), (oracle, "tolerance"), (cheat_checks, "off_thread_work"),
        (inputs.GuardedTensor, "__bool__"),
    ],
)  # fmt: skip
def test_what_was_replaced_of_clocks_and_comparisons_is_named_and_put_back(monkeypatch, owner, name):
    cheat_checks.remember()
    assert cheat_checks.replaced() is None
    genuine = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *_: True)
    assert f"replaces {owner.__name__}.{name};" in cheat_checks.replaced()
    assert getattr(owner, name) is genuine
    assert cheat_checks.replaced() is None


def test_untouched_notices_restores_and_replaces():
    tensor = torch.arange(4.0)
    watched = GuardedTensor(tensor)
    assert watched
    tensor[2] = 7
    assert not watched
    watched.restore()
    assert watched
    assert tensor.tolist() == [0, 1, 2, 3]
    position = tensor.data_ptr()
    watched.replace(torch.ones(4))
    assert watched
    assert tensor.tolist() == [1, 1, 1, 1]
    assert tensor.data_ptr() == position


def test_replacing_is_not_noticed_by_a_recorded_graph():
    x = torch.ones(3, requires_grad=True)
    y = (x * x).sum()
    GuardedTensor(x.detach()).replace(torch.full((3,), 2.0))
    (grad,) = torch.autograd.grad(y, x)
    assert grad.tolist() == [4, 4, 4]
