"""Preloaded processes that fork a fresh worker for each job.

Starting Python with torch takes seconds; forking a process that has loaded it takes about 10 ms. `multiprocessing`'s
forkserver exists once per process; these differ in preloads and memory settings. A job is sent with one end of a socket
pair, on which the child sends messages of `protocol`, and the process that forked it its `WorkerExit`. Workers run
untrusted code: they inherit no secret (`worker_env`), and what they write affects their own rows only.
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
_LAST_WORDS = 2.0  # seconds after the deadline in which messages that were sent before it are still read
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
    """One shared byte with the index of the contender that a worker is running, readable after the worker's death."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._byte = mmap.mmap(descriptor, 1)

    @classmethod
    def create(cls) -> "CurrentContender":
        """Create the byte, in an unnamed file."""
        with tempfile.TemporaryFile() as file:
            file.write(bytes([_NOBODY]))
            file.flush()
            return cls(os.dup(file.fileno()))

    def set(self, index: int) -> None:
        """Record that contender ``index`` (below 255) runs from now on; takes about 0.1 µs."""
        self._byte[0] = index

    def clear(self) -> None:
        """Record that none runs: before a worker starts, or the previous worker's last contender would be blamed."""
        self._byte[0] = _NOBODY

    def get(self, count: int = _NOBODY) -> int | None:
        """Return the index last set if it is below ``count``, else None: untrusted code can write any byte."""
        index = self._byte[0]
        return index if index < count else None

    def close(self) -> None:
        """Close this process's mapping; workers keep theirs."""
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
        """Yield what the worker sends, to its `WorkerExit`; raises `WorkerTimeoutError` as `conversation` does."""
        for _, message in conversation([self], deadline, grace):
            yield message

    def send(self, message: object) -> None:
        """Send the worker a message, unless it has just ended; its `WorkerExit` comes then."""
        with contextlib.suppress(ConnectionError):
            self._channel.send(message)

    def fileno(self) -> int:
        """Return the descriptor that is readable as soon as the worker has sent something."""
        return self._channel.fileno()

    def receive(self) -> Any:
        """Return a message, at the end a `WorkerExit`, None while incomplete; kill the sender of an invalid one."""
        try:
            message = self._channel.receive()
        except (EOFError, ConnectionError):
            message = SERVER_DIED
        except ProtocolError as error:
            self.kill()
            return WorkerExit(-signal.SIGKILL, f"it sent {error}")
        if isinstance(message, Started):
            if not self._begun:  # the server's code sends it before other code runs in the process
                self._begun, self._pid = True, message.pid
                return None
            self.kill()
            return WorkerExit(-signal.SIGKILL, PROTOCOL_ERROR)
        self._begun = self._begun or message is not None
        if isinstance(message, WorkerExit):
            self._pid = None  # the system may soon give it to another process
            self._channel.close()
        return message

    def forget(self) -> None:
        """Stop listening to the worker, which ends by itself."""
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
    """Yield messages of ``workers`` as they arrive, with the sender's index, until each has sent a `WorkerExit`.

    Kills all and raises `WorkerTimeoutError` after ``deadline`` (by `time.monotonic`) and all ``grace()`` seconds.
    """
    running = dict(enumerate(workers))
    over: float | None = None
    while running:
        descriptors = {worker.fileno(): index for index, worker in running.items()}
        ready = wait(descriptors, timeout=max(0.0, deadline - time.monotonic()))
        now = time.monotonic()
        if now > deadline and (more := grace()):
            deadline = now + more
            continue
        over = now + _LAST_WORDS if over is None and now > deadline else over
        if not ready or (over is not None and now > over):
            for worker in running.values():
                worker.kill()
            raise WorkerTimeoutError
        for index in [descriptors[descriptor] for descriptor in ready if isinstance(descriptor, int)]:
            message = running[index].receive()
            if isinstance(message, WorkerExit):
                del running[index]
            if message is not None:
                yield index, message


