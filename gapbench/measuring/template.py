"""A preloaded process that forks a fresh worker for each job.

Starting Python with torch takes seconds; forking a process that has it loaded takes about 10 ms, and the child is as
fresh as a benchmark needs: nothing has been computed, allocated or compiled in it. `multiprocessing`'s forkserver does
the same once per process; this one can exist several times, with different preloads, and be restarted.

The parent sends each job with one end of a socket pair. The child answers on it as often as it likes; when it ends,
the template writes its exit status on the same socket, so a job's stream always ends with a `WorkerExit` (or, if the
template died as well, with an end of file).
"""

import array
import contextlib
import importlib
import mmap
import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from gapbench.errors import GapbenchError

_MAX_JOB = 1 << 20
_READY = b"+"
_STDERR = 2  # the file descriptor, which is there even where sys.stderr is replaced (notebooks)


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """How a worker ended: ``status`` 0 is well, negative is the number of the signal that killed it."""

    status: int

    @property
    def sentence(self) -> str:
        """Say it in words."""
        if self.status < 0:
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
            file.write(b"\0")
            file.flush()
            return cls(os.dup(file.fileno()))

    def set(self, index: int) -> None:
        """Say that contender ``index`` (below 255) runs from now on; costs about 0.1 µs."""
        self._byte[0] = index

    def get(self) -> int:
        """Return the index last set."""
        return self._byte[0]


class WorkerTimeoutError(Exception):
    """A worker did not answer before its deadline, and was killed."""


class Worker:
    """The parent's side of one job: receive its messages, or kill it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pid: int | None = None

    def messages(self, deadline: float) -> Iterator[Any]:
        """Yield what the worker sends, ending with a `WorkerExit`.

        Raises `WorkerTimeoutError` when ``deadline`` (on `time.monotonic`'s scale) passes; the worker is dead then.
        """
        while True:
            if not wait([self._connection], timeout=max(0.0, deadline - time.monotonic())):
                self.kill()
                raise WorkerTimeoutError
            try:
                message = self._connection.recv()
            except (EOFError, ConnectionError, pickle.UnpicklingError):
                yield TEMPLATE_DIED
                return
            if isinstance(message, int):
                self._pid = message
                continue
            yield message
            if isinstance(message, WorkerExit):
                self._connection.close()
                return

    def kill(self) -> None:
        """End the worker at once."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._connection.close()


class Template:
    """A template process, started at once and loading in the background; a context manager that ends it.

    ``preload`` are modules to import there; ``python`` is its interpreter.
    """

    def __init__(self, preload: Sequence[str] = (), python: str = sys.executable) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._lock = threading.Lock()
        self.running = RunningContender.create()
        descriptors = [theirs.fileno(), self.running.descriptor]
        command = [python, "-m", "gapbench.measuring.template", *map(str, descriptors), *preload]
        # Its own session: Ctrl-C reaches the parent alone, which decides what to keep. What workers print goes to
        # stderr: stdout carries data.
        self._process = subprocess.Popen(
            command, pass_fds=descriptors, stdout=_STDERR, start_new_session=True
        )
        theirs.close()

    def wait_ready(self) -> None:
        """Block until everything is loaded. Raises `GapbenchError` if the template could not start."""
        if self._socket.recv(1) != _READY:
            raise GapbenchError(
                f"the worker template could not start (exit status {self._process.wait()}); its error is above"
            )

    def start(self, target: Callable[..., None], *arguments: object) -> Worker:
        """Fork a worker that runs ``target(connection, running, *arguments)``; target and arguments are pickled."""
        ours, theirs = socket.socketpair()
        job = pickle.dumps((target, arguments), protocol=4)
        assert len(job) < _MAX_JOB, "a job is a description; data is made by the worker"
        header = len(job).to_bytes(4, "little")
        descriptor = array.array("i", [theirs.fileno()])
        with self._lock:  # jobs may be started from several threads
            self._socket.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
            self._socket.sendall(job)
        theirs.close()
        return Worker(Connection(ours.detach()))

    def close(self) -> None:
        """End the template and every worker it has."""
        self._socket.close()
        self._process.wait()
        os.close(self.running.descriptor)

    def __enter__(self) -> "Template":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server:
    """The template's own side: fork on request, report how each child ended."""

    def __init__(self, control: socket.socket, running: RunningContender) -> None:
        self._control = control
        self._running = running
        self._children: dict[int, Connection] = {}
        self._wakeup, waker = socket.socketpair()
        self._wakeup.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        self._control.sendall(_READY)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wakeup, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wakeup:
                        self._wakeup.recv(4096)
                        self._reap()
                    elif not self._accept():
                        self._end_children()
                        return

    def _end_children(self) -> None:
        signal.set_wakeup_fd(-1)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _reap(self) -> None:
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                connection = self._children.pop(pid)
                with contextlib.suppress(OSError):  # the parent may have lost interest
                    connection.send(WorkerExit(os.waitstatus_to_exitcode(status)))
                connection.close()

    def _accept(self) -> bool:
        """Take one job; False at the end of the parent's stream."""
        size = array.array("i").itemsize
        header, ancillary, _, _ = self._control.recvmsg(4, socket.CMSG_SPACE(size))
        if not header:
            return False
        descriptors = array.array("i")
        descriptors.frombytes(ancillary[0][2][:size])
        connection = Connection(descriptors[0])
        length = int.from_bytes(header, "little")
        job = b""
        while len(job) < length:
            job += self._control.recv(length - len(job))
        pid = os.fork()
        if pid == 0:
            self._work(connection, job)
        self._children[pid] = connection
        return True

    def _work(self, connection: Connection, job: bytes) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for mine in (self._control, self._wakeup, self._waker):
                mine.close()
            for sibling in self._children.values():
                sibling.close()
            connection.send(os.getpid())
            target, arguments = pickle.loads(job)  # noqa: S301 - from our own parent, over an anonymous socket
            target(connection, self._running, *arguments)
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)  # no exit handlers: they belong to the template


def _main(control: str, running: str, *preload: str) -> None:
    for module in preload:
        importlib.import_module(module)
    import gc

    gc.collect()
    gc.freeze()  # what is loaded stays shared between the template and its workers
    _Server(socket.socket(fileno=int(control)), RunningContender(int(running))).serve()


if __name__ == "__main__":
    # Run under its importable name, so that `WorkerExit` pickles as the class that the parent knows.
    from gapbench.measuring import template

    template._main(*sys.argv[1:])
