"""What a worker and its parent say to each other: typed records in MessagePack, decoded by one decoder.

A worker runs code that nobody here has read (a user's file, HEAD of ``gapbench ab``) and may write whatever it likes
to its end of the channel. Pickle would let it run code in the parent; here a message is one of `Reply`, with fields of
the declared types and ranges, or a `ProtocolError`. The numbers may still be forged: that is for the judge to find.

On the wire: four bytes of length, then the record.
"""

import math
import os
import signal
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gapbench.store.records import STATUSES, Qualification

MOST_BYTES = 64 << 20
"""The longest message that is read; profiles of long calls have some MB, a round some 100 kB."""

PROTOCOL_ERROR = "its process sent a reply that does not fit the request"

_HEADER = 4

Index = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Seconds = Annotated[float, Meta(ge=0, le=1e15)]
Calibration = dict[Index, tuple[Count, Seconds]]
"""By contender: how many calls make a batch, and the wall seconds that such a batch takes."""


DEVICE_LOST = 72
"""Exit status of a process whose device answers no more: an error in a kernel ends all that a process can do there."""


class ProtocolError(Exception):
    """Bytes that are no `Reply`; the text says why."""


class Started(Struct, frozen=True, tag=True):
    """A worker process exists; sent before any foreign code runs in it."""

    pid: int


class WorkerExit(Struct, frozen=True, tag=True):
    """How a worker ended: 0 is success, -N killed by signal N; ``reason`` is why where the parent stopped it."""

    status: int
    reason: str | None = None

    @property
    def sentence(self) -> str:
        """Describe the exit in words."""
        if self.reason is not None:
            return f"its process was stopped: {self.reason}"
        if -self.status in set(signal.Signals):
            return f"its process was killed by {signal.Signals(-self.status).name}"
        if self.status == DEVICE_LOST:
            return "an error in a kernel ended its process's use of the device; run it alone under compute-sanitizer"
        return f"its process exited with status {self.status}"


class Judged(Struct, frozen=True, tag=True):
    """The judge's findings on one contender."""

    contender: Index
    qualification: Qualification


class Prepared(Struct, frozen=True, tag=True):
    """A process has loaded its contenders: ``first_call`` are the seconds of each one's first call.

    ``rejected`` are those that could not be loaded. ``conflict`` says why two sides cannot share the process, and
    ``forkable`` whether rounds can be forked from it.
    """

    first_call: dict[Index, Seconds]
    rejected: dict[Index, tuple[str, str]]
    forkable: bool
    conflict: str | None = None


class RoundFailure(Struct, frozen=True, tag=True):
    """Why a round's numbers may not be used: a contender's fault or, None, nobody's; by one clock or, None, by any.

    ``more`` are further refusals of the same round: each costs its own row, and one more round would find each.
    """

    contender: Index | None
    status: str
    reason: str
    clock: str | None = None
    more: list["RoundFailure"] = []


class Batches(Struct, tag=True):
    """The timed batches of one round of one case by one clock, column by column."""

    contender: list[Index] = []
    turn: list[Index] = []
    position: list[Index] = []
    calls: list[Count] = []
    seconds_per_call: list[Seconds] = []
    page_faults: list[Seconds | None] = []

    def add(
        self, contender: int, turn: int, position: int, calls: int, seconds: float, page_faults: float | None = None
    ) -> None:
        """Append one batch that took ``seconds`` as a whole; ``page_faults`` are per call."""
        self.contender.append(contender)
        self.turn.append(turn)
        self.position.append(position)
        self.calls.append(calls)
        self.seconds_per_call.append(seconds / calls)
        self.page_faults.append(page_faults)

    @property
    def timed_seconds(self) -> float:
        """Return the seconds inside timed batches."""
        return sum(calls * seconds for calls, seconds in zip(self.calls, self.seconds_per_call, strict=True))


class RoundResult(Struct, frozen=True, tag=True):
    """What a round measured, by clock.

    ``calibration`` are the batch lengths used, ``preparations`` the clocks' own findings (event floor, launch time),
    ``slowdowns`` how much longer the device took for a fixed piece of work in its worst batch than at the start,
    ``telemetry`` the columns of `records.SAMPLES` that say how the machine was meanwhile.
    """

    batches: dict[str, Batches]
    calibration: dict[str, Calibration] = {}
    preparations: dict[str, dict[str, float | None]] = {}
    slowdowns: dict[str, float] = {}
    telemetry: dict[str, float | str | None] = {}


class Agreement(Struct, frozen=True, tag=True):
    """Batch lengths that one side found, or (from the parent) that all sides use."""

    calibration: Calibration


class Begin(Struct, frozen=True, tag=True):
    """To the examiner: from now on it is about paper number ``paper``; `Done` says that its answers are ready."""

    paper: Index


class Shown(Struct, frozen=True, tag=True):
    """To the examiner: an output, whose ``size`` bytes follow, dimension by dimension in ``order``, outermost first.

    ``question`` is a number, or `WEIGHTS`; ``clock`` is what the output was timed by, null if it was not; ``kind``,
    ``device``, ``dtype`` and ``shape`` are of its `oracle.Description`.
    """

    contender: Index
    question: int
    clock: str | None
    kind: str | None
    device: str
    dtype: str
    shape: tuple[Index, ...]
    order: tuple[Index, ...] = ()
    size: Annotated[int, Meta(ge=0)] = 0


class AskChange(Struct, frozen=True, tag=True):
    """To the examiner: which element of a question's input shall change? It answers with a `Change`."""

    contender: Index
    question: Index


class Change(Struct, frozen=True, tag=True):
    """An element's position (n, c, *spatial) and its new value."""

    position: tuple[Index, ...]
    value: float


class Followed(Struct, frozen=True, tag=True):
    """To the examiner: what a contender answered for the row that was changed."""

    answer: float


