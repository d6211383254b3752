"""The process that forks a worker for each job of a `ForkServer` or `Branch`, and reports how each ended."""

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

from gapbench.measuring.forkserver import MOST_DESCRIPTORS, READY, CurrentContender
from gapbench.measuring.protocol import Channel, Started, WorkerExit


class _Server:
    def __init__(self, control: socket.socket, current: CurrentContender) -> None:
        self._control = control
        self._current = current
        self._children: dict[int, Channel] = {}
        self._wakeup, self._waker = socket.socketpair()
        self._wakeup.setblocking(False)
        self._waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wakeup, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._wakeup:
                        self._wakeup.recv(4096)
                        self._reap()
                    elif not self._accept():
                        signal.set_wakeup_fd(-1)
                        for pid in self._children:
                            os.kill(pid, signal.SIGKILL)
                            os.waitpid(pid, 0)
                        return

    def _reap(self) -> None:
        for pid in list(self._children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                channel = self._children.pop(pid)
                with contextlib.suppress(OSError):  # the parent may have closed its end
                    channel.send(WorkerExit(os.waitstatus_to_exitcode(status)))
                channel.close()

    def _accept(self) -> bool:
        """Start one job; False at the end of the parent's stream."""
        size = array.array("i").itemsize
        header, ancillary, _, _ = self._control.recvmsg(4, socket.CMSG_SPACE(MOST_DESCRIPTORS * size))
        if not header:
            return False
        passed = array.array("i")
        content = ancillary[0][2]
        passed.frombytes(content[: len(content) // size * size])
        channel, *descriptors = Channel(passed[0]), *passed[1:]
        try:
            job = _receive(self._control, int.from_bytes(header, "little"))
        except EOFError:  # Ctrl-C ended the parent while it sent the job
            return False
        pid = os.fork()
        if pid == 0:
            self._work(channel, job, tuple(descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        self._children[pid] = channel
        return True

    def _work(self, channel: Channel, job: bytes, descriptors: tuple[int, ...]) -> NoReturn:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for mine in (self._control, self._wakeup, self._waker):
                mine.close()
            for sibling in self._children.values():
                sibling.close()
            channel.send(Started(os.getpid()))
            target, arguments = pickle.loads(job)  # noqa: S301 - from our own parent, over an anonymous socket
            target(channel, self._current, *arguments, *([descriptors] if descriptors else []))
            status = 0
        except SystemExit as leaving:
            status = leaving.code if isinstance(leaving.code, int) else 1
        except ConnectionError:
            pass  # the parent has closed its end
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with contextlib.suppress(Exception):
                sys.stderr.flush()
            os._exit(status)


def _receive(control: socket.socket, length: int) -> bytes:
    """Read ``length`` bytes. Raises `EOFError` where the parent ends before."""
    data = b""
    while len(data) < length:
        part = control.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(control: socket.socket, current: CurrentContender) -> None:
    """Fork workers, which share this process's memory until they write to it; return when the parent closes its end."""
    gc.collect()
    gc.freeze()  # a collection in a worker would write to all shared memory, and so copy it
    _Server(control, current).serve()


def main(control_descriptor: str, current_descriptor: str, *preload: str) -> None:
    """Import modules, report ready, serve, and kill all descendants at the end."""
    control = socket.socket(fileno=int(control_descriptor))
    failure: Exception | None = None
    try:
        for module in preload:
            importlib.import_module(module)
    except Exception as error:
        failure = error  # raised only if the parent still needs this process
    try:
        listed = _receive(control, int.from_bytes(_receive(control, 4), "little")).decode()
    except (EOFError, OSError):
        return  # the parent does not need this process
    if failure is not None:
        raise failure
    for module in listed.split():
        importlib.import_module(module)
    control.sendall(READY)
    try:
        serve(control, CurrentContender(int(current_descriptor)))
    finally:
        os.killpg(0, signal.SIGKILL)
