"""What commands that read many runs say of one that cannot be read."""

import click

from gapbench.errors import GapbenchError


def left_out(error: GapbenchError) -> None:
    """Say on stderr that a run is left out, and why."""
    click.echo(f"warning: left out: {error}", err=True)
