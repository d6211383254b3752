"""``gapbench list``: suites, cases, implementations, devices and runs."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from gapbench.cli import common
from gapbench.errors import GapbenchError

if TYPE_CHECKING:
    from gapbench.workloads.suites import Suite

Rows = list[dict[str, Any]]


def _chosen(names: Sequence[str]) -> "list[Suite]":
    from gapbench.workloads import suites

    return [suite for name in names for suite in suites.find(name)] or suites.built_in()


def _suites(_url: str, *names: str) -> Rows:
    return [{"name": each.name, "cases": len(each.cases), "summary": each.summary} for each in _chosen(names)]


_OF_CASE = {"label": "label", "calls": "weight", "bytes_moved": "bytes_moved"}


def _cases(_url: str, *names: str) -> Rows:
    return [
        {"name": each.id, "suite": suite.name} | {column: getattr(each, name) for column, name in _OF_CASE.items()}
        for suite in _chosen(names)
        for each in suite.cases
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


LISTS: Mapping[str, Callable[..., Rows]] = {
    "suites": _suites, "cases": _cases, "implementations": _implementations, "devices": _devices, "runs": _runs,
}  # fmt: skip


@click.command("list")
@click.argument("what", type=click.Choice(list(LISTS)))
@click.argument("suites", metavar="[SUITE]...", nargs=-1)
@common.store
@common.as_json("a list of objects")
def command(what: str, suites: tuple[str, ...], url: str, as_json: bool) -> None:
    """List suites, cases, implementations, devices or runs; of each SUITE, its cases."""
    if suites and what not in ("suites", "cases"):
        raise GapbenchError(f"{suites[0]!r} is one argument too many: gapbench list {what} takes no SUITE")
    rows = LISTS[what](url, *suites)
    if as_json:
        click.echo(json.dumps(rows))
        return
    from gapbench.report import text

    text.print_rows([_shown(row) for row in rows])
