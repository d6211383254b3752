"""The messages between a worker and its parent: typed records in MessagePack, decoded by one decoder.

A worker runs untrusted code, which may write any bytes to its channel. Pickle would let it run code in the parent; here
a message is one of `Reply`, with fields of the declared types and ranges, or a `ProtocolError`. Finding forged numbers
is the examiner's task. On the wire: four bytes of length (little-endian), then the record.
"""

import os
import signal
from collections.abc import Collection, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from gapbench.store.records import STATUSES, Qualification

MOST_BYTES = 64 << 20  # longest message that is read; profiles of long calls have some MB, a round some 100 kB
PROTOCOL_ERROR = "its process sent a reply that does not fit the request"

_HEADER = 4

Index = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Quantity = Annotated[float, Meta(ge=0, le=1e15)]
Calibration = dict[Index, tuple[Count, Quantity]]
"""By contender: how many calls make a batch, and the wall seconds that such a batch takes."""

DEVICE_FULL = "the device's memory is full"  # the beginning of a reason that ends the run: other cases have no more
DEVICE_LOST = 72
"""Exit status of a process whose device answers no more: an error in a kernel ends all that a process can do there."""


class ProtocolError(Exception):
    """Bytes that are not a `Reply`; the text says why."""


class Started(Struct, frozen=True, tag=True):
    """A worker process has started; sent before any foreign code runs in it."""

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
    """A worker's own result for one contender, which the examiner confirms."""

    contender: Index
    qualification: Qualification


class Prepared(Struct, frozen=True, tag=True):
    """A process has loaded its contenders: ``first_call`` are the seconds of each contender's first call.

    ``rejected`` has the status and reason of those that could not be loaded. ``conflict`` says why two sides cannot
    share the process, and ``forkable`` whether rounds can be forked from it.
    """

    first_call: dict[Index, Quantity]
    rejected: dict[Index, tuple[str, str]]
    forkable: bool
    conflict: str | None = None


class RoundFailure(Struct, frozen=True, tag=True):
    """Why a round's numbers are invalid; ``contender`` is None where no one contender caused it, ``clock`` for all.

    ``more`` are further refusals of the same round, each of its own row.
    """

    contender: Index | None
    status: str
    reason: str
    clock: str | None = None
    more: list["RoundFailure"] = []


class Batches(Struct, tag=True):
    """The timed batches of one round of one case by one clock, one list a column; counts are per call, or null."""

    contender: list[Index] = []
    turn: list[Index] = []
    position: list[Index] = []
    calls: list[Count] = []
    seconds_per_call: list[Quantity] = []
    page_faults: list[Quantity | None] = []
    sm_clock_mhz: list[Quantity | None] = []
    instructions: list[Quantity | None] = []

    def add(
        self,
        contender: int,
        turn: int,
        position: int,
        calls: int,
        seconds: float,
        page_faults: float | None = None,
        sm_clock_mhz: float | None = None,
        instructions: float | None = None,
    ) -> None:
        """Append one batch that took ``seconds`` as a whole."""
        row = contender, turn, position, calls, seconds / calls, page_faults, sm_clock_mhz, instructions
        for column, value in zip(self.__struct_fields__, row, strict=True):
            getattr(self, column).append(value)

    @property
    def timed_seconds(self) -> float:
        """Return the seconds inside timed batches."""
        return sum(calls * seconds for calls, seconds in zip(self.calls, self.seconds_per_call, strict=True))


class RoundResult(Struct, frozen=True, tag=True):
    """The measurements of a round, by clock: batches, batch lengths (``calibration``) and fields of `Preparation`.

    ``slowdowns`` say how many times as long as at the start the device took for the same work, in the worst batch.
    """

    batches: dict[str, Batches]
    calibration: dict[str, Calibration] = {}
    preparations: dict[str, dict[str, float | None]] = {}
    slowdowns: dict[str, Quantity] = {}
    telemetry: dict[str, float | str | None] = {}


class Agreement(Struct, frozen=True, tag=True):
    """Batch lengths that one process measured, or (from the parent) that all processes use."""

    calibration: Calibration


class Begin(Struct, frozen=True, tag=True):
    """To the examiner: turn to paper number ``paper``; it replies `Done` once the expected outputs are ready."""

    paper: Index


class Shown(Struct, frozen=True, tag=True):
    """To the examiner: an output, whose ``size`` bytes follow, dimension by dimension in ``order``, outermost first.

    ``question`` is a number, or `WEIGHTS`; ``clock`` is the clock that timed the output, null if none did; ``kind``,
    ``device``, ``dtype`` and ``shape`` are those of its `oracle.Description`.
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
    """To the examiner: choose an element of a question's input to change; it replies with a `Change`."""

    contender: Index
    question: Index


class Change(Struct, frozen=True, tag=True):
    """An element's position (n, c, *spatial) and its new value."""

    position: tuple[Index, ...]
    value: float


class Followed(Struct, frozen=True, tag=True):
    """To the examiner: a contender's output for the row that was changed."""

    answer: float


