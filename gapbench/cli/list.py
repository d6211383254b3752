"""``gapbench list``: what there is."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import click

from gapbench.cli import common
from gapbench.errors import GapbenchError

Rows = list[dict[str, Any]]


def _suites(_url: str) -> Rows:
    from gapbench.workloads import suites

    return [
        {"name": suite.name, "cases": len(suite.cases), "summary": suite.summary}
        for name in suites.names()
        for suite in suites.find(name)
    ]


def _cases(_url: str) -> Rows:
    from gapbench.workloads import suites

    return [
        {"name": case.id, "suite": suite.name, "label": case.label, "bytes_moved": case.bytes_moved}
        for name in suites.names()
        for suite in suites.find(name)
        for case in suite.cases
    ]


def _implementations(_url: str) -> Rows:
    from gapbench.implementations import user
    from gapbench.machine.devices import device
    from gapbench.operations import OPERATIONS
    from gapbench.workloads.cases import Case

    plain = Case((8, 64, 8, 8), device=device("auto").name)
    own = [
        {
            "name": one.name,
            "operation": operation.name,
            "family": one.family,
            "summary": one.summary,
            "here": one.unsupported_reason(plain) or "yes",
            "variant_of": one.variant_of,
            "code": one.snippet,
        }
        for operation in OPERATIONS
        for one in operation.implementations
    ]
    brought = [
        {
            "name": name,
            "operation": "gap",
            "family": "plug-in",
            "summary": user.plugin_origin(name),
            "here": None,  # only its own code could tell, which is not run for a list
            "variant_of": None,
            "code": point.value,
        }
        for name, point in user.plugins().items()
    ]
    return own + brought


def _devices(_url: str) -> Rows:
    from gapbench.machine.devices import available

    return [
        {"name": one.name, "description": one.describe()["description"], "clocks": ", ".join(one.clocks)}
        for one in available()
    ]


def _runs(url: str) -> Rows:
    from gapbench.store.store import Store

    store = Store(url)
    if url != common.STORE:  # the first run makes that one
        store.require()
    frame = store.runs().rename(columns={"run": "name"})
    if frame.empty:
        click.echo(f"no runs in {url} yet; measure one with: gapbench run", err=True)
    return list(json.loads(frame.iloc[::-1].to_json(orient="records")))


_JSON_ONLY = ("variant_of", "code", "started", "ended", "commit", "branch", "subject", "complete", "unreadable")
"""Columns that have no room in a terminal; of runs, `_notes` has what matters of them."""


def _notes(run: Mapping[str, Any]) -> str:
    notes = [run["unreadable"] or ("" if run["complete"] else "not complete"), run["branch"], run["subject"]]
    return ", ".join(filter(None, notes))


LISTS: Mapping[str, Callable[[str], Rows]] = {
    "suites": _suites,
    "cases": _cases,
    "implementations": _implementations,
    "devices": _devices,
    "runs": _runs,
}


@click.command("list")
@click.argument("what", type=click.Choice(list(LISTS)))
@common.store
@click.option("--on", metavar="ray[://HOST:PORT]", help="Of devices, those of a Ray cluster.")
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

    shown = [{column: value for column, value in row.items() if column not in _JSON_ONLY} for row in rows]
    text.print_rows(
        [one | {"notes": _notes(row)} if what == "runs" else one for one, row in zip(shown, rows, strict=True)]
    )
