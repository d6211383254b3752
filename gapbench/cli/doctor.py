"""``gapbench doctor``: is this machine fit to measure, and do its clocks tell the truth?"""

import json
import sys
from dataclasses import asdict

import click

from gapbench.cli import common
from gapbench.cli.common import DURATION
from gapbench.errors import ExitCode, GapbenchError

STYLES = {
    "status": {"ok": "green", "caution": "yellow", "unfit": "bold red", "unknown": "dim"},
    "verdict": {"pass": "green", "fail": "bold red", "unknown": "dim"},
}


@click.command("doctor")
@common.device
@click.option("--budget", type=DURATION, default=15.0, help="Wall time of the A/A measurement.  [default: 15s]")
@click.option(
    "--selftest",
    is_flag=True,
    help="Check instead what all numbers rest on: clocks, floors, caches, "
    "ceilings and what is refused; the findings are kept in the store.",
)
@click.option(
    "--certify",
    type=DURATION,
    metavar="DURATION",
    help="Compare code with itself and with planted slowdowns for so long, as ab does: false reds and power of this "
    "machine, kept in the store and quoted below later comparisons.",
)
@click.option("--strict", is_flag=True, help="Exit with 4 if the machine is unfit, or a check of --selftest failed.")
@common.store
@common.no_wait
@common.as_json("a list of objects")
def command(
    device: str,
    budget: float,
    selftest: bool,
    certify: float | None,
    strict: bool,
    url: str,
    no_wait: bool,
    as_json: bool,
) -> int:
    """Check the machine's state, and measure its noise floor by identical code against itself."""
    if certify is not None:
        if selftest:
            raise GapbenchError("--selftest and --certify are two measurements; give one of them")
        return _certified(device, certify, url, no_wait, as_json)
    from gapbench.machine.devices import device as find_device
    from gapbench.measuring import doctor
    from gapbench.report import text
    from gapbench.store.store import Store

    with common.locked(device, no_wait):
        name = find_device(device).name
        checks = doctor.selftest(name, budget) if selftest else doctor.examine(name, budget)
        rows: list[dict[str, str]] = [asdict(check) for check in checks]
    path = Store(url).keep("selftest", {"schema": 1, "device": name, "findings": rows}) if selftest else None
    if as_json:
        click.echo(json.dumps(rows))
    else:
        remedies = [(row["check"], remedy) for row in rows if (remedy := row.get("remedy"))]
        text.print_rows([{k: v for k, v in row.items() if k != "remedy"} for row in rows], styles=STYLES)
        for check, remedy in remedies:
            click.echo(f"{check}: {remedy}")
    if path:
        click.echo(f"kept in {path}", err=True)
    unfit = any(row.get("status") == "unfit" or row.get("verdict") == "fail" for row in rows)
    return ExitCode.REFUSED if strict and unfit else ExitCode.DONE


def _certified(device: str, seconds: float, url: str, no_wait: bool, as_json: bool) -> int:
    """Certify the machine; Ctrl-C and errors keep what the comparisons before them showed."""
    import msgspec

    from gapbench.machine.devices import device as find_device
    from gapbench.measuring import certify
    from gapbench.report import certified, text
    from gapbench.store import certificates
    from gapbench.store.store import Store, timestamp

    def observe(number: int, about: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"comparison {number} of about {about}", err=True)

    rows: list[certificates.TrialRow] = []
    started, name = timestamp(), find_device(device).name
    try:
        with common.locked(device, no_wait):
            for comparison in certify.comparisons(name, seconds, observe):
                rows += comparison
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    finally:
        if rows:
            certificate = certify.certificate(rows, started, name)
            document = msgspec.to_builtins(certificate)
            path = Store(url).keep(certificates.KIND, document)
            if as_json:
                click.echo(json.dumps(document))
            else:
                text.print_rows(certified.rows(certificate))
                click.echo(certified.false_red(certificate))
            click.echo(f"kept in {path}", err=True)
    return ExitCode.DONE
