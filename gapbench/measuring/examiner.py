"""Compare a worker's outputs with expected outputs, in a process that runs no foreign code.

Code in a worker can read all of its memory, so expected outputs are never there. The examiner makes the same inputs
from the same seeds, and the parent accepts no batches of an output that it has not approved.
"""

import contextlib
import math
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from gapbench import operations
from gapbench.measuring import forkserver_process, protocol
from gapbench.measuring.forkserver import CurrentContender, Forker, Worker, WorkerTimeoutError
from gapbench.measuring.prepared import CaseTask
from gapbench.store.records import Qualification
from gapbench.workloads import inputs, oracle
from gapbench.workloads.cases import Case
from gapbench.workloads.oracle import Description, Judgement
from gapbench.workloads.passes import Call, expected_output
from gapbench.workloads.truth import GLOBAL_AVERAGE, Expected, Truth

_Kind = TypeVar("_Kind")
Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_SOON = 5.0  # seconds to wait for the examiner's findings, which it sends before the worker sends its reply
_CHANGE, _LARGEST_CHANGE = 0.05, 2048.0
"""Least change of a row's mean by changing an element, as a share of its mean |x|; and the largest change of an
element, which float16 can still sum."""


@dataclass(frozen=True, slots=True)
class Paper:
    """The questions to a worker about one case: a sample for each of ``seeds``, and stress patterns if ``stressed``."""

    task: CaseTask
    seeds: tuple[int, ...]
    stressed: bool = False

    def truth(self, contender: int) -> Truth:
        """Return what defines a contender's expected output."""
        return operations.truth(self.task.specs[contender % len(self.task.specs)])


def can_change(case: Case, truth: Truth) -> bool:
    """Tell whether single input elements may be changed: the expected output of one row must be cheap to compute."""
    return case.pass_ == "forward" and truth is GLOBAL_AVERAGE and bool(case.elements)


# In the examiner's process


class _Loaded:
    """The noise that `serve` has drawn in this process, with its task."""

    noise: tuple[CaseTask, Tensor] | None = None


def serve(_: protocol.Channel, current: CurrentContender, task: CaseTask, descriptors: tuple[int, ...]) -> None:
    """Draw the noise of a case's inputs, and fork processes that `examine` from then on."""
    control = descriptors[1]
    torch.set_num_threads(1)
    _Loaded.noise = task, inputs.noise(task.case, task.seed)
    forkserver_process.serve(socket.socket(fileno=control), current)


def examine(
    channel: protocol.Channel, _: CurrentContender, papers: Sequence[Paper], descriptors: tuple[int, ...]
) -> None:
    """Judge one worker's outputs, paper by paper, until it ends; send the parent findings on ``channel``."""
    torch.set_num_threads(1)
    worker = protocol.Channel(descriptors[0])
    answers: _Answers | None = None
    number = 0
    findings: list[protocol.Examined] = []
    while True:
        try:
            message = worker.wait()
        except (EOFError, ConnectionError, protocol.ProtocolError):
            return
        if isinstance(message, protocol.Begin) and message.paper < len(papers):
            number, answers = message.paper, None  # frees the previous answers first
            answers = _Answers(papers[number])
            worker.send(protocol.Done())
        elif isinstance(message, protocol.Finish):
            channel.send(protocol.Findings(number, findings))
            findings = []
            worker.send(protocol.Done())
        elif isinstance(message, protocol.AskChange) and answers and answers.has(message.question):
            worker.send(answers.change(message.contender, message.question))
        elif isinstance(message, protocol.Shown) and answers and answers.has(message.question):
            findings.append(answers.judge(message, worker))
            worker.send(findings[-1])
        elif isinstance(message, protocol.Followed) and answers and answers.changed:
            findings.append(answers.followed(message.answer))
            worker.send(findings[-1])
        else:
            return  # an invalid message; outputs that were not shown are not approved


