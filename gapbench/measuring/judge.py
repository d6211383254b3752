"""May these implementations be timed on this case? And what does one call of each cost besides time?"""

from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from gapbench.measuring import cheat_checks, probes
from gapbench.measuring.examiner import Examiner, ExaminerGoneError, can_change, pack
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.prepared import PreparedCase, status_of
from gapbench.measuring.protocol import WEIGHTS, Judged
from gapbench.store.records import Qualification
from gapbench.workloads import oracle, passes
from gapbench.workloads.inputs import GuardedTensor
from gapbench.workloads.oracle import Question

_SURPRISES = 4


def judge(
    prepared: PreparedCase, indices: Iterable[int], seeds: Sequence[int], current: CurrentContender, examiner: Examiner
) -> Iterator[Judged]:
    """Judge contenders one after the other, and end after the first that is not ok.

    Who breaks the rules may have changed the process: the others are then judged in another one. ``seeds`` are those of
    the examiner's paper.
    """
    questions = oracle.questions(prepared.case, seeds, prepared.noise)
    guards = [GuardedTensor(question.x) for question in questions]
    examiner.wait()
    for index in indices:
        current.set(index)
        try:
            qualification = _judge_one(prepared, index, questions, guards, examiner)
        except ExaminerGoneError:
            raise
        except Exception as error:
            qualification = Qualification(*status_of(error, prepared.case))
        examiner.finish()
        yield Judged(index, qualification)
        if qualification.status != "ok":
            return


def _judge_one(
    prepared: PreparedCase,
    index: int,
    questions: Sequence[Question],
    guards: Sequence[GuardedTensor],
    examiner: Examiner,
) -> Qualification:
    case, contender = prepared.case, prepared.contenders[index]
    implementation, function = contender.implementation, contender.function
    truth = implementation.truth
    compiled = implementation.family == "compiled"
    if compiled:
        probes.forget_compilation()
    for number, question in enumerate(questions):
        if question.patterns is not None and not truth.stressed:
            continue
        call = prepared.bind(index, question.x, question.gradient(case, truth))
        if case.pass_ == "update":
            examiner.show(index, WEIGHTS, pack(passes.first_weight(function)))
        reason = examiner.show(index, number, pack(call()))
        if not guards[number] and (number == 0 or reason is None):
            reason = "changes its input"
        if reason is not None:
            return Qualification("wrong", reason)
    x, gradient = guards[0].tensor, questions[0].gradient(case, truth)
    call = prepared.bind(index, x, gradient)
    if reason := cheat_checks.replaced() or cheat_checks.off_thread_work(call, case.threads):
        return Qualification("failed", reason)
    if not guards[0]:
        return Qualification("wrong", "changes its input, not in the first calls, but later")
    if can_change(case, truth) and (reason := examiner.remembered(index, 0, x, call, _SURPRISES)):
        return Qualification("wrong", reason)
    # Asked before other probes make the function compile for what is not measured.
    again, code_path = probes.compilation() if compiled else None, implementation.code_path(function)
    if again and again.graph_breaks:
        return Qualification("failed", "torch.compile broke the graph when it was called again")
    # Compiled code of a forward case would be compiled once more, for training.
    saves = implementation.differentiable and not (compiled and case.pass_ == "forward")
    footprint = probes.footprint(call) if case.device == "cpu" else None
    return Qualification(
        peak_extra_bytes=footprint.peak_extra_bytes if footprint else None,
        operators=footprint.operators if footprint else None,
        saved_bytes=probes.saved_bytes(case, function, x) if saves else None,
        compile_seconds=contender.first_call if compiled else None,
        code_path=code_path,
        graph_breaks=contender.compilation.graph_breaks if contender.compilation else None,
        recompilations=contender.compilation.recompilations + again.graphs if contender.compilation and again else None,
        parameters=probes.parameters(function) if isinstance(function, nn.Module) else None,
        deterministic=probes.deterministic(call),
        batch_invariant=None if compiled else probes.batch_invariant(case, function, x),
    )
