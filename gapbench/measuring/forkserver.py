"""Preloaded processes that fork a fresh worker for each job.

Starting Python with torch takes seconds; forking a process that has it loaded takes about 10 ms, and the child is as
fresh as a benchmark needs. `multiprocessing`'s forkserver does the same once per process; this one can exist several
times, with different preloads and memory settings, and in two layers: a `Branch` is a worker of a `ForkServer` that has
loaded one case's contenders and forks the rounds of that case.

The parent sends each job with one end of a socket pair. The child answers on it as often as it likes, in `protocol`;
when it ends, the process it was forked from writes its exit status on the same socket, so a job's stream always ends
with a `WorkerExit` (or, if that process died as well, with an end of file).

Workers run code that nobody here has read: they see no secret of the caller's environment (see `worker_env`), and
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
from multiprocessing.connection import wait
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gapbench.errors import GapbenchError
from gapbench.measuring import worker_env
from gapbench.measuring.protocol import PROTOCOL_ERROR, Channel, ProtocolError, Started, WorkerExit

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
from gapbench.measuring.forkserver_process import main
main(*sys.argv[1:])
"""
_STDERR = 2  # the file descriptor, which is there even where sys.stderr is replaced (notebooks)
SERVER_DIED = WorkerExit(70)


class CurrentContender:
    """One shared byte that says which contender a worker is running, readable after the worker's death."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._byte = mmap.mmap(descriptor, 1)

    @classmethod
    def create(cls) -> "CurrentContender":
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

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid: int | None = None
        self._begun = False

    def messages(self, deadline: float, grace: Callable[[], float] = lambda: 0.0) -> Iterator[Any]:
        """Yield what the worker sends, ending with a `WorkerExit`.

        Raises `WorkerTimeoutError` when ``deadline`` (on `time.monotonic`'s scale) passes, and ``grace`` says that
        there are no more seconds; the worker is dead then.
        """
        for _, message in conversation([self], deadline, grace):
            yield message

    def send(self, message: object) -> None:
        """Send the worker something, unless it has just ended (which its `WorkerExit` will tell)."""
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self._channel.send(message)

    def fileno(self) -> int:
        """Return the descriptor that can be read as soon as the worker has said something."""
        return self._channel.fileno()

    def receive(self) -> Any:
        """Return a message once it is complete, a `WorkerExit` at the end; None for one that is not, or not for others.

        A worker that sends an invalid message is stopped.
        """
        try:
            message = self._channel.receive()
        except (EOFError, ConnectionError):
            message = SERVER_DIED
        except ProtocolError as error:
            self.kill()
            return WorkerExit(-signal.SIGKILL, f"it sent {error}")
        if message is None:
            return None
        if not self._begun:  # by the server's code, before any other ran in the process
            self._begun = True
            if isinstance(message, Started):
                self._pid = message.pid
                return None
        elif isinstance(message, Started):  # it cannot begin twice
            self.kill()
            return WorkerExit(-signal.SIGKILL, PROTOCOL_ERROR)
        if isinstance(message, WorkerExit):
            self._pid = None  # it may be another process's soon
            self._channel.close()
        return message

    def forget(self) -> None:
        """Hear no more of the worker, which ends by itself."""
        self._channel.close()

    def kill(self) -> None:
        """End the worker at once."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._pid = None
        self._channel.close()


def conversation(
    workers: Sequence[Worker], deadline: float, grace: Callable[[], float] = lambda: 0.0
) -> Iterator[tuple[int, Any]]:
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
        if now > deadline and (more := grace()):
            deadline = now + more
            continue
        over = now + _LAST_WORDS if over is None and now > deadline else over
        if not ready or (over is not None and now > over):
            for worker in speaking.values():
                worker.kill()
            raise WorkerTimeoutError
        for index in [descriptors[descriptor] for descriptor in ready if isinstance(descriptor, int)]:
            message = speaking[index].receive()
            if isinstance(message, WorkerExit):
                del speaking[index]
            if message is not None:
                yield index, message


def last_answer(job: Worker, timeout: float) -> object:
    """Return what a worker said last, or how it ended without a word: a `WorkerExit` or a `WorkerTimeoutError`."""
    answer: object = None
    try:
        for message in job.messages(time.monotonic() + timeout):
            if isinstance(message, WorkerExit):
                return answer or message
            answer = message
    except WorkerTimeoutError as error:
        return answer or error
    return answer


def how_it_ended(answer: object, timeout: float) -> tuple[str, str]:
    """Return the status and reason of a worker that gave no usable answer."""
    if isinstance(answer, WorkerTimeoutError):
        return "timeout", f"did not finish within {timeout:.0f} s and was stopped"
    return "failed", answer.sentence if isinstance(answer, WorkerExit) else PROTOCOL_ERROR


class Forker:
    """A process that forks workers, as its parent sees it."""

    def __init__(self, control: socket.socket, current: CurrentContender) -> None:
        self._control = control
        self._lock = threading.Lock()
        self.current = current

    def start(self, target: Callable[..., None], *arguments: object, descriptors: Sequence[int] = ()) -> Worker:
        """Fork a worker that runs ``target(channel, current, *arguments)``; target and arguments are pickled.

        Where ``descriptors`` (a few open files) are given, the target's last argument is a tuple of the worker's own.
        Raises `GapbenchError` if a `ForkServer` has died; the worker of a `Branch` that has is one that died at once.
        """
        ours, theirs = socket.socketpair()
        job = pickle.dumps((target, arguments), protocol=4)
        assert len(job) < _MAX_JOB, "a job is a description; data is made by the worker"
        assert len(descriptors) < MOST_DESCRIPTORS
        header = len(job).to_bytes(4, "little")
        passed = array.array("i", [theirs.fileno(), *descriptors])
        try:
            with self._lock:  # jobs may be started from several threads
                self._control.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
                self._control.sendall(job)
        except OSError as error:
            if died := self._died():
                ours.close()
                raise died from error
        finally:
            theirs.close()
        return Worker(Channel(ours.detach()))

    def branch(self, target: Callable[..., None], *arguments: object) -> "Branch":
        """Fork a worker that runs ``target(channel, current, *arguments, descriptors)`` and then forks workers itself.

        The target's own current byte and control socket are those of ``descriptors``; see `forkserver_process.serve`.
        """
        ours, theirs = socket.socketpair()
        current = CurrentContender.create()
        try:
            worker = self.start(target, *arguments, descriptors=[current.descriptor, theirs.fileno()])
        except BaseException:
            ours.close()
            current.close()
            raise
        finally:
            theirs.close()
        return Branch(ours, current, worker)

    def _died(self) -> GapbenchError | None:
        """Return what the death of the process is to its caller; None if it is like that of the job itself."""
        return None


class Branch(Forker):
    """A worker that has prepared something, and forks workers that have it once it is ``serving``."""

    def __init__(self, control: socket.socket, current: CurrentContender, worker: Worker) -> None:
        super().__init__(control, current)
        self.worker = worker
        self.serving = False

    def close(self) -> None:
        """End the branch and every worker it has: one that serves ends by itself."""
        self._control.close()
        if self.serving:
            self.worker.forget()
        else:
            self.worker.kill()
        self.current.close()


class ForkServer(Forker):
    """A first process, started at once and loading in the background; a context manager that ends it and its workers.

    ``preload`` are modules to import there; ``python`` is its interpreter, ``harness`` the folder in which that one
    finds gapbench, and ``variables`` join what it inherits of this process's environment. With ``wait_for_load`` it
    waits for a call of `load` after that.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        python: str = sys.executable,
        harness: Path = _PACKAGE.parent,
        variables: Mapping[str, str] = MappingProxyType({}),
        wait_for_load: bool = False,
    ) -> None:
        ours, theirs = socket.socketpair()
        super().__init__(ours, CurrentContender.create())
        descriptors = [theirs.fileno(), self.current.descriptor]
        # -P: the current folder may hold another gapbench, whose code is under test rather than the harness.
        serve = [python, "-P", "-c", _SERVE, str(harness), *map(str, descriptors), *preload]
        # Its own session: Ctrl-C reaches the parent alone, which decides what to keep. What workers print goes to
        # stderr: stdout carries data.
        self._process = subprocess.Popen(
            serve, env=worker_env.environment(variables), pass_fds=descriptors, stdout=_STDERR, start_new_session=True
        )
        theirs.close()
        if not wait_for_load:
            self.load(())

    def load(self, modules: Sequence[str]) -> None:
        """Name more modules to import, once, before the first job."""
        listed = "\n".join(modules).encode()
        with contextlib.suppress(OSError):  # `wait_ready` tells of its death
            self._control.sendall(len(listed).to_bytes(4, "little") + listed)

    def wait_ready(self) -> None:
        """Block until everything is loaded. Raises `GapbenchError` if the process could not start."""
        try:
            ready = self._control.recv(1) == READY
        except ConnectionError:
            ready = False
        if not ready:
            raise GapbenchError(
                f"the process that workers are forked from could not start (exit status {self._process.wait()}); "
                "its error is above"
            )

    def _died(self) -> GapbenchError:
        return GapbenchError(
            f"the process that workers are forked from has died: {WorkerExit(self._process.wait()).sentence}"
        )

    def close(self) -> None:
        """End the process and every worker it has at once, branches and theirs included: all are of its session."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.current.close()

    def __enter__(self) -> "ForkServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
