"""What a process loads for one case, and what it makes of those that cannot be loaded."""

import os
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import psutil
import pytest
import torch

from gapbench.measuring import prepared
from gapbench.measuring.prepared import RejectedError
from gapbench.workloads.cases import Case

CASE = Case((2, 8, 6, 6))


def test_everyone_is_called_once_and_nobody_runs_at_the_end(load):
    loaded, reply, current = load("mean", "sum_scale", "adaptive")
    assert set(loaded.contenders) == set(reply.first_call) == {0, 1, 2}
    assert all(seconds > 0 for seconds in reply.first_call.values())
    assert (reply.rejected, reply.conflict, current.get()) == ({}, None, None)


def test_only_those_asked_for_are_loaded_under_their_own_index(load):
    loaded, reply, _ = load("mean", "sum_scale", "adaptive", contenders=(2,))
    assert set(loaded.contenders) == set(reply.first_call) == {2}


def test_who_cannot_be_loaded_is_rejected_with_a_reason_and_the_rest_is_loaded(load, user_file):
    specs = ("mean", user_file("raises"), user_file("missing"), "triton", "no_such_name", user_file("stops_the_clock"))
    loaded, reply, _ = load(*specs)
    assert set(loaded.contenders) == {0}
    statuses = {index: status for index, (status, _) in reply.rejected.items()}
    assert statuses == {1: "failed", 2: "failed", 3: "unsupported", 4: "unsupported", 5: "failed"}
    for index, words in {
        1: "ValueError: no good",
        2: "no function",
        4: "in this checkout",
        5: "replaces time.",
    }.items():
        assert words in reply.rejected[index][1]


def test_a_process_with_another_thread_cannot_be_forked(load):
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert load("mean")[1].forkable is False
    finally:
        stop.set()
        thread.join()


HELD = {"nobody holds": 0, "others hold half": 40 * 2**30, "others hold": 80 * 2**30}


@pytest.mark.parametrize("held", HELD)
def test_a_device_that_others_fill_is_told_with_its_free_bytes_and_their_names(bench, monkeypatch, held):
    made = bench()
    made.simulated.held_by_others = HELD[held]
    gpu = SimpleNamespace(other_processes=lambda: [os.getppid()])
    monkeypatch.setattr(prepared, "device", lambda name: made.accelerator)
    monkeypatch.setattr(prepared.nvml, "opened", lambda *_: nullcontext(gpu))
    monkeypatch.setattr(prepared.host, "process", "{} (train)".format)
    if held != "others hold":
        prepared.make_ready(ON_DEVICE)
        return
    with pytest.raises(RejectedError) as refused:
        prepared.make_ready(ON_DEVICE)
    assert prepared.status_of(refused.value, ON_DEVICE) == (
        "oom",
        "the device's memory is full: 0 bytes are free of 83,890,688 that are needed, and other processes hold the "
        f"rest ({os.getppid()} (train)); end them, or choose another --device",
    )


ON_DEVICE = Case((2, 8, 12, 6), device="cuda:0", dtype="float16")


def test_a_device_that_has_no_room_for_a_context_is_full(bench, monkeypatch):
    def no_context(index):
        raise RuntimeError("CUDA error: out of memory")

    made = bench()
    monkeypatch.setattr(made.runtime.accelerator, "set_device_index", no_context)
    monkeypatch.setattr(prepared, "device", lambda name: made.accelerator)
    with pytest.raises(RejectedError, match=r"is full: 0 bytes are free .* \(nvidia-smi lists them\)"):
        prepared.make_ready(ON_DEVICE)


def test_a_device_that_does_not_tell_its_memory_or_is_too_small_is_tried(bench, monkeypatch):
    made = bench()
    monkeypatch.setattr(prepared, "device", lambda name: made.accelerator)
    prepared.make_ready(Case((2**20, 2**10, 12, 6), device="cuda:0"))
    monkeypatch.delattr(made.runtime.accelerator, "get_memory_info")
    prepared.make_ready(ON_DEVICE)


def test_the_noise_is_the_processs_and_the_rows_means_are_the_rounds(load):
    first, other = load("mean", seed=1)[0], load("mean", seed=2)[0]
    assert torch.equal(first.sample(5), first.sample(5))
    assert not torch.equal(first.sample(5), first.sample(6))
    difference = first.sample(5) - other.sample(5)
    assert torch.allclose(first.sample(5) - first.sample(6), other.sample(5) - other.sample(6), atol=1e-5)
    assert difference.abs().max() > 0.1


def test_a_case_that_would_not_fit_the_memory_is_not_begun(load, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(MemoryError, match="1,000 are available"):
        load("mean")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (RejectedError("unsupported", "needs a GPU"), "unsupported", "needs a GPU"),
        (RejectedError("failed", "ran eagerly"), "failed", "ran eagerly"),
        (MemoryError("too much"), "oom", "choose a smaller one (MemoryError: too much)"),
        (torch.OutOfMemoryError("CUDA out of memory"), "oom", "choose a smaller one"),
        (ValueError("no good\nsecond line"), "failed", "raised ValueError: no good"),
        (KeyError(), "failed", "raised KeyError"),
    ],
)
def test_exceptions_become_statuses_with_one_line(error, status, words):
    result, reason = prepared.status_of(error, CASE)
    assert result == status
    assert words in reason
    assert "\n" not in reason
