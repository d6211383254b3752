"""``gapbench tune``: run a command while a GPU's clock is fixed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from gapbench.cli import common
from gapbench.cli.common import DURATION
from gapbench.errors import ExitCode, GapbenchError

_LOAD = """
import torch
a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
x, y = torch.empty(2**28, device="cuda"), torch.empty(2**28, device="cuda")
while True:
    for _ in range(20):
        a @ a
        y.copy_(x)
    torch.cuda.synchronize()
"""
"""What loads a GPU while its clock is looked for: matrix products and copies, which draw more power than pooling."""


@click.command("tune", context_settings={"allow_interspersed_args": False})
@click.option(
    "--gpu", "chosen", metavar="NAME", help="UUID of the GPU, or its index in nvidia-smi.  [default: the only one]"
)
@click.option(
    "--sm-clock", "clock", type=click.IntRange(1), metavar="MHZ", help="SM clock to lock.  [default: found by the soak]"
)
@click.option(
    "--soak", type=DURATION, default=10.0, help="Time under load for finding a lasting clock.  [default: 10s]"
)
@click.option("--restore", "is_restore", is_flag=True, help="Put back what a killed gapbench tune left; run nothing.")
@click.argument("command_line", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)
def command(chosen: str | None, clock: int | None, soak: float, is_restore: bool, command_line: tuple[str, ...]) -> int:
    """Run COMMAND with the GPU's persistence mode on and its SM clock locked; put both back however it ends.

    The clock is the highest that the GPU holds under load for the time of the soak: a clock that power or temperature
    would lower is no use. This needs the rights of an administrator. Ends with COMMAND's exit code.
    """
    from gapbench.machine import tuning

    folder = common.lock_folder()
    if is_restore == bool(command_line):
        raise GapbenchError("give a command to run, as in: gapbench tune -- gapbench run quick; or --restore alone")
    with tuning.gpus(chosen) as gpus:
        if is_restore:
            restored = [gpu.uuid() for gpu in gpus if tuning.restore(gpu, folder)]
            click.echo(f"restored: {', '.join(restored)}" if restored else "nothing was left locked", err=True)
            return ExitCode.DONE
        if len(gpus) > 1:
            listed = ", ".join(f"{index} ({gpu.uuid()})" for index, gpu in enumerate(gpus))
            raise GapbenchError(f"there are several GPUs; name one with --gpu: {listed}")
        gpu = gpus[0]
        if clock is None:
            with _loaded(gpu.uuid()) as load:
                clock = tuning.sustained_clock(gpu, soak, lambda: load.poll() is None)
        with _signals() as forward, tuning.tuned(gpu, clock, folder):
            click.echo(f"gapbench: SM clock of {gpu.uuid()} locked to {clock} MHz", err=True)
            return forward.run(command_line)


@contextmanager
def _loaded(uuid: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep a GPU at work in a process of its own."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": uuid}
    with subprocess.Popen([sys.executable, "-c", _LOAD], env=environment, stderr=subprocess.DEVNULL) as load:
        try:
            yield load
        finally:
            load.kill()


class _Forwarder:
    """Runs the command and passes signals on to it, so that this process lives to put the GPU back."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._received: int | None = None

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Pass a signal on; a terminal's Ctrl-C reaches the command by itself."""
        self._received = number
        if self._child is not None and not (number == signal.SIGINT and sys.stdin.isatty()):
            self._child.send_signal(number)

    def run(self, command_line: tuple[str, ...]) -> int:
        """Return the command's exit code, 128 more than the signal's number if one ended it."""
        if received := self._pending():
            return 128 + received
        try:
            self._child = subprocess.Popen(command_line)
        except OSError as error:
            raise GapbenchError(f"cannot run {command_line[0]}: {error.strerror}") from error
        if received := self._pending():  # it came while the command was started
            self._child.send_signal(received)
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def _pending(self) -> int | None:
        return self._received


@contextmanager
def _signals() -> Iterator[_Forwarder]:
    """Receive what would end this process; earlier handlers are set again afterwards."""
    forwarder = _Forwarder()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    earlier = [signal.signal(number, forwarder.receive) for number in numbers]
    try:
        yield forwarder
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)
