"""``gapbench tune``: run a command while a GPU's clock is fixed."""

import os
import signal
import subprocess
import sys
from types import FrameType

import click

from gapbench.cli import common
from gapbench.cli.common import DURATION
from gapbench.errors import ExitCode, GapbenchError, RefusedError

# Matrix products and copies draw more power than pooling.
_LOAD = """
import torch
a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
x, y = (torch.empty(2**28, device="cuda") for _ in range(2))
while True:
    for _ in range(20):
        a @ a
        y.copy_(x)
    torch.cuda.synchronize()
"""


@click.command("tune", context_settings={"allow_interspersed_args": False})
@click.option("--gpu", "chosen", metavar="NAME", help="UUID or nvidia-smi index.  [default: the only GPU]")
@click.option("--sm-clock", "clock", type=click.IntRange(1), metavar="MHZ", help="Clock to lock.  [default: by a soak]")
@click.option("--soak", type=DURATION, default=10.0, help="Time under load to find a clock.  [default: 10s]")
@click.option("--restore", "is_restore", is_flag=True, help="Restore what a killed gapbench tune left; run nothing.")
@click.argument("command_line", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)
def command(chosen: str | None, clock: int | None, soak: float, is_restore: bool, command_line: tuple[str, ...]) -> int:
    """Run COMMAND with the GPU's persistence mode on and its SM clock locked; restore both however it ends.

    The clock is the highest that the GPU holds under load: power or temperature would lower a higher one. Needs the
    rights of an administrator. Exits with COMMAND's exit code.
    """
    from gapbench.machine import tuning

    folder = common.lock_folder()
    if is_restore == bool(command_line):
        raise GapbenchError("give a command to run, as in: gapbench tune -- gapbench run quick; or --restore alone")
    with tuning.gpus(chosen) as gpus:
        if is_restore:
            restored = [gpu.uuid() for gpu in gpus if tuning.restore(gpu, folder)]
            if left := tuning.left_behind(folder):
                raise RefusedError(f"not restored: {'; '.join(left)}")
            click.echo(f"restored: {', '.join(restored)}" if restored else "nothing was left locked", err=True)
            return ExitCode.DONE
        if len(gpus) > 1:
            listed = ", ".join(f"{index} ({gpu.uuid()})" for index, gpu in enumerate(gpus))
            raise GapbenchError(f"there are several GPUs; name one with --gpu: {listed}")
        gpu = gpus[0]
        if clock is None:
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu.uuid()}
            with subprocess.Popen([sys.executable, "-c", _LOAD], env=environment, stderr=subprocess.DEVNULL) as load:
                try:
                    clock = tuning.sustained_clock(gpu, soak, lambda: load.poll() is None)
                finally:
                    load.kill()
        with _Run() as run, tuning.tuned(gpu, clock, folder):
            click.echo(f"gapbench: SM clock of {gpu.uuid()} locked to {clock} MHz", err=True)
            return run.command(command_line)


class _Run:
    """Runs a command and forwards signals to it, so that this process lives to restore the GPU."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._received: list[int] = []
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._earlier = {number: signal.signal(number, self.receive) for number in signals}

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Forward a signal; the Ctrl-C of a terminal reaches the command by itself."""
        self._received.append(number)
        if self._child is not None and not (number == signal.SIGINT and sys.stdin.isatty()):
            self._child.send_signal(number)

    def command(self, command_line: tuple[str, ...]) -> int:
        """Return the command's exit code, 128 more than the signal's number if a signal ended it."""
        if self._received:
            return 128 + self._received[0]
        try:
            self._child = subprocess.Popen(command_line)
        except OSError as error:
            raise GapbenchError(f"cannot run {command_line[0]}: {error.strerror}") from error
        for number in self._received:  # those that came while it was started
            self._child.send_signal(number)
        code = self._child.wait()
        return code if code >= 0 else 128 - code
