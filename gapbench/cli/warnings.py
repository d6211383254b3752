"""What commands say on stderr beside what they print."""

from collections.abc import Iterable

import click

from gapbench.errors import GapbenchError


def left_out(error: GapbenchError) -> None:
    """Say on stderr that a run is left out, and why."""
    click.echo(f"warning: left out: {error}", err=True)


def show(warnings: Iterable[object]) -> None:
    """Print a run's warnings, a line each."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
