"""A preloaded process that forks a fresh worker for each job.

Starting Python with torch takes seconds; forking a process that has it loaded takes about 10 ms, and the child is as
fresh as a benchmark needs: nothing has been computed, allocated or compiled in it. `multiprocessing`'s forkserver does
the same once per process; this one can exist several times, with different preloads, and be restarted.

The parent sends each job with one end of a socket pair. The child answers on it as often as it likes, in `messages`;
when it ends, the template writes its exit status on the same socket, so a job's stream always ends with a `WorkerExit`
(or, if the template died as well, with an end of file).

Workers run code that nobody here has read: they see no secret of the caller's environment (see `inheritance`), and
nothing that they write can do more in the parent than cost their own rows.
"""

import array
import contextlib
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gapbench.errors import GapbenchError
from gapbench.measuring import inheritance
from gapbench.measuring.messages import Line, MessageError

_MAX_JOB = 1 << 20
MOST_DESCRIPTORS = 16
_NOBODY = 255
_LAST_WORDS = 2.0
"""Seconds in which what workers have said by their deadline is taken."""
READY = b"+"
_PACKAGE = Path(__file__).parents[1]
_SERVE = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from gapbench.measuring.template_server import main
main(*sys.argv[1:])
"""
_STDERR = 2  # the file descriptor, which is there even where sys.stderr is replaced (notebooks)


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker ended: ``status`` 0 is well, negative is the number of the signal that killed it.

    Where the parent stopped it, ``reason`` says why.
    """

    status: int
    reason: str | None = None

    @property
    def sentence(self) -> str:
        """Say it in words."""
        if self.reason is not None:
            return f"its process was stopped: {self.reason}"
        if -self.status in set(signal.Signals):
            return f"its process was killed by {signal.Signals(-self.status).name}"
        return f"its process exited with status {self.status}"


TEMPLATE_DIED = WorkerExit(70)


class RunningContender:
    """One shared byte that says which contender a worker is running, readable after the worker's death."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._byte = mmap.mmap(descriptor, 1)

    @classmethod
    def create(cls) -> "RunningContender":
        """Make the byte, in a file without a name."""
        with tempfile.TemporaryFile() as file:
            file.write(bytes([_NOBODY]))
            file.flush()
            return cls(os.dup(file.fileno()))

    def set(self, index: int) -> None:
        """Say that contender ``index`` (below 255) runs from now on; costs about 0.1 µs."""
        self._byte[0] = index

    def clear(self) -> None:
        """Say that none runs: before a worker begins, or its death would be put down to its predecessor's last."""
        self._byte[0] = _NOBODY

    def get(self) -> int | None:
        """Return the index last set, or None."""
        index = self._byte[0]
        return None if index == _NOBODY else index

    def one_of(self, count: int) -> int | None:
        """Return the index last set if it is below ``count``, else None: whoever runs can write what it likes."""
        index = self.get()
        return index if index is not None and index < count else None

    def close(self) -> None:
        """Let go of it; workers keep theirs."""
        self._byte.close()
        os.close(self.descriptor)


class WorkerTimeoutError(Exception):
    """A worker did not answer before its deadline, and was killed."""