def last_answer(job: Worker, timeout: float) -> object:
    """Return a worker's last message; if it sent none, its `WorkerExit` or a `WorkerTimeoutError`."""
    answer: object = None
    try:
        for message in job.messages(time.monotonic() + timeout):
            answer = answer if answer and isinstance(message, WorkerExit) else message
    except WorkerTimeoutError as error:
        return answer or error
    return answer


def how_it_ended(answer: object, timeout: float) -> tuple[str, str]:
    """Return the status and reason of a worker that sent no valid answer."""
    if isinstance(answer, WorkerTimeoutError):
        return "timeout", f"did not finish within {timeout:.0f} s and was stopped"
    return "failed", answer.sentence if isinstance(answer, WorkerExit) else PROTOCOL_ERROR


class Forker:
    """The parent's handle of a process that forks workers."""

    def __init__(self, control: socket.socket, current: CurrentContender) -> None:
        self._control = control
        self._lock = threading.Lock()
        self.current = current

    def start(self, target: Callable[..., None], *arguments: object, descriptors: Sequence[int] = ()) -> Worker:
        """Fork a worker that runs ``target(channel, current, *arguments)``; copies of ``descriptors`` come last.

        Raises `GapbenchError` if this is a `ForkServer` that has died; the worker of a dead `Branch` ends at once.
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
        """Fork a worker that runs ``target`` and then forks workers, with its own current byte and control socket."""
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
        """Return the error to raise where the process has died, None where its jobs end like dead workers."""
        return None


class Branch(Forker):
    """A worker that has loaded something, and forks workers that share it once it is ``serving``."""

    def __init__(self, control: socket.socket, current: CurrentContender, worker: Worker) -> None:
        super().__init__(control, current)
        self.worker = worker
        self.serving = False

    def close(self) -> None:
        """End the branch and all its workers; a serving branch ends when its control socket is closed."""
        self._control.close()
        if self.serving:
            self.worker.forget()
        else:
            self.worker.kill()
        self.current.close()


class ForkServer(Forker, contextlib.AbstractContextManager["ForkServer"]):
    """A process that starts at once and loads in the background; a context manager that ends it and its workers.

    It imports ``preload``, then with ``wait_for_load`` waits for `load`. ``python`` is its interpreter, ``harness`` the
    folder in which that finds gapbench, ``variables`` are added to its environment.
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
        # -P: the current folder may hold another gapbench, which is the code under test and not the harness.
        serve = [python, "-P", "-c", _SERVE, str(harness), *map(str, descriptors), *preload]
        # In a session of its own, so that Ctrl-C reaches only the parent. Workers print to stderr: stdout carries data.
        self._process = subprocess.Popen(
            serve, env=worker_env.environment(variables), pass_fds=descriptors, stdout=_STDERR, start_new_session=True
        )
        theirs.close()
        if not wait_for_load:
            self.load(())

    def load(self, modules: Sequence[str]) -> None:
        """Import more modules there; to be called once, before the first job."""
        listed = "\n".join(modules).encode()
        with contextlib.suppress(OSError):  # `wait_ready` reports its death
            self._control.sendall(len(listed).to_bytes(4, "little") + listed)

    def wait_ready(self) -> None:
        """Block until everything is loaded. Raises `GapbenchError` if the process could not start."""
        try:
            ready = self._control.recv(1) == READY
        except ConnectionError:
            ready = False
        if not ready:
            raise GapbenchError(
                f"the process that forks workers could not start (exit status {self._process.wait()}); "
                "see its error above"
            )

    def _died(self) -> GapbenchError:
        return GapbenchError(
            f"the process that forks workers has died: {WorkerExit(self._process.wait()).sentence}; run again"
        )

    def close(self) -> None:
        """Kill the process and all its workers, branches and theirs included: all are in its session."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.current.close()

    def __exit__(self, *_: object) -> None:
        self.close()
