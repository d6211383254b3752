"""The template's own process: it loads what workers need, then forks one on request and reports how each ended.

Started by `gapbench.measuring.template.Template` with the file descriptors of its control socket
and of the shared byte, and the modules to preload.
"""

import array
import contextlib
import gc
import importlib
import os
import pickle
import selectors
import signal
import socket
import sys
from typing import NoReturn

from gapbench.measuring.messages import Line
from gapbench.measuring.template import MOST_DESCRIPTORS, READY, RunningContender, WorkerExit


class Server:
    """Fork on request, report how each child ended."""

    def __init__(self, control: socket.socket, running: RunningContender) -> None:
        self._control = control
        self._running = running
        self._children: dict[int, Line] = {}
        self._wakeup, waker = socket.socketpair()
        self._wakeup.setblocking(False)
        waker.setblocking(False)
        self._waker = waker
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        """Take jobs and reap children until the parent closes its end."""
        self._control.sendall(READY)
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
                line = self._children.pop(pid)
                with contextlib.suppress(OSError):  # the parent may have lost interest
                    line.send(WorkerExit(os.waitstatus_to_exitcode(status)))
                line.close()

    def _accept(self) -> bool:
        """Take one job; False at the end of the parent's stream."""
        size = array.array("i").itemsize
        header, ancillary, _, _ = self._control.recvmsg(4, socket.CMSG_SPACE(MOST_DESCRIPTORS * size))
        if not header:
            return False
        passed = array.array("i")
        content = ancillary[0][2]
        passed.frombytes(content[: len(content) // size * size])
        line, *descriptors = Line(passed[0]), *passed[1:]
        length = int.from_bytes(header, "little")
        job = b""
        while len(job) < length:
            job += self._control.recv(length - len(job))
        pid = os.fork()
        if pid == 0:
            self._work(line, job, tuple(descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        self._children[pid] = line
        return True

    def _work(self, line: Line, job: bytes, descriptors: tuple[int, ...]) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for mine in (self._control, self._wakeup, self._waker):
                mine.close()
            for sibling in self._children.values():
                sibling.close()
            line.send(os.getpid())
            target, arguments = pickle.loads(job)  # noqa: S301 - from our own parent, over an anonymous socket
            target(line, self._running, *arguments, *([descriptors] if descriptors else []))
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except ConnectionError:
            pass  # the parent has lost interest
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(status)  # no exit handlers: they belong to the template


def main(control: str, running: str, *preload: str) -> None:
    """Load, and serve until the parent closes its end."""
    for module in preload:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is loaded stays shared between the template and its workers
    Server(socket.socket(fileno=int(control)), RunningContender(int(running))).serve()
