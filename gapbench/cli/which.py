"""``gapbench which``: the measured winner for a shape."""

import json

import click

from gapbench.cli import common
from gapbench.cli.common import SHAPE
from gapbench.errors import NothingMatchedError
from gapbench.workloads.cases import Case


@click.command("which")
@click.option("--shape", type=SHAPE, required=True, help="Sizes N x C x spatial: 8x2048x7x7.")
@click.option("--dtype", default="float32", show_default=True, help="Element type of the input.")
@click.option("--layout", default="contiguous", show_default=True, help="Memory layout of the input.")
@click.option("--device", default="cpu", show_default=True, help="Device that computes.")
@click.option("--pass", "pass_", default="forward", show_default=True, help="Pass that was timed.")
@click.option("--threads", type=int, default=1, show_default=True, help="Number of CPU threads.")
@common.store
@common.as_json()
def command(
    shape: tuple[int, ...], dtype: str, layout: str, device: str, pass_: str, threads: int, url: str, as_json: bool
) -> None:
    """Show the fastest implementation for a shape in the newest run that measured it, and what ties with it.

    Exits with 5 if no stored run has measured it; other shapes are not considered.
    """
    from gapbench.analysis import summary
    from gapbench.report import text
    from gapbench.store import ceilings
    from gapbench.store.records import THIS
    from gapbench.store.store import Store

    device = device if device == "cpu" or ":" in device else f"{device}:0"  # as runs are stored
    case = Case(shape, dtype, layout, device, pass_, threads)
    store = Store(url)
    results = store.results(damaged=common.left_out, validate=True, case=case.id, status="ok", contender=THIS)
    results = results[results["seconds"].notna()]
    if results.empty:
        size = "x".join(map(str, shape))
        raise NothingMatchedError(
            f"{case.id} has not been measured in {url}; measure it with: gapbench run --shape {size} "
            f"--dtype {dtype} --layout {layout} --device {device} --pass {pass_} --threads {threads}"
        )
    run = results["run"].max()
    results = results[results["run"] == run]
    winners = summary.winners(results, store.samples([run], validate=True, case=case.id, contender=THIS))
    key, of_ceiling = ["implementation", "clock", "memory"], ["bytes_moved", "cold", "times_launch"]
    speeds = results[[*key, "gbps", "ceiling_fraction", *of_ceiling]]
    best = winners.merge(speeds, on=key)  # each clock and memory has a winner
    described = store.describe(run)
    rows = json.loads(best.to_json(orient="records", double_precision=15))
    for row in rows:
        limit = ceilings.limit_of(described.ceilings, row) if row["ceiling_fraction"] else None
        row["ceiling"] = ceilings.said(limit) if limit else None
        for name in of_ceiling:
            del row[name]
    if as_json:
        click.echo(json.dumps({"schema": 1, "run": run, **rows[0]}))
        return
    text.print_winners(winners, run=described)
    for row in rows:
        if row["ceiling"]:
            speed = f"{row['implementation']} moves {row['gbps']:.3g} GB/s by {row['clock']}"
            click.echo(f"{speed}: {100 * row['ceiling_fraction']:.3g} % of the measured {row['ceiling']}")
    click.echo(f"measured in run {run}")
