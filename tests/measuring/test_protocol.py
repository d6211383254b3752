"""What workers may say, and what comes of whatever else they write."""

import math
import os
import pickle
import socket
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import forkserver, protocol
from gapbench.measuring.forkserver import ForkServer, WorkerTimeoutError
from gapbench.measuring.protocol import (
    Agreement,
    Answer,
    Batches,
    Channel,
    Judged,
    Prepared,
    ProtocolError,
    RoundFailure,
    RoundResult,
    Started,
    WorkerExit,
)
from gapbench.store.records import STATUSES, Qualification

SOON = 30.0

indices, counts = st.integers(0, 2**31 - 1), st.integers(1, 2**31 - 1)
seconds = st.floats(0, 1e15)
calibrations = st.dictionaries(indices, st.tuples(counts, seconds), max_size=3)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text()
plain = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text() | indices, inner), max_leaves=12
)
columns = [indices, indices, indices, counts, seconds, st.none() | seconds]
batches = st.builds(Batches, *(st.lists(column, max_size=3) for column in columns))
qualifications = st.builds(
    Qualification,
    st.sampled_from([str(item) for item in STATUSES]),
    st.none() | st.text(),
    max_error=st.none() | seconds,
    operators=indices,
)
replies = st.one_of(
    st.builds(Started, indices),
    st.builds(WorkerExit, st.integers(-64, 255), st.none() | st.text()),
    st.builds(Judged, indices, qualifications),
    st.builds(
        Prepared,
        st.dictionaries(indices, seconds, max_size=3),
        st.dictionaries(indices, st.tuples(st.text(), st.text()), max_size=3),
        st.booleans(),
        st.none() | st.text(),
    ),
    st.builds(RoundFailure, st.none() | indices, st.text(), st.text(), st.none() | st.text()),
    st.builds(
        RoundResult,
        st.dictionaries(st.text(), batches, max_size=2),
        st.dictionaries(st.text(), calibrations, max_size=2),
        st.dictionaries(st.text(), st.dictionaries(st.text(), st.none() | seconds, max_size=2), max_size=2),
        st.dictionaries(st.text(), seconds, max_size=2),
        st.dictionaries(st.text(), st.none() | seconds | st.text(), max_size=2),
    ),
    st.builds(Agreement, calibrations),
    st.builds(Answer, plain),
)


