"""The tables of docs/findings.md, from stored runs: ``python benchmarks/findings.py RUN…``.

For each case of global average pooling: the fastest implementation, those that tie with it, and what the tutorials'
choice costs beside it, paired turn by turn. For other operations: what each contender costs.
"""

from collections.abc import Iterator

import click
import numpy as np
import pandas as pd

from gapbench.analysis import summary
from gapbench.operations import OPERATIONS
from gapbench.report import format as fmt
from gapbench.statistics import stats
from gapbench.store.store import Store

TUTORIAL = "adaptive"


def against(samples: pd.DataFrame, name: str, best: str) -> str:
    """Return the ratio of two implementations' times with its 95 % interval, over rounds."""
    wide = samples.pivot(index=["round", "turn"], columns="implementation", values="seconds_per_call").map(np.log)
    if name not in wide or best not in wide:
        return fmt.MISSING
    found = stats.location(summary.log_ratios(wide, name, best))
    low, high = (np.nan if bound is None else np.exp(bound) for bound in (found.low, found.high))
    return f"{fmt.ratio(np.exp(found.estimate))} {fmt.ratio_interval(np.exp(found.estimate), low, high)}".strip()


def winners(results: pd.DataFrame, samples: pd.DataFrame) -> Iterator[list[str]]:
    yield ["case", "fastest", "time", "ties", f"`{TUTORIAL}` ÷ fastest"]
    for row in summary.winners(results, samples).to_dict("records"):
        own = samples[(samples["case"] == row["case"]) & (samples["clock"] == row["clock"])]
        facts = [row["shape"], row["dtype"], row["layout"], "" if row["pass"] == "forward" else row["pass"]]
        facts += ["" if row["threads"] == 1 else f"{row['threads']} threads"]
        yield [
            f"{' '.join(filter(None, facts))} ({row['label']})",
            f"`{row['implementation']}`",
            fmt.seconds(row["seconds"]),
            ", ".join(f"`{name}`" for name in row["ties"]),
            against(own, TUTORIAL, row["implementation"]),
        ]


def prices(results: pd.DataFrame) -> Iterator[list[str]]:
    yield ["case", "contender", "time", "÷ reference", "weights", "peak memory", "saved for backward", "compiled again"]
    for row in results[(results["status"] == "ok") & results["seconds"].notna()].to_dict("records"):
        ratio = fmt.ratio_interval(row["ratio"], row["ratio_low"], row["ratio_high"])
        yield [
            f"{row['shape']} {row['dtype']} {row['layout']} {row['pass']}",
            f"`{row['implementation']}`",
            fmt.seconds(row["seconds"]),
            f"{fmt.ratio(row['ratio'])} {ratio}".strip(),
            fmt.count(row["parameters"]),
            fmt.size(row["peak_extra_bytes"]),
            fmt.size(row["saved_bytes"]),
            fmt.count(row["recompilations"]),
        ]


def totals(results: pd.DataFrame) -> Iterator[list[str]]:
    yield ["suite", "one choice", "time of all", "÷ mean", "best of each"]
    for row in summary.totals(results).to_dict("records"):
        yield [
            f"{row['suite']} {row['dtype']} {row['layout']} ({row['cases']} cases)",
            f"`{row['implementation']}`",
            fmt.seconds(row["seconds"]),
            fmt.ratio(row["ratio"]),
            fmt.seconds(row["best_of_each"]),
        ]


def show(rows: Iterator[list[str]]) -> None:
    header, *body = rows
    if body:
        lines = [header, ["---"] * len(header), *body]
        click.echo("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--store", "url", default="results")
def main(runs: tuple[str, ...], url: str) -> None:
    store = Store(url)
    for run in map(store.resolve, runs):
        results, samples = store.results([run]), store.samples([run])
        click.echo(f"{run}: `gapbench {' '.join(store.describe(run).argv)}`\n")
        show(winners(results[results["operation"] == "gap"], samples))
        show(totals(results[results["operation"] == "gap"]))
        for operation in OPERATIONS[1:]:
            show(prices(results[results["operation"] == operation.name]))


if __name__ == "__main__":
    main()
