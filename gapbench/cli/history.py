"""``gapbench history``: how times went from run to run."""

import json
from dataclasses import asdict

import click

from gapbench.cli import common
from gapbench.errors import NothingMatchedError, counted


@click.command("history")
@click.argument("case", required=False)
@click.option(
    "--since", "name", metavar="TAG", help="Say what got slower since a run: its id, tag, commit, git tag, ..."
)
@common.store
@common.as_json()
def command(case: str | None, name: str | None, url: str, as_json: bool) -> None:
    """Show how times went over the stored runs: of every CASE that has this text in its id, by default of all.

    Runs are in the order of their commits if the current folder's repository has them all, else by time. Steps are
    found in the run's times; one where the machine, torch or the driver changed too is put down to those. Exits with 5
    if no run has timed such a case.
    """
    from gapbench.analysis import history
    from gapbench.report import text as report
    from gapbench.store.store import Store

    store = Store(url)
    results = store.results(columns=history.COLUMNS, damaged=common.left_out, validate=True)
    if case is not None:
        results = results.loc[[case in one for one in results["case"]]]
    start = history.find(store, name) if name is not None else None
    known = store.listing().runs
    if start is not None and start not in known:
        store.describe(start)  # raises, and says why it cannot be read
    documents = {run: known[run] for run in {*results["run"], *filter(None, [start])}}
    ordered = history.order(list(documents.values()))
    found = history.trends(documents, ordered, results)
    if not found:
        what = "any case" if case is None else f"a case like {case!r}"
        raise NothingMatchedError(f"no run in {url} has timed {what}; measure with: gapbench run")
    difference = history.since(found, ordered, start) if start is not None else None
    if as_json:
        document = {"schema": 1, "order": ordered.by, "order_reason": ordered.phrase}
        told = {"trends": [asdict(trend) for trend in found]} if difference is None else {"since": asdict(difference)}
        click.echo(json.dumps({**document, **told}))
        return
    if difference is not None:
        report.print_since(difference)
    else:
        report.print_trends(found)
        for trend in found if case is not None else []:
            report.print_points(trend)
    click.echo(f"{counted(len(ordered.runs), 'run')}, {ordered.phrase}")
