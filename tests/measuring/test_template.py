import os
import signal
import time
from pathlib import Path

import pytest

from gapbench.errors import GapbenchError
from gapbench.measuring.template import TEMPLATE_DIED, RunningContender, Template, WorkerExit, WorkerTimeoutError

SOON = 30.0


@pytest.fixture(scope="module", autouse=True)
def _workers_find_this_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture(scope="module")
def template():
    with Template() as template:
        template.wait_ready()
        yield template


def answers(worker, patience=SOON):
    return list(worker.messages(time.monotonic() + patience))


# The targets of jobs: they run in workers.


def echo(connection, running, *arguments):
    connection.send(arguments)


def tell_pid(connection, running):
    connection.send(("pid", os.getpid(), os.getppid()))


def leave_a_mark(connection, running):
    connection.send(("seen", getattr(os, "gapbench_mark", False)))
    os.gapbench_mark = True


def leave(connection, running, status):
    os._exit(status)


def raise_error(connection, running):
    raise ValueError("on purpose")


def die(connection, running, contender):
    running.set(contender)
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(connection, running):
    connection.send("sleeping")
    time.sleep(1000)


def print_something(connection, running):
    print("to stdout", flush=True)


def test_a_job_answers_and_ends_with_its_exit_status(template):
    assert answers(template.start(echo, 1, "two")) == [(1, "two"), WorkerExit(0)]


def test_every_job_has_a_fresh_process_of_one_parent(template):
    pids = [answers(template.start(tell_pid))[0] for _ in range(3)]
    assert len({pid for _, pid, _ in pids}) == 3
    assert len({parent for _, _, parent in pids}) == 1
    assert pids[0][2] != os.getpid()


def test_what_one_worker_does_is_not_seen_by_the_next(template):
    assert [answers(template.start(leave_a_mark))[0] for _ in range(2)] == [("seen", False)] * 2


def test_jobs_run_side_by_side(template):
    slow = template.start(sleep)
    assert answers(template.start(echo, "meanwhile"))[0] == ("meanwhile",)
    slow.kill()


@pytest.mark.parametrize("status", [0, 3])
def test_exit_status_is_reported(template, status):
    assert answers(template.start(leave, status)) == [WorkerExit(status)]


def test_an_exception_in_a_worker_is_its_own_affair(template):
    assert answers(template.start(raise_error)) == [WorkerExit(1)]
    assert answers(template.start(echo))[0] == ()


def test_a_killed_worker_names_its_signal_and_the_contender_that_ran(template):
    (end,) = answers(template.start(die, 5))
    assert end == WorkerExit(-signal.SIGSEGV)
    assert "SIGSEGV" in end.sentence
    assert template.running.get() == 5


def test_a_worker_that_does_not_answer_is_killed(template):
    worker = template.start(sleep)
    messages = worker.messages(time.monotonic() + 0.5)
    assert next(messages) == "sleeping"
    with pytest.raises(WorkerTimeoutError):
        next(messages)


def test_closing_a_template_ends_its_workers():
    with Template() as template:
        template.wait_ready()
        worker = template.start(tell_pid)
        messages = worker.messages(time.monotonic() + SOON)
        _, _, template_pid = next(messages)
        list(messages)
        sleeper = template.start(sleep)
        stream = sleeper.messages(time.monotonic() + SOON)
        assert next(stream) == "sleeping"
    assert list(stream) == [TEMPLATE_DIED]
    with pytest.raises(ProcessLookupError):
        os.kill(template_pid, 0)


def test_a_preload_that_fails_is_an_error_not_a_hang():
    with Template(["gapbench.no_such_module"]) as template, pytest.raises(GapbenchError, match="could not start"):
        template.wait_ready()


def test_what_a_worker_prints_goes_to_stderr(capfd):
    with Template() as template:
        template.wait_ready()
        answers(template.start(print_something))
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "to stdout" in captured.err


def test_who_runs_is_nobody_until_somebody_does():
    running = RunningContender.create()
    assert running.get() is None
    running.set(0)
    assert running.get() == 0
    running.clear()
    assert running.get() is None
