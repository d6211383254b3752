"""The examiner, in a thread: what it finds of outputs, and what it tells whom."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.implementations import IMPLEMENTATIONS
from gapbench.measuring.examiner import Examination, ExaminerGoneError, Packed, can_change, pack
from gapbench.measuring.plan import HERE
from gapbench.measuring.prepared import CaseTask
from gapbench.measuring.protocol import WEIGHTS, Examined, Findings, RoundResult, WorkerExit
from gapbench.store.records import Qualification
from gapbench.workloads import inputs, oracle, passes
from gapbench.workloads.cases import LAYOUTS, Case
from gapbench.workloads.inputs import GuardedTensor
from gapbench.workloads.oracle import Description
from gapbench.workloads.truth import GLOBAL_AVERAGE

CASE = Case((2, 3, 5, 4))
EAGER = [item for item in IMPLEMENTATIONS if item.family == "eager"]


def task(case=CASE, specs=("mean",), seed=3):
    return CaseTask(case, specs, (HERE,), tuple(range(len(specs))), seed)


def mean(x):
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def asked(made, seeds=(0, 1), stressed=True):
    """What a worker makes of the same seeds."""
    return oracle.questions(made.case, seeds, inputs.noise(made.case, made.seed), stressed)


# Outputs


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("pass_", ["forward", "backward", "training"])
def test_worker_and_examiner_make_the_same_inputs_and_right_outputs_are_right(begun, layout, dtype, pass_):
    made = task(Case((2, 9, 5, 4), dtype=dtype, layout=layout, pass_=pass_))
    examiner, parent = begun(made)
    examiner.wait()
    for number, question in enumerate(asked(made)):
        call = passes.make_call(made.case, mean, question.x, question.gradient(made.case, GLOBAL_AVERAGE))
        assert examiner.show(0, number, pack(call())) is None
    examiner.finish()
    ((findings,),) = [parent.findings]
    assert [(finding.question, finding.reason) for finding in findings.examined] == [(0, None), (1, None), (2, None)]
    assert all(finding.max_error >= 0 for finding in findings.examined)


def test_wrong_outputs_are_told_to_worker_and_parent_alike(begun):
    made = task()
    examiner, parent = begun(made)
    examiner.wait()
    reasons = [examiner.show(0, number, pack(mean(asked(made)[0].x))) for number in (0, 1)]
    assert reasons[0] is None
    assert reasons[1].startswith("right on one input, on the next wrong at")
    assert "after timing wrong at" in examiner.show(0, 1, pack(mean(asked(made)[0].x)), "host")
    examiner.finish()
    (findings,) = parent.findings
    assert [finding.reason for finding in findings.examined[:2]] == reasons
    assert [finding.clock for finding in findings.examined] == [None, None, "host"]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (None, "returned NoneType, not a plain tensor"),
        (torch.ones(2, 3), r"returned shape (2, 3), expected (2, 3, 1, 1)"),
        (torch.ones(2, 3, 1, 1, dtype=torch.complex64), "returned complex64, expected float32"),
        (torch.ones(2, 3, 1, 1).to_sparse(), "returned a sparse_coo tensor, not a plain tensor"),
        (torch.ones(2, 3, 1, 1, device="meta"), "returned a tensor on meta, expected one on cpu"),
        (torch.ones(0), "returned shape (0,), expected (2, 3, 1, 1)"),
        (torch.ones(()), "returned shape (), expected (2, 3, 1, 1)"),
    ],
)
def test_what_is_no_answer_at_all_is_named(begun, output, reason):
    examiner, _ = begun(task())
    examiner.wait()
    assert examiner.show(0, 0, pack(output)) == reason
    assert examiner.show(0, 0, pack(mean(asked(task())[0].x))) is None  # and the next is judged as before


@pytest.mark.parametrize(
    "lie",
    [
        Packed(Description(None, "cpu", "float32", (2, 3, 1, 1)), (0, 1, 2, 3)),
        Packed(Description(None, "cpu", "load", (2, 3, 1, 1)), (0, 1, 2, 3)),
        Packed(Description(None, "cpu", "float32", (2, 3, 1, 1)), (0, 0, 0, 0), pack(torch.ones(6)).content),
    ],
)
def test_a_description_that_does_not_fit_the_bytes_ends_the_examination(begun, lie):
    examiner, parent = begun(task())
    examiner.wait()
    try:
        assert examiner.show(0, 0, lie) is not None
    except ExaminerGoneError:
        assert not parent.findings


@given(st.permutations(range(4)), st.sampled_from([torch.float32, torch.bfloat16]))
@settings(max_examples=25)
def test_outputs_are_packed_as_they_lie_in_memory_and_are_copies(order, dtype):
    y = torch.arange(120).to(dtype).view(2, 3, 5, 4).permute(order)
    packed = pack(y)
    again = torch.from_numpy(packed.content).view(dtype).view([y.shape[dim] for dim in packed.order])
    assert torch.equal(again.permute([packed.order.index(dim) for dim in range(4)]), y)
    y.zero_()
    assert again.sum() > 0


def test_weights_are_judged_by_what_they_were(begun):
    made = task(Case((2, 3, 5, 4), operation="classifier_head", pass_="update"), ("gap_linear",))
    examiner, _ = begun(made)
    examiner.wait()
    weights = torch.rand(4, 3)
    examiner.show(0, WEIGHTS, pack(weights))
    assert examiner.show(0, 0, pack(weights)) is None
    assert examiner.show(0, 0, pack(weights + 1)).startswith("wrong at")


# Elements that change


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 7, 7), (1, 2, 56, 56), (1, 2, 112, 112), (2, 3, 200), (1, 2, 4, 9, 9)]
)
def test_whoever_reads_the_input_follows_every_change_and_leaves_it_restored(begun, shape, layout, dtype):
    case = Case(shape, dtype=dtype, layout=layout)
    made = task(case)
    examiner, _ = begun(made, stressed=False)
    examiner.wait()
    x = asked(made, stressed=False)[0].x
    guard = GuardedTensor(x)
    for implementation in EAGER:
        if implementation.unsupported_reason(case) is not None:
            continue
        function = implementation.prepare(case)
        if oracle.examine(case, function, 1).reason is not None:  # known to be wrong there
            continue
        assert examiner.remembered(0, 0, x, lambda function=function: function(x), 8) is None
        assert guard


@pytest.mark.parametrize("step", [1, 10, 100, 10**6])
def test_memories_keyed_by_less_than_the_whole_input_are_exposed(begun, step):
    made = task(Case((2, 64, 14, 14)))
    examiner, _ = begun(made, stressed=False)
    examiner.wait()
    x = asked(made, stressed=False)[0].x
    answers = {}

    def remember():
        key = tuple(x.flatten()[::step].tolist())
        if key not in answers:
            answers[key] = mean(x)
        return answers[key]

    exposed = [examiner.remembered(0, 0, x, remember, 4) is not None for _ in range(30)]
    # Which elements change is not from a seed: a tenth notices all four of them once in ten thousand times.
    assert sum(exposed) >= 29 if step > 1 else not any(exposed)


def test_an_answer_that_was_right_and_is_no_longer_is_not_said_to_be_remembered(begun):
    made = task()
    examiner, _ = begun(made)
    examiner.wait()
    x = asked(made)[0].x
    assert "called again it returns 7, expected" in examiner.remembered(0, 0, x, lambda: torch.full((2, 3), 7.0), 4)
    nowhere = examiner.remembered(0, 0, x, lambda: torch.full((2, 3), float("nan")), 4)
    assert "called again it returns nan, expected" in nowhere


def test_only_averages_of_a_forward_pass_can_change():
    assert can_change(CASE, GLOBAL_AVERAGE)
    assert not can_change(Case((2, 3, 4, 4), pass_="backward"), GLOBAL_AVERAGE)
    assert not can_change(Case((0, 3, 4, 4)), GLOBAL_AVERAGE)


# Several papers, and ends


def test_papers_follow_one_another_in_one_examination(examiner):
    tasks = [task(), task(Case((1, 2, 6, 6), dtype="bfloat16"), seed=9)]
    from gapbench.measuring.examiner import Paper

    examining, parent = examiner(*(Paper(made, (5, 4)) for made in tasks))
    for number, made in enumerate(tasks):
        examining.begin(number)
        examining.wait()
        assert examining.show(0, 1, pack(mean(asked(made, (5, 4))[1].x)), "host") is None
        examining.finish()
    assert [findings.paper for findings in parent.findings] == [0, 1]
    assert [len(findings.examined) for findings in parent.findings] == [1, 1]


# What the parent makes of it


class Told(Examination):
    """An examination that has told the parent what the test says."""

    def __init__(self, *messages):
        self._messages, self.died = iter(messages), None
        self._process = self

    def messages(self, _deadline):
        return self._messages


ENTRIES = {"host": (0, 1)}
ROUND = RoundResult({})


def finding(contender, question=0, reason=None, clock="host"):
    return Examined(contender, question, reason, 0.25, 0.5, clock)


@pytest.mark.parametrize(
    ("messages", "accepted"),
    [
        ([Findings(0, [finding(0), finding(1)])], True),
        ([Findings(0, [finding(0)])], False),
        ([Findings(0, [finding(0), finding(1), finding(1, 1, "wrong")])], False),
        ([Findings(0, [finding(0), finding(1, clock=None)])], False),
        ([Findings(1, [finding(0), finding(1)])], False),
        ([], False),
    ],
)
def test_a_round_counts_only_if_an_output_of_everyone_was_right_and_none_was_wrong(messages, accepted):
    answer = Told(*messages).checked(ROUND, ENTRIES)
    assert (answer is ROUND) is accepted
    assert accepted or answer is None


def test_an_examiner_that_died_is_what_prevented_the_round():
    killed = WorkerExit(-9)
    assert Told(killed).checked(ROUND, ENTRIES) == killed
    assert Told(killed).checked(WorkerExit(1), ENTRIES) == killed
    assert Told(WorkerExit(0)).checked(WorkerExit(1), ENTRIES) == WorkerExit(1)


def test_what_a_worker_claims_is_confirmed_by_what_was_found():
    right = Findings(0, [finding(0, 0, clock=None), finding(0, 1, clock=None)])
    confirmed = Told(right).confirm(0, Qualification(operators=3))
    assert confirmed == Qualification(operators=3, max_error=0.25, max_error_ulp=0.5)
    wrong = Findings(0, [finding(0, 0, clock=None), finding(0, 1, "wrong at", clock=None)])
    assert Told(wrong).confirm(0, Qualification()) == Qualification("wrong", "wrong at", 0.25, 0.5)
    failed = Qualification("failed", "raised")
    assert Told(Findings(0, [])).confirm(0, failed) == failed


@pytest.mark.parametrize("messages", [[], [Findings(0, [])], [Findings(0, [finding(0, 0, clock=None)])]])
def test_a_claim_to_be_right_that_nobody_has_seen_does_not_count(messages):
    assert Told(*messages).confirm(0, Qualification()) is None