@pytest.fixture
def ends():
    ours, theirs = (Channel(end.detach()) for end in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


@given(replies)
def test_replies_come_back_as_they_were(reply):
    decoded = protocol.decode(protocol.encode(reply))
    assert decoded == reply
    assert repr(decoded) == repr(reply)  # 1 is not True, nor 1.0


@pytest.mark.parametrize("what", ["text", None, 1, object(), {1, 2}, b"bytes", print, Path("x"), Qualification()])
def test_what_is_no_reply_is_an_error_where_it_is_said(what):
    with pytest.raises(TypeError, match="not a reply"):
        protocol.encode(what)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def packed(type_, **fields):
    return msgspec.msgpack.encode({"type": type_, **fields})


COLUMNS = {"contender": [0], "turn": [0], "position": [0], "calls": [1], "seconds_per_call": [1.0]}
FAILURE = {"contender": 0, "status": "failed", "reason": "x"}


def batches_with(**column):
    of_host = {"type": "Batches", **COLUMNS, **column}
    return packed("RoundResult", batches={"host": of_host})


HOSTILE = {
    "a pickle": pickle.dumps(Evil()),
    "an old pickle": pickle.dumps(Evil(), protocol=0),
    "text": b"hello",
    "not UTF-8": b"\xa3\xff\xfe\xfd",
    "nothing": b"",
    "deep lists": b"\x91" * 100_000,
    "a deep list": b"\x91" * 100_000 + b"\x90",
    "more than one reply": packed("Started", pid=1) * 2,
    "a long list of nothing": b"\xdd\xff\xff\xff\xff",
    "no type": msgspec.msgpack.encode({"pid": 1}),
    "a class by name": packed("os.system", command="true"),
    "a class of ours that is no reply": packed("Case", shape=[1, 1, 1, 1]),
    "a part of a reply": packed("Batches", **COLUMNS),
    "no field": packed("RoundFailure"),
    "a field of another type": packed("RoundFailure", **FAILURE | {"contender": "0"}),
    "a class as a list": msgspec.msgpack.encode(["RoundFailure", 0, "failed", "x"]),
    "a list where numbers belong": packed("RoundResult", batches={"host": []}),
    "words for numbers": batches_with(seconds_per_call=["1"]),
    "truth for numbers": packed("WorkerExit", status=True),
    "a contender below 0": packed("RoundFailure", **FAILURE | {"contender": -1}),
    "a contender in batches below 0": batches_with(contender=[-1]),
    "a turn beyond int32": batches_with(turn=[2**31]),
    "a position below 0": batches_with(position=[-1]),
    "no call": batches_with(calls=[0]),
    "calls in halves": batches_with(calls=[1.5]),
    "NaN seconds": batches_with(seconds_per_call=[math.nan]),
    "endless seconds": batches_with(seconds_per_call=[math.inf]),
    "seconds below 0": batches_with(seconds_per_call=[-1e-9]),
    "NaN page faults": batches_with(page_faults=[math.nan]),
    "page faults below 0": batches_with(page_faults=[-1.0]),
    "a clock rate below 0": batches_with(sm_clock_mhz=[-1.0]),
    "instructions below 0": batches_with(instructions=[-1.0]),
    "a calibration with no call": packed("Agreement", calibration={1: (0, 1.0)}),
    "a calibration of NaN": packed("Agreement", calibration={1: (1, math.nan)}),
    "a calibration without seconds": packed("Agreement", calibration={1: (1,)}),
    "a calibration of three": packed("Agreement", calibration={1: (1, 1.0, 2)}),
    "a calibration of text": packed("Agreement", calibration={"1": (1, 1.0)}),
    "a calibration that is none": packed("Agreement", calibration=None),
    "a first call before its time": packed("Prepared", first_call={0: -1.0}, rejected={}, forkable=True),
    "a first call of NaN": packed("Prepared", first_call={0: math.nan}, rejected={}, forkable=True),
    "a slowdown of NaN": packed("RoundResult", batches={}, slowdowns={"host": math.nan}),
    "an endless slowdown": packed("RoundResult", batches={}, slowdowns={"host": math.inf}),
    "a judgement in words": packed("Judged", contender=0, qualification="ok"),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_else_is_written_is_no_reply_and_does_nothing(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProtocolError):
        protocol.decode(text)
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_reply_or_that_error(text):
    try:
        assert isinstance(protocol.decode(text), protocol.Reply)
    except ProtocolError:
        return


@given(st.lists(st.sampled_from(["a", "\ud800", "\udfff"])).map("".join))
def test_half_a_surrogate_pair_becomes_what_can_be_written(text):
    expected = text.encode("utf-8", "replace").decode()
    assert protocol.decode(protocol.encode(RoundFailure(0, "failed", text))).reason == expected
    qualification = protocol.decode(protocol.encode(Judged(1, Qualification("failed", text)))).qualification
    assert qualification == Qualification("failed", expected)
    prepared = Prepared({2: 1.0}, {3: ("failed", text)}, True, text)
    assert protocol.decode(protocol.encode(prepared)) == Prepared({2: 1.0}, {3: ("failed", expected)}, True, expected)


@given(st.lists(replies, min_size=1, max_size=4), st.data())
def test_replies_survive_any_cut_of_their_bytes(sent, data):
    ours, theirs = (Channel(end.detach()) for end in socket.socketpair())
    stream = b"".join(len(text).to_bytes(4, "little") + text for text in map(protocol.encode, sent))
    heard = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        os.write(theirs.fileno(), stream[:size])
        stream = stream[size:]
        theirs_left = size
        while theirs_left > 0:
            before = ours._missing()
            theirs_left -= min(before, theirs_left)
            if (decoded := ours.receive()) is not None:
                heard.append(decoded)
    theirs.close()
    assert heard == sent
    with pytest.raises(EOFError):
        ours.receive()
    ours.close()


@pytest.mark.parametrize("length", [0, protocol.MOST_BYTES + 1, 2**32 - 1])
def test_a_length_that_no_message_has_is_refused_before_anything_is_read(ends, length):
    ours, theirs = ends
    os.write(theirs.fileno(), length.to_bytes(4, "little"))
    with pytest.raises(ProtocolError, match="at most"):
        ours.receive()


def test_long_messages_arrive_whole(ends):
    ours, theirs = ends
    sent = Answer(list(range(200_000)))
    speaker = threading.Thread(target=theirs.send, args=(sent,))
    speaker.start()
    assert ours.wait() == sent
    speaker.join(SOON)


# Whether a reply answers the request.

ENTRIES = {"host": frozenset({0, 1}), "host_cold": frozenset({1})}


def both(**columns):
    defaults = {"contender": [0, 1, 1, 0], "turn": [0, 0, 1, 1], "position": [0, 1, 0, 1], "calls": [2] * 4}
    measured = {"page_faults": [None, 0.0, 1.5, 0.0], "sm_clock_mhz": [None, 1980.0, 1200.0, None]}
    measured["instructions"] = [None, 0.0, 812.5, 1e9]
    return Batches(**defaults | {"seconds_per_call": [1e-6] * 4} | measured | columns)


ONE = Batches([1, 1], [0, 1], [0, 0], [2] * 2, [1e-6] * 2, *[[None, None]] * 3)
GOOD = {"batches": {"host": both(), "host_cold": ONE}, "slowdowns": {"host": 1.0}}


def test_a_round_that_was_asked_for_fits():
    assert protocol.fits_round(RoundResult(**GOOD, telemetry={"steal": 0.0, "throttle": None}), ENTRIES)


@pytest.mark.parametrize(
    "columns",
    [
        {"contender": [0, 1, 1, 2]},
        {"contender": [0, 1, 1, 1]},  # twice in one turn
        {"contender": [0, 0, 0, 0]},
        {"turn": [0, 0, 1]},
        {"position": [0] * 5},
        {"calls": [2] * 3},
        {"seconds_per_call": []},
        {"page_faults": [None]},
        {"sm_clock_mhz": [1980.0]},
        {"instructions": [1.0]},
        {name: [] for name in Batches.__struct_fields__},
    ],
)
def test_batches_that_nobody_asked_for_do_not(columns):
    assert not protocol.fits_round(
        RoundResult(**GOOD | {"batches": {"host": both(**columns), "host_cold": ONE}}), ENTRIES
    )


@pytest.mark.parametrize(
    "other",
    [
        {"batches": {"host": both()}},
        {"batches": {"host": both(), "host_cold": ONE, "graph_warm": ONE}},
        {"telemetry": {"case": "another"}},
        {"telemetry": {"power_w": "much"}},
        {"telemetry": {"throttle": 1.0}},
    ],
)
def test_rounds_with_more_or_less_do_not(other):
    assert not protocol.fits_round(RoundResult(**GOOD | other), ENTRIES)


def test_failures_fit_if_they_are_of_somebody_who_took_part():
    assert protocol.fits_failure(RoundFailure(1, "wrong", "x", "host"), 2, ENTRIES)
    assert protocol.fits_failure(RoundFailure(None, "oom", "x"), 2, ENTRIES)
    for other in [(2, "oom", "x"), (0, "ok", "x"), (0, "no", "x"), (0, "oom", "x", "s"), (None, "ok", "x")]:
        assert not protocol.fits_failure(RoundFailure(*other), 2, ENTRIES)


@pytest.mark.parametrize("status", [*STATUSES, "splendid", ""])
@pytest.mark.parametrize("reason", [None, "because"])
def test_a_judgement_has_a_reason_exactly_where_it_is_not_ok(status, reason):
    expected = status in STATUSES and (reason is None) == (status == "ok")
    assert protocol.is_judgement(Qualification(status, reason)) is expected


# The targets of jobs: they run in workers.


def write(channel, current, text):
    os.write(channel.fileno(), text.encode("latin-1"))
    time.sleep(1000)


def babble(channel, current):
    while True:
        channel.send(Answer("and another thing"))


def begin_again(channel, current, pid):
    """Pretend to be another process, so that the parent kills that one."""
    channel.send(Answer("first"))
    channel.send(Started(pid))
    time.sleep(1000)


@pytest.fixture(scope="module")
def workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        with ForkServer([Path(__file__).stem]) as server:  # or every worker would import it
            server.wait_ready()
            yield server


def framed(text):
    return len(text).to_bytes(4, "little") + text


SHORT = {name: framed(text) for name, text in HOSTILE.items() if len(text) < 1000}


@pytest.mark.parametrize("text", [b"\xff\xff\xff\x7f", *SHORT.values()], ids=["too long", *SHORT])
def test_a_worker_that_says_what_is_no_reply_is_stopped(workers, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    worker = workers.start(write, text.decode("latin-1"))
    (end,) = worker.messages(time.monotonic() + SOON)
    assert "its process was stopped: it sent" in end.sentence
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_never_ends_its_message_is_given_up_in_time(workers):
    worker = workers.start(write, "\x10\x00\x00\x00[1,")
    with pytest.raises(WorkerTimeoutError):
        list(worker.messages(time.monotonic() + 0.5))


def test_a_worker_that_never_stops_talking_is_given_up(workers, monkeypatch):
    monkeypatch.setattr(forkserver, "_LAST_WORDS", 0.2)
    with pytest.raises(WorkerTimeoutError):
        for _ in workers.start(babble).messages(time.monotonic() + 0.5):
            pass


def test_no_worker_can_have_the_parent_kill_another_process(workers, monkeypatch):
    killed = []
    monkeypatch.setattr(forkserver.os, "kill", lambda pid, _: killed.append(pid))
    first, end = workers.start(begin_again, 1).messages(time.monotonic() + SOON)
    assert first == Answer("first")
    assert protocol.PROTOCOL_ERROR in end.sentence
    monkeypatch.undo()
    (pid,) = killed
    assert pid > 1
    os.kill(pid, 9)
