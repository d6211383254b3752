"""May these implementations be timed on this case? And what does one call of each cost besides time?"""

from collections.abc import Iterable, Iterator
from random import Random

from torch import nn

from gapbench import inputs, oracle
from gapbench.measuring import cheat_checks, probes
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.prepared import PreparedCase, status_of
from gapbench.measuring.protocol import Judged
from gapbench.oracle import Examination
from gapbench.records import Qualification
from gapbench.truth import Truth

_SURPRISES = 4


def judge(prepared: PreparedCase, indices: Iterable[int], seed: int, current: CurrentContender) -> Iterator[Judged]:
    """Judge contenders one after the other, and end after the first that is not ok.

    Who breaks the rules may have changed the process: the others are then judged in another one.
    """
    examinations: dict[int, Examination] = {}
    for index in indices:
        current.set(index)
        truth = prepared.contenders[index].implementation.truth
        try:
            if id(truth) not in examinations:
                current.clear()
                examinations[id(truth)] = Examination(prepared.case, seed, truth)
                current.set(index)
            qualification = _judge_one(prepared, index, seed, truth, examinations[id(truth)])
        except Exception as error:
            qualification = Qualification(*status_of(error, prepared.case))
        yield Judged(index, qualification)
        if qualification.status != "ok":
            return


def _judge_one(prepared: PreparedCase, index: int, seed: int, truth: Truth, examination: Examination) -> Qualification:
    case, contender = prepared.case, prepared.contenders[index]
    implementation, function = contender.implementation, contender.function
    compiled = implementation.family == "compiled"
    if compiled:
        probes.forget_compilation()
    prepared.activate(index)
    judgement: oracle.Judgement = examination.judge(function)
    errors = judgement.max_error, judgement.max_error_ulp
    if judgement.reason:
        return Qualification("wrong", judgement.reason, *errors)
    x = inputs.GuardedTensor(prepared.sample(seed))
    call = prepared.bind(index, x.tensor, inputs.upstream(case, seed, truth.shape(case)))
    if reason := cheat_checks.replaced() or cheat_checks.off_thread_work(call, case.threads):
        return Qualification("failed", reason, *errors)
    if not x:
        return Qualification("wrong", "changes its input, not in the first calls, but later", *errors)
    if reason := cheat_checks.remembered_answer(case, implementation, call, x.tensor, Random(), _SURPRISES):
        return Qualification("wrong", reason, *errors)
    # Asked before other probes make the function compile for what is not measured.
    again, code_path = probes.compilation() if compiled else None, implementation.code_path(function)
    if again and again.graph_breaks:
        return Qualification("failed", "torch.compile broke the graph when it was called again", *errors)
    # Compiled code of a forward case would be compiled once more, for training.
    saves = implementation.differentiable and not (compiled and case.pass_ == "forward")
    footprint = probes.footprint(call) if case.device == "cpu" else None
    return Qualification(
        max_error=judgement.max_error,
        max_error_ulp=judgement.max_error_ulp,
        peak_extra_bytes=footprint.peak_extra_bytes if footprint else None,
        operators=footprint.operators if footprint else None,
        saved_bytes=probes.saved_bytes(case, function, x.tensor) if saves else None,
        compile_seconds=contender.first_call if compiled else None,
        code_path=code_path,
        graph_breaks=contender.compilation.graph_breaks if contender.compilation else None,
        recompilations=contender.compilation.recompilations + again.graphs if contender.compilation and again else None,
        parameters=probes.parameters(function) if isinstance(function, nn.Module) else None,
    )
