"""Who may be timed, and what one call costs besides time."""

from gapbench.cases import Case
from gapbench.measuring import judge
from gapbench.records import Qualification

CASE = Case((2, 8, 6, 6))


def judged(load, *specs, indices=None, case=CASE):
    loaded, reply, current = load(*specs, case=case)
    assert not reply.rejected
    indices = range(len(specs)) if indices is None else indices
    return {one.contender: one.qualification for one in judge.judge(loaded, indices, 0, current)}


def test_the_right_are_ok_and_what_a_call_costs_is_told(load):
    found = judged(load, "mean", "avg_pool", case=Case((2, 8, 16, 16), dtype="bfloat16"))
    assert {one.status for one in found.values()} == {"ok"}
    assert found[0].peak_extra_bytes > found[1].peak_extra_bytes > 0
    assert all(one.operators >= 1 and one.saved_bytes >= 0 for one in found.values())
    assert all(0 <= one.max_error < 1e-2 for one in found.values())
    assert found[0].compile_seconds is None


def test_judging_ends_with_the_first_that_is_not_ok(load, user_file):
    """It may have changed the process: the others are judged in another one."""
    found = judged(load, "mean", user_file("wrong_dtype"), "sum_scale")
    assert list(found) == [0, 1]
    assert found[1] == Qualification("wrong", "returned float64, expected float32")


def test_those_are_judged_that_were_asked_for_in_their_order(load):
    assert list(judged(load, "mean", "sum_scale", "adaptive", indices=[2, 0])) == [2, 0]


def test_each_operation_is_judged_by_its_own_truth(load):
    case = Case((2, 8, 6, 6), operation="pooling")
    found = judged(load, "global_average", "global_max", "max_2x2", case=case)
    assert {one.status for one in found.values()} == {"ok"}
