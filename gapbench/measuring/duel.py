"""One round of one case with its contenders on several sides: a fresh worker each, taking turns batch by batch."""

import contextlib
import itertools
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from gapbench.cases import Case
from gapbench.measuring import credible, worker
from gapbench.measuring.relay import Calibrated, merged
from gapbench.measuring.rounds import Assignment, Fault, RoundResult
from gapbench.measuring.source import Source
from gapbench.measuring.template import RunningContender, Template, Worker, WorkerExit, WorkerTimeoutError, conversation
from gapbench.stats import Floats, hodges_lehmann

_UNASKED = Fault(None, "failed", credible.UNASKED)


@dataclass(frozen=True, slots=True)
class Side:
    """Where one side's code comes from, and the template that forks its workers.

    ``contender`` names it in the store: base, head, or null (a second base).
    """

    contender: str
    source: Source
    template: Template


@dataclass(frozen=True, slots=True)
class Bout:
    """A round that was measured: by side's name its result; ``names[i]`` is the implementation of contender i."""

    case: Case
    round: int
    names: tuple[str, ...]
    results: Mapping[str, RoundResult]

    def log_ratios(self, clock: str, other: str, base: str) -> dict[str, float]:
        """Return each implementation's log ratio of side ``other`` to side ``base`` in this round.

        The Hodges-Lehmann estimate over turns: of the two batches of a turn, which are neighbours in time.
        """
        if other not in self.results or clock not in self.results[base].batches:
            return {}
        before, after = (self._log_seconds(side, clock) for side in (base, other))
        return {name: hodges_lehmann(after[name] - before[name]) for name in before}

    def _log_seconds(self, side: str, clock: str) -> dict[str, Floats]:
        batches = self.results[side].batches[clock]
        contenders, seconds = np.array(batches.contender), np.array(batches.seconds_per_call)
        return {self.names[index]: np.log(seconds[contenders == index]) for index in np.unique(contenders)}


@dataclass(frozen=True, slots=True)
class Foul:
    """Why a round does not count: the side's name, and what happened there."""

    side: str
    fault: Fault


def measure(assignment: Assignment, sides: Sequence[Side], patience: float) -> dict[str, RoundResult] | Foul:
    """Measure one round; ``assignment`` has the specs as the command line names them.

    Workers start in a random order and prepare at the same time; from then on one computes at a time.
    """
    order = Random(assignment.seed).sample(range(len(sides)), len(sides))
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(contextlib.closing(RunningContender.create())) for _ in sides]
        workers = _start(assignment, sides, order, running)
        found = _converse(workers, assignment, patience)
        if isinstance(found, dict):
            odd = _out_of_step(found, order.index(0))
            if odd is None:
                return {sides[order[index]].contender: result for index, result in found.items()}
            found = odd, _UNASKED
        index, fault = found
        if fault.contender is None and fault.clock is None:
            fault = replace(fault, contender=running[order[index]].one_of(len(assignment.specs)))
        return Foul(sides[order[index]].contender, fault)


def _start(
    assignment: Assignment, sides: Sequence[Side], order: Sequence[int], running: Sequence[RunningContender]
) -> list[Worker]:
    """Start the sides' workers in ``order``, each with an inbox for the baton and everybody's outbox."""
    core = _core(assignment)
    pipes = [os.pipe() for _ in sides]
    try:
        return [
            sides[number].template.start(
                worker.measure_side,
                replace(assignment, specs=tuple(map(sides[number].source.spec, assignment.specs))),
                sides[number].source,
                number,
                core,
                descriptors=[running[number].descriptor, pipes[number][0], *(outbox for _, outbox in pipes)],
            )
            for number in order
        ]
    finally:
        for descriptor in itertools.chain.from_iterable(pipes):  # the workers' alone, or a death would end in silence
            os.close(descriptor)


def _core(assignment: Assignment) -> int | None:
    """Return the processor on which all sides compute in this round, where one is enough and can be chosen."""
    if assignment.case.device != "cpu" or assignment.case.threads > 1 or not hasattr(os, "sched_getaffinity"):
        return None
    return Random(f"{assignment.seed}/core").choice(sorted(os.sched_getaffinity(0)))


def _converse(
    workers: Sequence[Worker], assignment: Assignment, patience: float
) -> dict[int, RoundResult] | tuple[int, Fault]:
    """Let the workers agree and finish; at the first fault or death end them all."""
    results: dict[int, RoundResult] = {}
    calibrated: dict[int, Calibrated] = {}
    messages = conversation(workers, time.monotonic() + patience)
    try:
        for index, message in messages:
            match message:
                case RoundResult() if credible.result(message, assignment):
                    results[index] = message
                case WorkerExit() if index in results:
                    continue
                case WorkerExit():
                    return index, Fault(None, "failed", message.sentence)
                case Fault() if credible.fault(message, assignment):
                    return index, message
                case dict() if credible.calibrated(message, assignment) and all(
                    message.keys() == other.keys() for other in calibrated.values()
                ):
                    calibrated[index] = message
                    if len(calibrated) == len(workers):
                        agreed = merged([calibrated.pop(one) for one in range(len(workers))])
                        for one in workers:
                            one.send(agreed)
                case _:
                    return index, _UNASKED
    except WorkerTimeoutError:
        late = next((one for one in range(len(workers)) if one not in results), 0)
        return late, Fault(None, "timeout", f"did not finish within {patience:.0f} s and was stopped")
    finally:
        for one in workers:
            one.kill()
    return results


def _out_of_step(results: Mapping[int, RoundResult], base: int) -> int | None:
    """Return whose batches are not as many as those of ``base``; turns are the same for all, so that cannot be."""
    counts = {
        index: {clock: len(one.turn) for clock, one in result.batches.items()} for index, result in results.items()
    }
    return next((index for index, count in counts.items() if count != counts[base]), None)