class Examined(Struct, frozen=True, tag=True):
    """What the examiner found of one output; ``reason`` is null where it is right."""

    contender: Index
    question: int
    reason: str | None = None
    max_error: float | None = None
    max_error_ulp: float | None = None
    clock: str | None = None


class Finish(Struct, frozen=True, tag=True):
    """To the examiner: tell the parent what was found since the last time."""


class Done(Struct, frozen=True, tag=True):
    """The examiner has done what it was told."""


class Findings(Struct, frozen=True, tag=True):
    """All that the examiner found of one paper since the last time."""

    paper: Index
    examined: list[Examined]


class Answer(Struct, frozen=True, tag=True):
    """Plain data for whoever asked for it: ceilings, joules, a profile's document."""

    content: Any


WEIGHTS = -1
"""The number of the question what weights were before they were updated."""

Reply = Started | WorkerExit | Judged | Prepared | RoundFailure | RoundResult | Agreement | Answer
Examining = Begin | Shown | AskChange | Change | Followed | Examined | Finish | Done | Findings
Message = Reply | Examining

_decoder = msgspec.msgpack.Decoder(Message)


def encode(reply: object) -> bytes:
    """Return a message as bytes. Raises `TypeError` for anything else."""
    if not isinstance(reply, Message):
        raise TypeError(f"a {type(reply).__name__} is not a reply")
    try:
        return msgspec.msgpack.encode(reply)
    except (UnicodeEncodeError, OverflowError):  # half a surrogate pair, in what an exception said
        return msgspec.msgpack.encode(_writable(msgspec.to_builtins(reply)))


def decode(text: bytes) -> Any:
    """Return the reply that bytes stand for. Raises `ProtocolError`; runs nothing of theirs."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"an invalid message ({type(error).__name__})") from error


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_writable(name): _writable(inner) for name, inner in value.items()}
    return [_writable(inner) for inner in value] if isinstance(value, (list, tuple)) else value


class Channel:
    """One end of a socket between a worker and its parent; owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self._received = bytearray()

    def fileno(self) -> int:
        """Return the descriptor. Raises `OSError` once the channel is closed."""
        if self._descriptor is None:
            raise OSError("the channel is closed")
        return self._descriptor

    def send(self, reply: object) -> None:
        """Send a reply. Raises `TypeError` for anything else, `ConnectionError` if nobody listens."""
        text = encode(reply)
        self.send_bytes(memoryview(len(text).to_bytes(_HEADER, "little") + text))

    def receive(self) -> Any:
        """Read what has come, waiting for the first of it; return a reply once it is complete, else None.

        Never waits for the rest of a message, which may not come. Raises `EOFError` at the end, and `ProtocolError`.
        """
        piece = os.read(self.fileno(), self._missing())
        if not piece:
            raise EOFError
        self._received += piece
        if self._missing():
            return None
        text = bytes(self._received[_HEADER:])
        self._received.clear()
        return decode(text)

    def send_bytes(self, content: memoryview) -> None:
        """Send bytes that the message before has announced."""
        while content:
            content = content[os.write(self.fileno(), content) :]

    def receive_bytes(self, content: memoryview) -> None:
        """Fill ``content`` with the bytes that the message before has announced. Raises `EOFError` at the end."""
        while content:
            count = os.readv(self.fileno(), [content])
            if not count:
                raise EOFError
            content = content[count:]

    def wait(self) -> Any:
        """Wait for the next reply and return it. Raises as `receive` does."""
        while (reply := self.receive()) is None:
            pass
        return reply

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _missing(self) -> int:
        """Return how many bytes are needed before this message can be read further."""
        if len(self._received) < _HEADER:
            return _HEADER - len(self._received)
        length = int.from_bytes(self._received[:_HEADER], "little")
        if not 0 < length <= MOST_BYTES:
            raise ProtocolError(f"a message of {length:,} bytes, where at most {MOST_BYTES:,} are read")
        return _HEADER + length - len(self._received)


def is_judgement(qualification: Qualification) -> bool:
    """Tell whether a qualification has a status there is, and a reason exactly where it is not ok."""
    return qualification.status in STATUSES and (qualification.status == "ok") == (qualification.reason is None)


def fits_failure(failure: RoundFailure, contenders: int, clocks: Mapping[str, object]) -> bool:
    """Tell whether a failure is of a contender and a clock that took part."""
    who = failure.contender is None or failure.contender < contenders
    rest = all(fits_failure(other, contenders, clocks) and not other.more for other in failure.more)
    by = failure.clock is None or failure.clock in clocks
    return who and by and rest and failure.status in STATUSES[1:]


def fits_round(result: RoundResult, entries: Mapping[str, frozenset[int]]) -> bool:
    """Tell whether a result has batches of exactly ``entries``, one each a turn, in columns of one length."""
    return (
        result.batches.keys() == entries.keys()
        and all(_fits_batches(result.batches[clock], expected) for clock, expected in entries.items())
        and all(math.isfinite(one) for one in result.slowdowns.values())
        and result.telemetry.keys() <= _TELEMETRY.keys()
        and all(value is None or isinstance(value, _TELEMETRY[name]) for name, value in result.telemetry.items())
    )


_TELEMETRY = {"sm_clock_mhz": float, "temperature_c": float, "power_w": float, "throttle": str, "steal": float}


def _fits_batches(batches: Batches, expected: frozenset[int]) -> bool:
    length = len(batches.contender)
    columns = (batches.turn, batches.position, batches.calls, batches.seconds_per_call, batches.page_faults)
    pairs = set(zip(batches.contender, batches.turn, strict=False))
    return (
        set(batches.contender) == expected and all(len(column) == length for column in columns) and len(pairs) == length
    )
