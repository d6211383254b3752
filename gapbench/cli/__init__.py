"""The command line: one file per command, listed in `COMMANDS`; each parses, calls and prints.

Data goes to stdout, progress and errors to stderr; exit codes are `gapbench.errors.ExitCode`.
"""

import contextlib
import io
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from gapbench import __version__
from gapbench.cli import (
    ab,
    bisect,
    config,
    diff,
    doctor,
    export_rule,
    history,
    matrix,
    model,
    profile,
    report,
    run,
    store,
    tune,
    which,
)
from gapbench.cli import list as list_command
from gapbench.errors import ExitCode, GapbenchError, is_out_of_memory

COMMANDS: tuple[click.Command, ...] = (
    run.command, ab.command, matrix.command, bisect.command, list_command.command, diff.command, history.command,
    report.command,
    profile.command, which.command, doctor.command, store.command, tune.command,
    model.command, export_rule.command, config.command,
)  # fmt: skip


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gapbench")
@click.pass_context
def gapbench(context: click.Context) -> None:
    """Measure global-average-pooling implementations, and show which one to use and how sure that is."""
    with contextlib.suppress(FileNotFoundError):  # the current folder is gone
        context.default_map = config.defaults(COMMANDS, config.read(Path.cwd())[1])


for _command in COMMANDS:
    gapbench.add_command(_command)


class _Output(io.FileIO):
    """A stream that keeps its first ``error`` and drops what follows, so that a command still stores its run."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write ``data``, or count it as written after an error."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)


def main() -> None:
    """Run the command line and exit with a documented code; SIGTERM acts as Ctrl-C and keeps what was measured."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for descriptor in range(3):  # a closed one would be reused as a pipe to a worker, which prints there
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    output = _Output(1, "w", closefd=False)
    sys.stdout = _text(output)
    sys.stderr = _text(_Output(2, "w", closefd=False))
    code = _exit_code()
    if output.error is not None and not isinstance(output.error, BrokenPipeError):
        click.echo(f"gapbench: cannot write the output: {output.error.strerror}; free space on that disk", err=True)
        code = ExitCode.USAGE
    sys.exit(code)


def _text(output: _Output) -> io.TextIOWrapper:
    encoding = getattr(sys.__stdout__, "encoding", None)
    return io.TextIOWrapper(io.BufferedWriter(output), encoding, line_buffering=True)


def _exit_code() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path need not be text, nor all text printable here
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = gapbench(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        click.echo(f"gapbench: {error.format_message()}", err=True)
        return ExitCode.USAGE
    except GapbenchError as error:
        click.echo(f"gapbench: {error}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:
        if is_out_of_memory(error):
            remedy = "stop other programs, and resume a run with: gapbench run --resume latest"
            click.echo(f"gapbench: out of memory; {remedy}", err=True)
            return ExitCode.USAGE
        traceback.print_exc()
        click.echo("gapbench: internal error, please report the lines above", err=True)
        return ExitCode.INTERNAL
    return int(code or ExitCode.DONE)
