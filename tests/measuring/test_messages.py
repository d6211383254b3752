"""What workers may say, and what comes of whatever else they write."""

import os
import pickle
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.measuring import messages, template
from gapbench.measuring.messages import Line, MessageError
from gapbench.measuring.rounds import Fault, RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.measuring.template import Template, WorkerExit, WorkerTimeoutError
from gapbench.records import Qualification

SOON = 30.0

INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | st.text()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | INTEGERS, inner),
    max_leaves=12,
)


@pytest.fixture
def ends():
    ours, theirs = (Line(one.detach()) for one in socket.socketpair())
    yield ours, theirs
    ours.close()
    theirs.close()


@given(PLAIN)
def test_values_come_back_as_they_were_tuples_and_keys_too(value):
    found = messages.decode(messages.encode(value))
    assert found == value
    assert repr(found) == repr(value)  # 1 is not True, nor 1.0


@pytest.mark.parametrize(
    "message",
    [
        Qualification("wrong", "because", 0.1, None),
        Fault(1, "failed", "so", "host"),
        RoundResult({"host": Batches([0], [0], [0], [3], [1.0])}, {"host": {"floor": None}}, {"host": 1.0}),
        WorkerExit(-9),
        WorkerExit(-9, "said nonsense"),
        float("inf"),
    ],
    ids=repr,
)  # fmt: skip
def test_dataclasses_come_back_as_they_were(message):
    assert messages.decode(messages.encode(message)) == message


def test_numbers_of_numpy_are_numbers():
    import numpy as np

    assert repr(messages.decode(messages.encode([np.int64(3), np.float32(0.5)]))) == "[3, 0.5]"


@pytest.mark.parametrize("what", [object(), {1, 2}, b"bytes", print, Path("x"), Qualification])
def test_what_cannot_be_said_is_an_error_where_it_is_said(what):
    with pytest.raises(TypeError, match="no message"):
        messages.encode(what)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("executed",)


HOSTILE = {
    "a pickle": pickle.dumps(Evil()),
    "an old pickle": pickle.dumps(Evil(), protocol=0),
    "not UTF-8": b"\xff\xfe\xfd",
    "nothing": b"",
    "deep lists": b"[" * 100_000,
    "a deep list": b"[" * 100_000 + b"]" * 100_000,
    "a class by name": b'{"os.system":{"command":"true"}}',
    "a class of ours that is no message": b'{"Case":{"shape":[1,1,1,1]}}',
    "no field": b'{"Fault":{}}',
    "a field of another class": b'{"WorkerExit":{"status":0,"__class__":1}}',
    "a field of another type": b'{"Fault":{"contender":"0","status":"failed","reason":"x"}}',
    "a class as a list": b'{"Fault":[1,2,3]}',
    "two names": b'{"tuple":[],"dict":[]}',
    "no name": b"{}",
    "a dictionary of lists": b'{"dict":[[[],1]]}',
    "a dictionary of half pairs": b'{"dict":[[1]]}',
    "an endless integer": b"9" * 10_000,
    "a long integer": b"9" * 30,
    "a list where numbers belong": b'{"RoundResult":{"batches":{"dict":[["host",[]]]}}}',
    "words for numbers": b'{"Batches":{"seconds_per_call":["1"]}}',
    "truth for numbers": b'{"WorkerExit":{"status":true}}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_whatever_else_is_written_is_no_message_and_does_nothing(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MessageError):
        messages.decode(text)
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=200))
def test_no_bytes_make_anything_but_a_message_or_that_error(text):
    try:
        messages.decode(text)
    except MessageError:
        return


def test_half_a_surrogate_pair_becomes_what_can_be_written():
    assert messages.decode(b'"a\\ud800b"') == "a?b"
    assert messages.decode(messages.encode("a\ud800b")) == "a?b"


@given(st.lists(PLAIN, min_size=1, max_size=4), st.data())
def test_messages_survive_any_cut_of_their_bytes(said, data):
    ours, theirs = (Line(one.detach()) for one in socket.socketpair())
    stream = b"".join(len(text).to_bytes(4, "little") + text for text in map(messages.encode, said))
    heard = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        os.write(theirs.fileno(), stream[:size])
        stream = stream[size:]
        theirs_left = size
        while theirs_left > 0:
            before = ours._missing()
            theirs_left -= min(before, theirs_left)
            if found := ours.hear():
                heard.append(found[0])
    theirs.close()
    assert heard == said
    with pytest.raises(EOFError):
        ours.hear()
    ours.close()


@pytest.mark.parametrize("length", [0, messages.MOST_BYTES + 1, 2**32 - 1])
def test_a_length_that_no_message_has_is_refused_before_anything_is_read(ends, length):
    ours, theirs = ends
    os.write(theirs.fileno(), length.to_bytes(4, "little"))
    with pytest.raises(MessageError, match="at most"):
        ours.hear()


def test_long_messages_arrive_whole(ends):
    ours, theirs = ends
    said = list(range(200_000))
    speaker = threading.Thread(target=theirs.send, args=(said,))
    speaker.start()
    assert ours.recv() == said
    speaker.join(SOON)


# The targets of jobs: they run in workers.


def write(line, running, text):
    os.write(line.fileno(), text.encode("latin-1"))
    time.sleep(1000)


def babble(line, running):
    while True:
        line.send("and another thing")


def name_another_process(line, running, pid):
    line.send(pid)
    time.sleep(1000)


@pytest.fixture(scope="module")
def workers():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        with Template([Path(__file__).stem]) as one:  # or every worker would import it
            one.wait_ready()
            yield one


def framed(text):
    return len(text).to_bytes(4, "little") + text


SHORT = [framed(text) for text in HOSTILE.values() if len(text) < 1000]


@pytest.mark.parametrize("text", [b"\xff\xff\xff\x7f", *SHORT])
def test_a_worker_that_says_what_is_no_message_is_stopped(workers, text, tmp_path, monkeypatch):
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
    monkeypatch.setattr(template, "_LAST_WORDS", 0.2)
    with pytest.raises(WorkerTimeoutError):
        for _ in workers.start(babble).messages(time.monotonic() + 0.5):
            pass


def test_no_worker_can_have_the_parent_kill_another_process(workers, monkeypatch):
    killed = []
    monkeypatch.setattr(template.os, "kill", lambda pid, _: killed.append(pid))
    worker = workers.start(name_another_process, -1)
    stream = worker.messages(time.monotonic() + 1.0)
    assert next(stream) == -1
    with pytest.raises(WorkerTimeoutError):
        next(stream)
    monkeypatch.undo()
    (pid,) = killed
    assert pid > 1
    os.kill(pid, 9)
