"""``gapbench store``: look after what was measured, and exchange it with other tools."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from gapbench.cli import common
from gapbench.errors import ExitCode, GapbenchError, counted


@click.group("store")
def command() -> None:
    """Verify, prune and export runs, merge shards, import exports."""


@command.command("export")
@click.argument("run")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Else stdout.")
@common.store
def export(run: str, output: Path | None, url: str) -> None:
    """Write RUN as pytest-benchmark's JSON, which github-action-benchmark, Bencher and others read.

    Every sample is in it, in seconds per call; what is not ok is not.
    """
    from gapbench.store import pytest_benchmark as exporting
    from gapbench.store.store import Store

    store = Store(url)
    found = store.resolve(run)
    document = exporting.document(
        store.describe(found), store.results([found], validate=True), store.samples([found], validate=True)
    )
    if output is None:
        click.echo(exporting.dumps(document))
    else:
        exporting.write(output, document)
        click.echo(output)


@command.command("import")
@click.argument("sources", metavar="FILE|SHARD...", nargs=-1, required=True)
@common.tag
@common.as_json()
@common.store
def import_(sources: tuple[str, ...], tag: str | None, as_json: bool, url: str) -> None:
    """Store FILE, written by gapbench store export, as a run again. Other tools' files are refused.

    Each SHARD is the folder of a run that gapbench run --shard measured, or a store of such runs: all shards of
    one plan become one run.
    """
    from gapbench.fleet import importing, merging
    from gapbench.store.store import Store

    store = Store(url)
    if len(sources) == 1 and "://" not in sources[0] and not Path(sources[0]).is_dir():
        run = importing.import_file(store, Path(sources[0]), tag)
    else:
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
    """Read all of every RUN (of the whole store by default) and name what is damaged, open or left over.

    Exits with 2 if something is damaged or the store does not exist.
    """
    from gapbench.store.store import Store
    from gapbench.store.verify import verify

    store = Store(url)
    store.require()
    ids = store.ids()
    # a damaged run is found by its id only: the other ways read run.json
    chosen = [run if run in ids else store.resolve(run) for run in runs] or None
    findings = verify(store, chosen)
    damaged = {one.run for one in findings if one.kind == "damage"}
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings]))
    else:
        for one in findings:
            click.echo(f"{one.kind}: {one.run}: {one.sentence}")
        checked = counted(len(ids if chosen is None else chosen), "run")
        click.echo(f"{checked} checked, {len(damaged)} damaged")
    return ExitCode.USAGE if damaged else ExitCode.DONE


@command.command("prune")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@common.store
def prune(runs: tuple[str, ...], dry_run: bool, url: str) -> None:
    """Remove the runs named, by their whole ids, for good and without asking.

    If one of them does not exist, none is removed.
    """
    from gapbench.store.store import Store

    store = Store(url)
    ids = store.ids()
    for run in runs:
        if run not in ids:
            raise GapbenchError(
                f"there is no run {run!r} in {url}; nothing was removed; write whole ids, as in: gapbench list runs"
            )
    for run in dict.fromkeys(runs):
        if not dry_run:
            store.prune(run)
        click.echo(f"{'would remove' if dry_run else 'removed'} {run}")