class _Answers:
    """The questions of a paper, and the expected outputs computed so far."""

    def __init__(self, paper: Paper) -> None:
        task = paper.task
        self._paper, self._case, self._on_cpu = paper, task.case, replace(task.case, device="cpu")
        loaded_task, noise = _Loaded.noise or (None, None)
        if noise is None or loaded_task != task:
            noise = inputs.noise(task.case, task.seed)
        self._questions = oracle.questions(self._on_cpu, paper.seeds, noise, paper.stressed)
        self._expected: dict[tuple[int, int], Expected] = {}
        self._weights: dict[int, Expected] = {}
        self._rng = Random()  # unseeded: a contender could know a seed
        self.changed: tuple[int, int, protocol.Change] | None = None
        if self._case.pass_ != "update":
            for contender in task.contenders:
                for number in range(len(paper.seeds)):
                    self._answer(contender, number)

    def _answer(self, contender: int, number: int) -> Expected:
        if self._case.pass_ == "update":
            return self._weights[contender]
        truth = self._paper.truth(contender)
        key = id(truth), number
        if key not in self._expected:
            question = self._questions[number]
            gradient = question.gradient(self._on_cpu, truth)
            self._expected[key] = expected_output(self._on_cpu, truth, question.x, gradient)
        return self._expected[key]

    def has(self, question: int) -> bool:
        return protocol.WEIGHTS <= question < len(self._questions)

    def judge(self, shown: protocol.Shown, worker: protocol.Channel) -> protocol.Examined:
        contender, number = shown.contender, shown.question
        output = _read(shown, worker)
        if number == protocol.WEIGHTS:
            x = self._questions[0].x
            self._weights[contender] = expected_output(self._on_cpu, self._paper.truth(contender), x, x, output)
            return protocol.Examined(contender, number)
        expected, question = self._answer(contender, number), self._questions[number]
        described = Description(shown.kind, shown.device, shown.dtype, shown.shape)
        if reason := oracle.misfit(self._case, described, expected):
            judgement = Judgement(reason)
        elif shown.clock and oracle.accepts(self._on_cpu, output, expected):  # faster for gradients
            return protocol.Examined(contender, number, clock=shown.clock)
        else:
            judgement = oracle.judge(self._on_cpu, output, expected, question.patterns is not None)
        reason = oracle.put(number, question, judgement).reason
        if shown.clock and judgement.reason:
            reason = f"was right when examined; after timing {judgement.reason}"
        return protocol.Examined(contender, number, reason, judgement.max_error, judgement.max_error_ulp, shown.clock)

    def change(self, contender: int, number: int) -> protocol.Change:
        """Choose an element of a question's input and a new value that changes the mean of its row measurably."""
        x = self._questions[number].x
        position = tuple(self._rng.randrange(size) for size in x.shape)
        row = x[position[:2]].double()
        bound = oracle.tolerance(self._case.dtype, self._case.window)
        step = min(_LARGEST_CHANGE, max(10 * bound, _CHANGE) * float(row.abs().mean()) * self._case.window)
        value = float((x[position].double() + step).to(x.dtype))
        self.changed = contender, number, protocol.Change(position, value)
        return self.changed[2]

    def followed(self, answer: float) -> protocol.Examined:
        assert self.changed is not None
        contender, number, change = self.changed
        row = self._questions[number].x[change.position[:2]].to(torch.float64, copy=True)
        before = float(row.mean())
        row[change.position[2:]] = change.value
        after = float(row.mean())
        bound = oracle.tolerance(self._case.dtype, self._case.window) * float(row.abs().mean())
        reason: str | None = f"was right when examined; called again it returns {answer:.6g}, expected {after:.6g}"
        if abs(answer - after) <= bound:  # false for NaN
            reason = None
        elif abs(answer - before) <= bound:
            reason = "answers without reading its input: it missed a change of one element"
        return protocol.Examined(contender, number, reason)


def _read(shown: protocol.Shown, worker: protocol.Channel) -> Tensor | None:
    """Read the bytes of an output; return them as a tensor, None where they do not match its description."""
    content = torch.empty(shown.size, dtype=torch.uint8)
    worker.receive_bytes(content.numpy().data)
    dtype, shape = getattr(torch, shown.dtype or "float32", None), shown.shape
    if shown.kind is not None or not isinstance(dtype, torch.dtype) or sorted(shown.order) != [*range(len(shape))]:
        return None
    if dtype.itemsize * math.prod(shape) != shown.size:
        return None
    inverse = [shown.order.index(dim) for dim in range(len(shape))]
    return content.view(dtype).view([shape[dim] for dim in shown.order]).permute(inverse)


# In the worker's process


@dataclass(frozen=True, slots=True)
class Packed:
    """A copy of an output: its bytes, dimension by dimension in ``order``, outermost first."""

    description: Description
    order: tuple[int, ...] = ()
    content: Bytes = field(default_factory=lambda: np.empty(0, np.uint8))


def pack(output: object, buffer: Bytes | None = None) -> Packed:
    """Copy an output's bytes, into ``buffer`` if that fits. Other contenders could find a copy that is a tensor."""
    description = oracle.describe(output)
    if not isinstance(output, Tensor) or description.kind is not None or output.is_meta:
        return Packed(description)
    output = output.detach().cpu().resolve_conj().resolve_neg()
    order = sorted(range(output.dim()), key=output.stride, reverse=True)  # the order in memory, so contiguous
    content = output.permute(order).contiguous().view(-1).view(torch.uint8).numpy()
    if buffer is None or buffer.size != content.size:
        return Packed(description, tuple(order), content.copy())
    buffer[:] = content  # a new block between turns would move other contenders' temporaries
    return Packed(description, tuple(order), buffer)


