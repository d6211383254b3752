import os
import signal
import socket
import time
from collections import deque
from pathlib import Path

import pytest

from gapbench.errors import GapbenchError
from gapbench.measuring import forkserver_process
from gapbench.measuring.forkserver import SERVER_DIED, CurrentContender, ForkServer, WorkerTimeoutError
from gapbench.measuring.protocol import Answer, WorkerExit

SOON = 30.0


@pytest.fixture(scope="module", autouse=True)
def _workers_find_this_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture(scope="module")
def server():
    with ForkServer() as server:
        server.wait_ready()
        yield server


def answers(worker, patience=SOON):
    """Return what a worker says: contents of answers, and how it ended."""
    return [getattr(item, "content", item) for item in worker.messages(time.monotonic() + patience)]


# The targets of jobs: they run in workers.


def echo(channel, current, *arguments):
    channel.send(Answer(arguments))


def tell_pid(channel, current):
    channel.send(Answer(("pid", os.getpid(), os.getppid())))


def leave_a_mark(channel, current):
    channel.send(Answer(("seen", getattr(os, "gapbench_mark", False))))
    os.gapbench_mark = True


def leave(channel, current, status):
    os._exit(status)


def raise_error(channel, current):
    raise ValueError("on purpose")


def die(channel, current, contender):
    current.set(contender)
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(channel, current):
    channel.send(Answer("sleeping"))
    time.sleep(1000)


def print_something(channel, current):
    print("to stdout", flush=True)


def serve(channel, _, prepared, descriptors):
    """Prepare something in a branch, and fork workers that have it."""
    byte, control = descriptors
    os.gapbench_mark = prepared
    channel.send(Answer(os.getpid()))
    forkserver_process.serve(socket.socket(fileno=control), CurrentContender(byte))


def test_a_job_answers_and_ends_with_its_exit_status(server):
    assert answers(server.start(echo, 1, "two")) == [[1, "two"], WorkerExit(0)]


def test_every_job_has_a_fresh_process_of_one_parent(server):
    pids = [answers(server.start(tell_pid))[0] for _ in range(3)]
    assert len({pid for _, pid, _ in pids}) == 3
    assert len({parent for _, _, parent in pids}) == 1
    assert pids[0][2] != os.getpid()


def test_what_one_worker_does_is_not_seen_by_the_next(server):
    assert [answers(server.start(leave_a_mark))[0] for _ in range(2)] == [["seen", False]] * 2


def test_jobs_run_side_by_side(server):
    slow = server.start(sleep)
    assert answers(server.start(echo, "meanwhile"))[0] == ["meanwhile"]
    slow.kill()


@pytest.mark.parametrize("status", [0, 3])
def test_exit_status_is_reported(server, status):
    assert answers(server.start(leave, status)) == [WorkerExit(status)]


def test_an_exception_in_a_worker_is_its_own_affair(server):
    assert answers(server.start(raise_error)) == [WorkerExit(1)]
    assert answers(server.start(echo))[0] == []


def test_a_killed_worker_names_its_signal_and_the_contender_that_ran(server):
    (end,) = answers(server.start(die, 5))
    assert end == WorkerExit(-signal.SIGSEGV)
    assert "SIGSEGV" in end.sentence
    assert server.current.get() == 5


def test_a_worker_that_does_not_answer_is_killed(server):
    worker = server.start(sleep)
    messages = worker.messages(time.monotonic() + 0.5)
    assert next(messages) == Answer("sleeping")
    with pytest.raises(WorkerTimeoutError):
        next(messages)


def test_a_worker_gets_more_time_as_long_as_there_is_some(server):
    left = [0.01, 0.01, 0.0]
    stream = server.start(sleep).messages(time.monotonic(), lambda: left.pop(0))
    with pytest.raises(WorkerTimeoutError):
        list(stream)
    assert left == []


