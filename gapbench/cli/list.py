"""``gapbench list``: suites, cases, implementations, devices and runs."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from gapbench.cli import common
from gapbench.errors import GapbenchError

Rows = list[dict[str, Any]]


def _suites(_url: str) -> Rows:
    from gapbench.workloads import suites

    return [{"name": suite.name, "cases": len(suite.cases), "summary": suite.summary} for suite in suites.built_in()]


def _cases(_url: str) -> Rows:
    from gapbench.workloads import suites

    return [
        {"name": case.id, "suite": suite.name, "label": case.label, "bytes_moved": case.bytes_moved}
        for suite in suites.built_in()
        for case in suite.cases
    ]


def _implementations(_url: str) -> Rows:
    from gapbench.implementations import user
    from gapbench.machine.devices import device
    from gapbench.operations import OPERATIONS
    from gapbench.workloads.cases import Case

    plain = Case((8, 64, 8, 8), device=device("auto").name)
    columns = ("name", "operation", "family", "summary", "here", "variant_of", "code")
    rows: list[tuple[str | None, ...]] = [
        (own.name, operation.name, own.family, own.summary, own.unsupported_reason(plain) or "yes", own.variant_of,
         own.snippet)
        for operation in OPERATIONS
        for own in operation.implementations
    ]  # fmt: skip
    # whether a plug-in runs here would take running its code
    plugins = user.plugins().items()
    rows += [(name, "gap", "plug-in", user.plugin_origin(name), None, None, point.value) for name, point in plugins]
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _devices(_url: str) -> Rows:
    from gapbench.machine.devices import available

    return [
        {"name": each.name, "description": each.describe()["description"], "clocks": ", ".join(each.clocks)}
        for each in available()
    ]


def _runs(url: str) -> Rows:
    from gapbench.store.store import Store

    store = Store(url)
    if url != common.STORE:  # the default one is made by the first run
        store.require()
    frame = store.runs().rename(columns={"run": "name"})
    if frame.empty:
        click.echo(f"no runs in {url} yet; measure one with: gapbench run", err=True)
    return list(json.loads(frame.iloc[::-1].to_json(orient="records")))


_JSON_ONLY = ("variant_of", "code", "started", "ended", "commit", "branch", "subject", "complete", "unreadable")
"""Columns that are too wide for a terminal; `_shown` sums those of runs up as notes."""


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {column: value for column, value in row.items() if column not in _JSON_ONLY}
    if "complete" not in row:
        return shown
    notes = [row["unreadable"] or ("" if row["complete"] else "not complete"), row["branch"], row["subject"]]
    return {**shown, "notes": ", ".join(filter(None, notes))}


LISTS: Mapping[str, Callable[[str], Rows]] = {
    "suites": _suites, "cases": _cases, "implementations": _implementations, "devices": _devices, "runs": _runs,
}  # fmt: skip


@click.command("list")
@click.argument("what", type=click.Choice(list(LISTS)))
@common.store
@click.option("--on", metavar="ray[://HOST:PORT]", help="Ray cluster whose devices to list.")
@common.as_json("a list of objects")
def command(what: str, url: str, on: str | None, as_json: bool) -> None:
    """List suites, cases, implementations, devices or runs."""
    if on:
        from gapbench.cli import fleet

        fleet.check(on)
        if what != "devices":
            raise GapbenchError(f"--on {on} lists devices only; leave it out for {what}")
        rows = fleet.devices(on)
    else:
        rows = LISTS[what](url)
    if as_json:
        click.echo(json.dumps(rows))
        return
    from gapbench.report import text

    text.print_rows([_shown(row) for row in rows])