class ExaminerGoneError(ConnectionError):
    """The examiner has ended before its worker."""


class Examiner:
    """The worker's handle of its examiner."""

    def __init__(self, descriptor: int) -> None:
        self._channel = protocol.Channel(descriptor)

    def begin(self, paper: int) -> None:
        """Turn to a paper; the examiner computes its expected outputs until `wait` returns."""
        self._channel.send(protocol.Begin(paper))

    def wait(self) -> None:
        """Wait until the examiner has completed `begin`, and computes no more."""
        self._receive(protocol.Done)

    def show(self, contender: int, question: int, output: "Packed", clock: str | None = None) -> str | None:
        """Have an output judged; return why it is wrong, or None."""
        y = output.description
        described = y.kind, y.device, y.dtype, y.shape
        self._channel.send(protocol.Shown(contender, question, clock, *described, output.order, output.content.size))
        self._channel.send_bytes(output.content.data)
        return self._receive(protocol.Examined).reason

    def remembered(self, contender: int, question: int, x: Tensor, call: Call, tries: int) -> str | None:
        """Change one element of ``x`` and call again, ``tries`` times; return why an output is wrong, or None.

        ``x`` is restored. What remembers outputs recognises its input by its address, its version (unchanged here) or
        some elements: a sample of a tenth notices all of four changes once in 10,000 times, one of a half once in 16.
        """
        for _ in range(tries):
            self._channel.send(protocol.AskChange(contender, question))
            change = self._receive(protocol.Change)
            kept = x.data[change.position].clone()
            x.data[change.position] = change.value
            answer = float(call()[change.position[:2]])
            x.data[change.position] = kept
            self._channel.send(protocol.Followed(answer))
            if reason := self._receive(protocol.Examined).reason:
                return reason
        return None

    def finish(self) -> None:
        """Let the examiner send the parent its findings."""
        self._channel.send(protocol.Finish())
        self.wait()

    def _receive(self, kind: type[_Kind]) -> _Kind:
        try:
            message = self._channel.wait()
        except EOFError:
            message = None
        if not isinstance(message, kind):
            raise ExaminerGoneError
        return message


# In the parent


class Examination(contextlib.AbstractContextManager["Examination"]):
    """The parent's handle of the examiner of one worker: a context manager that ends it."""

    def __init__(self, forker: Forker, papers: Sequence[Paper]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = forker.start(examine, tuple(papers), descriptors=[theirs.fileno()])
        self._socket = ours
        self.died: protocol.WorkerExit | None = None

    def start(
        self, forker: Forker, target: Callable[..., None], *arguments: object, descriptors: Sequence[int] = ()
    ) -> Worker:
        """Start the worker; its first descriptor is its end of the socket that it shares with the examiner."""
        with self._socket:  # closed here, so that the examiner ends with the worker
            return forker.start(target, *arguments, descriptors=[self._socket.fileno(), *descriptors])

    def findings(self, paper: int = 0) -> list[protocol.Examined] | None:
        """Return the findings on a paper since the last call; None if the worker has not let the examiner finish."""
        with contextlib.suppress(WorkerTimeoutError):
            for message in self._process.messages(time.monotonic() + _SOON):
                if isinstance(message, protocol.WorkerExit) and message.status:
                    self.died = message
                return message.examined if isinstance(message, protocol.Findings) and message.paper == paper else None
        return None

    def checked(self, answer: object, entries: Mapping[str, Iterable[int]], paper: int = 0) -> object:
        """Return a worker's answer; of a round with outputs not approved, how the examiner died, or None."""
        if isinstance(answer, protocol.RoundResult):
            examined = self.findings(paper) or []
            right = {(each.clock, each.contender) for each in examined if each.reason is None}
            expected = {(clock, index) for clock, indices in entries.items() for index in indices}
            if not right >= expected or any(each.reason is not None for each in examined):
                return self.died
        elif isinstance(answer, protocol.WorkerExit) and self.findings(paper) is None:
            return self.died or answer
        return answer

    def confirm(self, index: int, claimed: Qualification) -> Qualification | None:
        """Return a worker's claim about a contender, corrected by the findings; None if they contradict each other."""
        examined = [
            each for each in self.findings() or () if each.contender == index and each.question != protocol.WEIGHTS
        ]
        wrong = next((each for each in examined if each.reason is not None), None)
        if claimed.status == "ok" and wrong is not None:
            claimed = Qualification("wrong", wrong.reason)
        elif claimed.status == "ok" and not {0, 1} <= {each.question for each in examined}:
            return None
        decisive = wrong or next(iter(examined), None)
        if decisive is None:
            return claimed
        return replace(claimed, max_error=decisive.max_error, max_error_ulp=decisive.max_error_ulp)

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._process.kill()