class Worker:
    """The parent's side of one job: receive its messages, answer, or kill it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._pid: int | None = None
        self._begun = False

    def messages(self, deadline: float) -> Iterator[Any]:
        """Yield what the worker sends, ending with a `WorkerExit`.

        Raises `WorkerTimeoutError` when ``deadline`` (on `time.monotonic`'s scale) passes; the worker is dead then.
        """
        for _, message in conversation([self], deadline):
            yield message

    def send(self, message: object) -> None:
        """Send the worker something, unless it has just ended (which its `WorkerExit` will tell)."""
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self._line.send(message)

    def fileno(self) -> int:
        """Return the descriptor that can be read as soon as the worker has said something."""
        return self._line.fileno()

    def receive(self) -> Any:
        """Return a message once it is complete, a `WorkerExit` at the end; None for one that is not, or not for others.

        A worker that says what is no message is stopped.
        """
        try:
            heard = self._line.hear()
        except (EOFError, ConnectionError):
            heard = (TEMPLATE_DIED,)
        except MessageError as error:
            self.kill()
            return WorkerExit(-signal.SIGKILL, f"it sent {error}")
        if heard is None:
            return None
        (message,) = heard
        if not self._begun:  # by the template's code, before any other ran in the process
            self._begun, self._pid = True, message if isinstance(message, int) else None
            if self._pid is not None:
                return None
        if isinstance(message, WorkerExit):
            self._pid = None  # it may be another process's soon
            self._line.close()
        return message

    def kill(self) -> None:
        """End the worker at once."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._pid = None
        self._line.close()


def conversation(workers: Sequence[Worker], deadline: float) -> Iterator[tuple[int, Any]]:
    """Yield what ``workers`` say as they say it, each with the speaker's index; ends when each has sent a `WorkerExit`.

    Raises `WorkerTimeoutError` when ``deadline`` passes; all are dead then. What has been said by then is still taken,
    but nobody goes on for ever.
    """
    speaking = dict(enumerate(workers))
    over: float | None = None
    while speaking:
        descriptors = {worker.fileno(): index for index, worker in speaking.items()}
        ready = wait(descriptors, timeout=max(0.0, deadline - time.monotonic()))
        now = time.monotonic()
        over = now + _LAST_WORDS if over is None and now > deadline else over
        if not ready or (over is not None and now > over):
            for worker in speaking.values():
                worker.kill()
            raise WorkerTimeoutError
        for index in [descriptors[one] for one in ready if isinstance(one, int)]:
            message = speaking[index].receive()
            if isinstance(message, WorkerExit):
                del speaking[index]
            if message is not None:
                yield index, message


class Template:
    """A template process, started at once and loading in the background; a context manager that ends it.

    ``preload`` are modules to import there; ``python`` is its interpreter, ``harness`` the folder in which that one
    finds gapbench, and ``variables`` join what it inherits of this process's environment.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        python: str = sys.executable,
        harness: Path = _PACKAGE.parent,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._lock = threading.Lock()
        self.running = RunningContender.create()
        descriptors = [theirs.fileno(), self.running.descriptor]
        # -P: the current folder may hold another gapbench, whose code is under test rather than the harness.
        serve = [python, "-P", "-c", _SERVE, str(harness), *map(str, descriptors), *preload]
        # Its own session: Ctrl-C reaches the parent alone, which decides what to keep. What workers print goes to
        # stderr: stdout carries data.
        self._process = subprocess.Popen(
            serve,
            env=inheritance.environment(variables),
            pass_fds=descriptors,
            stdout=_STDERR,
            start_new_session=True,
        )
        theirs.close()

    def wait_ready(self) -> None:
        """Block until everything is loaded. Raises `GapbenchError` if the template could not start."""
        if self._socket.recv(1) != READY:
            raise GapbenchError(
                f"the worker template could not start (exit status {self._process.wait()}); its error is above"
            )

    def start(self, target: Callable[..., None], *arguments: object, descriptors: Sequence[int] = ()) -> Worker:
        """Fork a worker that runs ``target(line, running, *arguments)``; target and arguments are pickled.

        Where ``descriptors`` (a few open files) are given, the target's last argument is a tuple of the worker's own.
        """
        ours, theirs = socket.socketpair()
        job = pickle.dumps((target, arguments), protocol=4)
        assert len(job) < _MAX_JOB, "a job is a description; data is made by the worker"
        assert len(descriptors) < MOST_DESCRIPTORS
        header = len(job).to_bytes(4, "little")
        passed = array.array("i", [theirs.fileno(), *descriptors])
        try:
            with self._lock:  # jobs may be started from several threads
                self._socket.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
                self._socket.sendall(job)
        except ConnectionError as error:
            ours.close()
            raise GapbenchError(
                f"the process that workers are forked from has died: {WorkerExit(self._process.wait()).sentence}"
            ) from error
        finally:
            theirs.close()
        return Worker(Line(ours.detach()))

    def close(self) -> None:
        """End the template and every worker it has."""
        self._socket.close()
        self._process.wait()
        self.running.close()

    def __enter__(self) -> "Template":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
