"""``gapbench store``: verify, prune, merge and exchange stored runs."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from gapbench.cli import common
from gapbench.errors import ExitCode, GapbenchError, counted


@click.group("store")
def command() -> None:
    """Verify, prune and export runs; merge shards; import exports."""


@command.command("export")
@click.argument("run")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@common.store
def export(run: str, output: Path | None, url: str) -> None:
    """Write RUN as pytest-benchmark's JSON, which github-action-benchmark, Bencher and others read.

    It has every sample of implementations that are ok, in seconds per call. Goes to stdout by default.
    """
    from gapbench.store import pytest_benchmark as exporting
    from gapbench.store.store import Store

    store = Store(url)
    id_ = store.resolve(run)
    document = exporting.document(
        store.describe(id_), store.results([id_], validate=True), store.samples([id_], validate=True)
    )
    if output is None:
        click.echo(exporting.dumps(document))
    else:
        common.write_file(output, exporting.dumps(document) + "\n")
        click.echo(output)


@command.command("import")
@click.argument("sources", metavar="SHARD...", nargs=-1, required=True)
@common.tag
@common.as_json()
@common.store
def import_(sources: tuple[str, ...], tag: str | None, as_json: bool, url: str) -> None:
    """Merge the SHARDs of a plan into one run; each a run of gapbench run --shard, or a store of them."""
    from gapbench.fleet import merging
    from gapbench.store.store import Store

    store = Store(url)
    run = merging.merge(store, merging.find(sources), tag)
    common.show_warnings(run.warnings)
    path = f"{url.rstrip('/')}/{run.id}"
    statuses = store.results([run.id])["status"]
    if as_json:
        click.echo(json.dumps({"schema": 1, "run": run.id, "path": path, "rows": len(statuses)}))
    else:
        counts = ", ".join(f"{count} {status}" for status, count in statuses.value_counts().items())
        click.echo(f"run {run.id}: {counts}; in {path}")


@command.command("verify")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@common.as_json("a list of objects")
@common.store
def verify(runs: tuple[str, ...], as_json: bool, url: str) -> int:
    """Read every file of each RUN (of the whole store by default); list what is damaged, open or left over.

    Exits with 2 if something is damaged or the store does not exist.
    """
    from gapbench.store.store import Store
    from gapbench.store.verify import verify

    store = Store(url)
    store.require()
    ids = store.ids()
    # a damaged run is found by its id only: other names are in its run.json
    chosen = [run if run in ids else store.resolve(run) for run in runs] or None
    findings = verify(store, chosen)
    damaged = {finding.run for finding in findings if finding.kind == "damage"}
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            click.echo(f"{finding.kind}: {finding.run}: {finding.sentence}")
        checked = counted(len(ids if chosen is None else chosen), "run")
        click.echo(f"{checked} checked, {len(damaged)} damaged")
    return ExitCode.USAGE if damaged else ExitCode.DONE


@command.command("prune")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
@common.store
def prune(runs: tuple[str, ...], dry_run: bool, url: str) -> None:
    """Remove each RUN, named by its whole id, for good and without asking.

    If one of them does not exist, none is removed.
    """
    from gapbench.store.store import Store

    store = Store(url)
    ids = store.ids()
    if missing := [run for run in runs if run not in ids]:
        raise GapbenchError(
            f"there is no run {missing[0]!r} in {url}; nothing was removed; write whole ids, as in: gapbench list runs"
        )
    for run in dict.fromkeys(runs):
        if not dry_run:
            store.prune(run)
        click.echo(f"{'would remove' if dry_run else 'removed'} {run}")
