"""``gapbench history``: times from run to run."""

import json
from dataclasses import asdict

import click

from gapbench.cli import common
from gapbench.errors import NothingMatchedError, counted


@click.command("history")
@click.argument("case", required=False)
@common.store
@common.as_json()
def command(case: str | None, url: str, as_json: bool) -> None:
    """Show times over the stored runs, of every case with CASE in its id, by default of all.

    Runs are in the order of their commits if the current folder's repository has them all, otherwise in the order of
    time. A step at which the machine, torch or the driver changed too is attributed to that. Exits with 5 if no run
    has timed such a case.
    """
    from gapbench.analysis import history
    from gapbench.report import text as report
    from gapbench.store.store import Store

    store = Store(url)
    results = store.results(columns=history.COLUMNS, damaged=common.left_out, validate=True)
    if case is not None:
        results = results.loc[[case in id_ for id_ in results["case"]]]
    readable = store.listing().runs
    documents = {run: readable[run] for run in results["run"].unique()}
    ordered = history.order(list(documents.values()))
    trends = history.trends(documents, ordered, results)
    if not trends:
        what = "any case" if case is None else f"a case like {case!r}"
        raise NothingMatchedError(f"no run in {url} has timed {what}; measure with: gapbench run")
    if as_json:
        document = {"schema": 1, "order": ordered.by, "order_reason": ordered.phrase}
        click.echo(json.dumps({**document, "trends": [asdict(trend) for trend in trends]}))
        return
    report.print_trends(trends)
    for trend in trends if case is not None else []:
        report.print_points(trend)
    click.echo(f"{counted(len(ordered.runs), 'run')}, {ordered.phrase}")