def test_closing_a_server_ends_its_workers():
    with ForkServer() as server:
        server.wait_ready()
        worker = server.start(tell_pid)
        messages = worker.messages(time.monotonic() + SOON)
        _, _, server_pid = next(messages).content
        list(messages)
        sleeper = server.start(sleep)
        stream = sleeper.messages(time.monotonic() + SOON)
        assert next(stream) == Answer("sleeping")
    assert list(stream) == [SERVER_DIED]
    with pytest.raises(ProcessLookupError):
        os.kill(server_pid, 0)


def test_a_preload_that_fails_is_an_error_not_a_hang():
    with ForkServer(["gapbench.no_such_module"]) as server, pytest.raises(GapbenchError, match="could not start"):
        server.wait_ready()


def test_what_a_worker_prints_goes_to_stderr(capfd):
    with ForkServer() as server:
        server.wait_ready()
        answers(server.start(print_something))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "to stdout" in captured.err


def test_who_runs_is_nobody_until_somebody_does():
    current = CurrentContender.create()
    assert current.get() is None
    current.set(0)
    assert current.get() == 0
    current.clear()
    assert current.get() is None


@pytest.fixture
def branch(server):
    """A branch that serves, and its process."""
    branch = server.branch(serve, "prepared")
    pid = next(branch.worker.messages(time.monotonic() + SOON)).content
    branch.serving = True
    yield branch, pid
    branch.close()


def test_workers_of_a_branch_have_what_it_prepared_and_others_do_not(server, branch):
    branch, pid = branch
    assert [answers(branch.start(leave_a_mark))[0] for _ in range(2)] == [["seen", "prepared"]] * 2
    assert answers(branch.start(tell_pid))[0][2] == pid
    assert answers(server.start(leave_a_mark))[0] == ["seen", False]


def test_who_dies_in_a_branch_is_told_by_the_branchs_own_byte(server, branch):
    branch, _ = branch
    server.current.clear()
    assert answers(branch.start(die, 3)) == [WorkerExit(-signal.SIGSEGV)]
    assert (branch.current.get(), server.current.get()) == (3, None)
    assert answers(branch.start(echo, "after"))[0] == ["after"]


def test_closing_a_branch_ends_its_workers_and_not_the_server(server):
    branch = server.branch(serve, "prepared")
    next(branch.worker.messages(time.monotonic() + SOON))
    branch.serving = True
    sleeper = branch.start(sleep)
    stream = sleeper.messages(time.monotonic() + SOON)
    assert next(stream) == Answer("sleeping")
    branch.close()
    assert list(stream) == [SERVER_DIED]
    assert answers(server.start(echo, "after"))[0] == ["after"]


def test_workers_of_a_branch_that_was_killed_died_at_once(server):
    branch = server.branch(serve, "prepared")
    stream = branch.worker.messages(time.monotonic() + SOON)
    os.kill(next(stream).content, signal.SIGKILL)
    assert list(stream) == [WorkerExit(-signal.SIGKILL)]
    assert answers(branch.start(echo)) == [SERVER_DIED]
    branch.close()
    assert answers(server.start(echo, "after"))[0] == ["after"]


def test_a_byte_that_names_nobody_is_nobodys():
    current = CurrentContender.create()
    current.set(2)
    assert current.get(3) == 2
    assert current.get(2) is None
    current.close()


def test_a_server_that_was_killed_is_an_error():
    with ForkServer() as server:
        server.wait_ready()
        os.kill(answers(server.start(tell_pid))[0][2], signal.SIGKILL)
        with pytest.raises(GapbenchError, match="has died: its process was killed by SIGKILL"):
            deque(iter(lambda: server.start(echo), None), maxlen=0)  # it has died as soon as nobody listens


def test_a_parent_that_ends_while_it_sends_a_job_ends_the_server(capfd):
    """Ctrl-C in that moment printed the traceback of an EOFError."""
    control, parent = socket.socketpair()
    mine, theirs = socket.socketpair()
    socket.send_fds(parent, [(100).to_bytes(4, "little")], [theirs.fileno()])
    parent.sendall(b"half a job")
    parent.close()
    earlier = signal.getsignal(signal.SIGCHLD)
    try:
        forkserver_process._Server(control, None).serve()
    finally:
        signal.signal(signal.SIGCHLD, earlier)
    assert capfd.readouterr() == ("", "")
    mine.close()
