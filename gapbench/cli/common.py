"""Options and their types, warnings and device locks that several commands share."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapbench.errors import GapbenchError, counted
from gapbench.workloads.cases import parse_duration, parse_shape, parse_shard, parse_share, parse_sizes

if TYPE_CHECKING:
    from gapbench.machine.device_lock import Lock
    from gapbench.machine.devices import Device
    from gapbench.store.run import Warning

Command = Callable[..., Any]


class Parsed(click.ParamType[Any]):
    """A type of options that a function parses; its errors are `GapbenchError`, one line with the remedy."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        """Parse text; return defaults, which have their type already."""
        return self._parse(value) if isinstance(value, str) else value


DURATION = Parsed("duration", parse_duration)
SHARE = Parsed("share", parse_share)
SHARD = Parsed("shard", parse_shard)
SHAPE = Parsed("shape", parse_shape)
SIZES = Parsed("sizes", parse_sizes)


def joined(*decorators: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds several options, the first of them first in ``--help``."""

    def decorate(command: Command) -> Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def as_json(what: str = "one JSON document") -> Callable[[Command], Command]:
    """Return the option ``--json``, which prints ``what``."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}.")


_CONTAINER = ("/.dockerenv", "/run/.containerenv")  # files that Docker and Podman put into containers

STORE = "results"
store = click.option(
    "--store", "url", metavar="URL", default=STORE, show_default=True, help="Folder or fsspec URL of runs."
)
device = click.option(
    "--device", default="auto", show_default=True, help="Device to measure on: auto, cpu, cuda, cuda:1, ..."
)
tag = click.option("--tag", help="Name to find the run by.")
seed = click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed for inputs, memory placement and order."
)
no_wait = click.option(
    "--no-wait", is_flag=True, help="Exit with 4 if another gapbench measures on the device; the default is to wait."
)


def left_out(error: GapbenchError) -> None:
    """Warn on stderr that a run is left out, and why."""
    click.echo(f"warning: left out: {error}", err=True)


def show_warnings(warnings: Iterable["Warning"]) -> None:
    """Print a run's warnings on stderr: the first of each kind, and how many more its page has."""
    kinds: dict[object, list[Warning]] = {}
    for warning in warnings:
        kinds.setdefault((warning.topic or warning.evidence, warning.remedy), []).append(warning)
    for first, *others in kinds.values():
        more = f" And {counted(len(others), 'more warning')} of this kind: see the run's page." if others else ""
        click.echo(f"warning: {first}{more}", err=True)


def locked(device: str, no_wait: bool) -> "Lock":
    """Lock a device while measuring. Waits for another process, with a message; ``no_wait`` raises `RefusedError`."""
    from gapbench.machine import tuning
    from gapbench.machine.devices import device as find_device

    def waiting(busy: str) -> None:
        click.echo(f"waiting: {busy}; Ctrl-C gives up, and --no-wait would not wait", err=True)

    target = find_device(device)
    if target.name != "cpu" and lock_folder() is None and any(map(os.path.exists, _CONTAINER)):
        click.echo(
            "warning: in a container locks are private: gapbench in other containers may measure on the same GPU; "
            "name a folder that all share with GAPBENCH_LOCKS",
            err=True,
        )
    for sentence in tuning.left_behind(lock_folder()):
        click.echo(f"warning: {sentence}", err=True)
    return take(target, typed(), None if no_wait else waiting)


def take(device: "Device", command: str, waiting: Callable[[str], None] | None = None) -> "Lock":
    """Lock a device of this machine for ``command``; GAPBENCH_LOCKS may name the folder of locks."""
    from gapbench.machine import device_lock

    return device_lock.take(device, command, lock_folder(), waiting)


def lock_folder() -> Path | None:
    """Return the folder of locks that the environment names."""
    folder = os.environ.get("GAPBENCH_LOCKS")
    return Path(folder) if folder else None


def typed() -> str:
    """Return the command as it was typed."""
    return shlex.join(["gapbench", *sys.argv[1:]])


def refuse_foreign(output: Path | None, beginning: str, command: str) -> None:
    """Raise `GapbenchError` unless ``output`` is a Python file that is new, or begins as those of ``command`` do."""
    if output is None:
        return
    if output.suffix != ".py":
        raise GapbenchError(f"cannot write {str(output)!r}; name a file that ends in .py")
    if output.exists() and not (output.is_file() and output.read_bytes().startswith(beginning.encode())):
        raise GapbenchError(f"{str(output)!r} is not a file of {command}, and is kept; name another")


def write_file(file: Path, content: str) -> None:
    """Write a file whole or not at all. Raises `GapbenchError` where it cannot be written."""
    from gapbench.store import durable_io

    try:
        durable_io.write(str(file), content.encode())
    except OSError as error:
        raise GapbenchError(f"cannot write {str(file)!r}: {error.strerror}; name another file") from error
