"""Who may be timed, and what one call costs besides time."""

import pytest

from gapbench import operations
from gapbench.measuring import worker
from gapbench.store.records import Qualification
from gapbench.workloads.cases import Case

CASE = Case((2, 8, 6, 6))


@pytest.fixture
def judged(load, begun):
    """Return a function that judges specs: by contender, what the worker says and what the examiner found."""

    def run(*specs, indices=None, case=CASE):
        loaded, reply, current = load(*specs, case=case)
        assert not reply.rejected
        indices = range(len(specs)) if indices is None else indices
        examiner, parent = begun(loaded.task)
        claimed = {
            item.contender: item.qualification for item in worker.judge(loaded, indices, (0, 1), current, examiner)
        }
        results = {index: [] for index in claimed}
        for finding in (each for findings in parent.findings for each in findings.examined):
            results[finding.contender].append(finding)
        return claimed, results

    return run


def test_the_right_are_ok_and_what_a_call_costs_is_told(judged):
    claimed, results = judged("mean", "avg_pool", case=Case((2, 8, 16, 16), dtype="bfloat16"))
    assert {result.status for result in claimed.values()} == {"ok"}
    assert claimed[0].peak_extra_bytes > claimed[1].peak_extra_bytes > 0
    assert all(item.operators >= 1 and item.saved_bytes >= 0 for item in claimed.values())
    assert claimed[0].compile_seconds is None
    for findings in results.values():
        assert {finding.reason for finding in findings} == {None}
        assert 0 <= findings[0].max_error < 1e-2


def test_judging_ends_with_the_first_that_is_not_ok(judged, user_file):
    """It may have changed the process: the others are judged in another one."""
    claimed, results = judged("mean", user_file("wrong_dtype"), "sum_scale")
    assert list(claimed) == [0, 1]
    assert claimed[1] == Qualification("wrong", "returned float64, expected float32")
    assert [result.reason for result in results[1]] == ["returned float64, expected float32"]


def test_those_are_judged_that_were_asked_for_in_their_order(judged):
    assert list(judged("mean", "sum_scale", "adaptive", indices=[2, 0])[0]) == [2, 0]


def test_each_operation_is_judged_by_its_own_truth(judged):
    case = Case((2, 8, 6, 6), operation="pooling")
    claimed, _ = judged("global_average", "global_max", "max_2x2", case=case)
    assert {result.status for result in claimed.values()} == {"ok"}


@pytest.mark.parametrize("pass_", ["forward", "backward", "update", "training"])
def test_heads_are_judged_in_every_pass(judged, pass_):
    case = Case((2, 8, 6, 6), operation="classifier_head", pass_=pass_)
    claimed, results = judged("gap_linear", case=case)
    assert (claimed[0].status, claimed[0].parameters) == ("ok", operations.parameters("gap_linear", case))
    assert {result.reason for result in results[0]} == {None}


def test_who_changes_an_input_with_a_nan_in_it_is_found_and_costs_nobody_else(judged, user_file):
    source = """
def changes(x):
    y = x.mean((2, 3), keepdim=True)
    if x.isnan().any():
        x.nan_to_num_().add_(1)
    return y
"""
    claimed, _ = judged("mean", user_file("changes", source), indices=[1])
    assert (claimed[1].status, claimed[1].reason) == ("wrong", "changes its input")


UNSTEADY = """
import itertools

calls = itertools.count()

def noisy(x):
    return x.mean((2, 3), keepdim=True) * (1 + next(calls) % 5 * 2e-7)

def by_batch(x):
    y = x.mean((2, 3), keepdim=True)
    return y if x.shape[0] > 1 else y * (1 + 1e-6)

def for_its_batch_only(x):
    assert x.shape[0] == 2
    return x.mean((2, 3), keepdim=True)
"""


@pytest.mark.parametrize(
    ("name", "deterministic", "batch_invariant"),
    [("mean", True, True), ("noisy", False, False), ("by_batch", True, False), ("for_its_batch_only", True, None)],
)
def test_rows_say_whether_bits_repeat_and_whether_they_depend_on_the_batch(
    judged, user_file, name, deterministic, batch_invariant
):
    claimed, _ = judged(name if name == "mean" else user_file(name, UNSTEADY))
    assert claimed[0].status == "ok"
    assert (claimed[0].deterministic, claimed[0].batch_invariant) == (deterministic, batch_invariant)


def test_one_sample_and_gradients_have_no_batch_to_depend_on(judged):
    for case in (Case((1, 8, 6, 6)), Case((2, 8, 6, 6), pass_="backward")):
        claimed, _ = judged("mean", case=case)
        assert (claimed[0].deterministic, claimed[0].batch_invariant) == (True, None)
