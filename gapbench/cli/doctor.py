"""``gapbench doctor``: is this machine fit to measure?"""

import json
from dataclasses import asdict

import click

from gapbench.cli import common
from gapbench.cli.common import DURATION
from gapbench.errors import ExitCode

STYLES = {"ok": "green", "caution": "yellow", "unfit": "bold red", "unknown": "dim"}


@click.command("doctor")
@common.device
@click.option("--budget", type=DURATION, default=15.0, help="Wall time of the A/A measurement.  [default: 15s]")
@click.option("--strict", is_flag=True, help="Exit with 4 if the machine is unfit.")
@common.no_wait
@common.as_json("a list of objects")
def command(device: str, budget: float, strict: bool, no_wait: bool, as_json: bool) -> int:
    """Check the machine's state, and measure its noise floor by identical code against itself."""
    from gapbench.machine.devices import device as find_device
    from gapbench.measuring import doctor
    from gapbench.report import text

    with common.locked(device, no_wait):
        checks = list(doctor.examine(find_device(device).name, budget))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks]))
    else:
        text.print_rows([asdict(check) for check in checks], styles={"status": STYLES})
    unfit = any(check.status == "unfit" for check in checks)
    return ExitCode.REFUSED if strict and unfit else ExitCode.DONE
