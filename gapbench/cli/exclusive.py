"""What commands that measure hold while they do: their device."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gapbench.devices import Device
    from gapbench.exclusive import Lock

option = click.option(
    "--no-wait", is_flag=True, help="If another gapbench measures on the device, exit with 4; by default, wait for it."
)


def held(device: str, no_wait: bool) -> "Lock":
    """Hold the device of this name: to be used as a context manager around all measuring.

    While another process holds it, say so on stderr and wait; with ``no_wait``, raise `RefusedError`.
    """
    from gapbench.devices import device as find_device

    return take(find_device(device), command(), None if no_wait else _say)


def take(device: "Device", told: str, waiting: Callable[[str], None] | None = None) -> "Lock":
    """Take the lock of a device of the machine that this runs on, whose environment may name the folder of locks."""
    from gapbench import exclusive

    folder = os.environ.get("GAPBENCH_LOCKS")
    return exclusive.take(device, told, Path(folder) if folder else None, waiting)


def command() -> str:
    """Return the command as it was typed."""
    return shlex.join(["gapbench", *sys.argv[1:]])


def _say(busy: str) -> None:
    click.echo(f"waiting: {busy}; Ctrl-C gives up, and --no-wait would not wait", err=True)