class Examined(Struct, frozen=True, tag=True):
    """The examiner's result for one output; ``reason`` is null where it is right."""

    contender: Index
    question: int
    reason: str | None = None
    max_error: float | None = None
    max_error_ulp: float | None = None
    clock: str | None = None


class Finish(Struct, frozen=True, tag=True):
    """To the examiner: send the parent all results since the last `Findings`."""


class Done(Struct, frozen=True, tag=True):
    """The examiner has completed a `Begin` or `Finish`."""


class Findings(Struct, frozen=True, tag=True):
    """The examiner's results for one paper since the last `Findings`."""

    paper: Index
    examined: list[Examined]


class Answer(Struct, frozen=True, tag=True):
    """Plain data: ceilings, a profile's document."""

    content: Any


WEIGHTS = -1  # the question number of the weights as they were before an update

Reply = Started | WorkerExit | Judged | Prepared | RoundFailure | RoundResult | Agreement | Answer
Examining = Begin | Shown | AskChange | Change | Followed | Examined | Finish | Done | Findings
Message = Reply | Examining

_decoder = msgspec.msgpack.Decoder(Message)


def encode(reply: object) -> bytes:
    """Return a message as bytes. Raises `TypeError` for other objects."""
    if not isinstance(reply, Message):
        raise TypeError(f"a {type(reply).__name__} is not a reply")
    try:
        return msgspec.msgpack.encode(reply)
    except (UnicodeEncodeError, OverflowError):  # half a surrogate pair, in what an exception said
        return msgspec.msgpack.encode(_writable(msgspec.to_builtins(reply)))


def decode(text: bytes) -> Any:
    """Return the message that bytes encode, running no code of theirs. Raises `ProtocolError`."""
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
        """Send a message. Raises `TypeError` for other objects, `ConnectionError` if the other end is closed."""
        text = encode(reply)
        self.send_bytes(memoryview(len(text).to_bytes(_HEADER, "little") + text))

    def receive(self) -> Any:
        """Wait for some bytes; return a message once complete, else None. Raises `EOFError` and `ProtocolError`."""
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
        """Send bytes that the previous message announced."""
        while content:
            content = content[os.write(self.fileno(), content) :]

    def receive_bytes(self, content: memoryview) -> None:
        """Fill ``content`` with bytes that the previous message announced. Raises `EOFError` at the end."""
        while content:
            count = os.readv(self.fileno(), [content])
            if not count:
                raise EOFError
            content = content[count:]

    def wait(self) -> Any:
        """Wait for the next message and return it. Raises as `receive` does."""
        while (reply := self.receive()) is None:
            pass
        return reply

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _missing(self) -> int:
        if len(self._received) < _HEADER:
            return _HEADER - len(self._received)
        length = int.from_bytes(self._received[:_HEADER], "little")
        if not 0 < length <= MOST_BYTES:
            raise ProtocolError(f"a message of {length:,} bytes, where at most {MOST_BYTES:,} are read")
        return _HEADER + length - len(self._received)


def is_judgement(qualification: Qualification) -> bool:
    """Tell whether a qualification has a valid status, and a reason if and only if it is not ok."""
    return qualification.status in STATUSES and (qualification.status == "ok") == (qualification.reason is None)


def fits_prepared(reply: Prepared, contenders: Collection[int]) -> bool:
    """Tell whether a reply covers exactly ``contenders``, with a valid status for each rejected one."""
    statuses = {status for status, _ in reply.rejected.values()}
    return {*reply.first_call, *reply.rejected} == {*contenders} and statuses <= {*STATUSES[1:]}


def fits_failure(failure: RoundFailure, contenders: int, clocks: Mapping[str, object]) -> bool:
    """Tell whether a failure names one of ``contenders`` contenders, one of ``clocks`` and a valid status."""
    in_range = failure.contender is None or failure.contender < contenders
    timed = failure.clock is None or failure.clock in clocks
    rest = all(fits_failure(other, contenders, clocks) and not other.more for other in failure.more)
    return in_range and timed and rest and failure.status in STATUSES[1:]


def fits_round(result: RoundResult, entries: Mapping[str, frozenset[int]]) -> bool:
    """Tell whether a result has batches of exactly ``entries``, one each a turn, in columns of one length."""
    return (
        result.batches.keys() == entries.keys()
        and all(_fits_batches(result.batches[clock], expected) for clock, expected in entries.items())
        and result.telemetry.keys() <= _TELEMETRY.keys()
        and all(value is None or isinstance(value, _TELEMETRY[name]) for name, value in result.telemetry.items())
    )


_TELEMETRY = {"sm_clock_mhz": float, "temperature_c": float, "power_w": float, "throttle": str, "steal": float}


def _fits_batches(batches: Batches, expected: frozenset[int]) -> bool:
    lengths = {len(getattr(batches, name)) for name in batches.__struct_fields__}
    pairs = set(zip(batches.contender, batches.turn, strict=False))
    return set(batches.contender) == expected and lengths == {len(pairs)}
