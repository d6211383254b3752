"""The parent's side of a contest's beginning: what workers load beforehand, and who may take part."""

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gapbench import operations
from gapbench.cases import Case
from gapbench.measuring import credible, worker
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.source import HERE, Source
from gapbench.measuring.template import Template, Worker, WorkerExit, WorkerTimeoutError
from gapbench.records import THIS, Qualification

SECONDS_PER_WEIGHT = 1e-6
"""More patience for large heads: making their weights and judging them in float64 takes about a tenth of this."""


@dataclass(frozen=True, slots=True)
class Qualified:
    """An implementation was judged on a case, or dropped from it later (from one ``clock`` only, if one is named)."""

    case: Case
    implementation: str
    qualification: Qualification
    clock: str | None = None
    contender: str = THIS


def preload(contests: Sequence[Contest]) -> list[str]:
    """Return the modules that workers for ``contests`` should not have to import each."""
    modules = ["gapbench.measuring.preload"]
    if any(contest.case.pass_ != "forward" for contest in contests):
        modules.append("torch.fx.experimental.symbolic_shapes")  # half a second of sympy at a process's first gradient
    if any(_compiles_on_cpu(contest) for contest in contests):
        modules.append("gapbench.measuring.preload_compiler")
    able = (spec for one in contests for spec in one.specs.values() if operations.why_not(spec, one.case) is None)
    return [*modules, *dict.fromkeys(itertools.chain.from_iterable(map(operations.loads, able)))]


def _compiles_on_cpu(contest: Contest) -> bool:
    return contest.case.device == "cpu" and any(map(operations.compiles, contest.specs.values()))


def qualify(
    contests: Sequence[Contest], effort: Effort, template: Template, source: Source = HERE, contender: str = THIS
) -> Iterator[Qualified]:
    """Judge every contender of every contest in a process of its own, as many at once as there are cores.

    The implementations are those of ``source``, which is called ``contender``.
    """

    def one(contest: Contest, name: str, spec: str) -> Qualified:
        case = contest.case
        if source == HERE and (reason := operations.why_not(spec, case)):  # of other checkouts only a worker knows
            return Qualified(case, name, Qualification("unsupported", reason), contender=contender)
        patience = effort.patience + SECONDS_PER_WEIGHT * operations.parameters(spec, case)
        said = answer(template.start(worker.qualify, case, source.spec(spec), effort.seed, source), patience)
        if isinstance(said, Qualification) and credible.qualification(said):
            return Qualified(case, name, said, contender=contender)
        found = Qualification(*how_it_ended(said, patience))
        return Qualified(case, name, found, contender=contender)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        jobs = [pool.submit(one, contest, *item) for contest in contests for item in contest.specs.items()]
        for job in jobs:
            yield job.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def answer(job: Worker, patience: float) -> object:
    """Return a worker's answer, or how it ended without one: a `WorkerExit`, or a `WorkerTimeoutError`."""
    said: object = None
    try:
        for message in job.messages(time.monotonic() + patience):
            if isinstance(message, WorkerExit):
                return said or message
            said = message
    except WorkerTimeoutError as timeout:
        return said or timeout
    return said


def how_it_ended(answer: object, patience: float) -> tuple[str, str]:
    """Return the status and reason of a worker that gave no answer."""
    if isinstance(answer, WorkerTimeoutError):
        return "timeout", f"did not finish within {patience:.0f} s and was stopped"
    return "failed", answer.sentence if isinstance(answer, WorkerExit) else credible.UNASKED
