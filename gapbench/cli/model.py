"""``gapbench model``: the pooling of a network of one's own."""

from pathlib import Path

import click

from gapbench.cli import common
from gapbench.cli.common import SIZES
from gapbench.errors import GapbenchError, NothingMatchedError, counted
from gapbench.workloads.cases import DTYPES


@click.group("model")
def command() -> None:
    """Record the pooling calls of a network of your own."""


@command.command("record")
@click.argument("network", metavar="TARGET")
@click.option("--input", "shapes", type=SIZES, multiple=True, help="Shape of a random input: 8x3x224x224. Repeatable.")
@click.option("--dtype", type=click.Choice([*DTYPES]), help="Dtype of weights and inputs.  [default: the network's]")
@click.option("--layout", type=click.Choice(["contiguous", "channels_last"]), help="Layout of weights and inputs.")
@click.option("--train", is_flag=True, help="Record a training step, rather than a forward pass.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="List to write: .json or .csv.")
@common.as_json()
def record(
    network: str,
    shapes: tuple[tuple[int, ...], ...],
    dtype: str | None,
    layout: str | None,
    train: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Find the calls of a network that average over all spatial positions, and write them as a list of cases.

    TARGET is FILE.py:CALLABLE or package.module:CALLABLE, which returns a module, or a module and its inputs. The list
    is a SUITE, for gapbench run FILE. It has the calls of a forward pass with this input in evaluation mode, or of a
    training step. Shares of both are of the time on this machine.

    Exits with 5 if the network pools nothing.
    """
    from gapbench.profiling import networks
    from gapbench.report import format as fmt
    from gapbench.report import text
    from gapbench.store import durable_io
    from gapbench.workloads import case_lists

    if output is not None and not case_lists.is_list(str(output)):
        raise GapbenchError(f"cannot write {str(output)!r}; name a file that ends in .json or .csv")
    loaded = networks.load(network, shapes, dtype, layout)
    passes = {"forward_pass": networks.record(loaded)}
    try:
        passes["training_step"] = networks.record(loaded, step=True)
    except GapbenchError as error:
        if train:
            raise
        click.echo(f"warning: {error}", err=True)
    chosen = passes["training_step" if train else "forward_pass"]
    if not chosen.cases:
        raise NothingMatchedError(f"{network} averages nothing over all spatial positions here: nothing to change")
    common.show_warnings(chosen.warnings)
    measured = {name: {"seconds": each.seconds, "share": each.share} for name, each in passes.items()}
    document = {"target": network, **measured}
    if output is not None:
        try:
            durable_io.write(str(output), case_lists.dumps(chosen.cases, document, output.suffix).encode())
        except OSError as error:
            raise GapbenchError(f"cannot write {str(output)!r}: {error.strerror}; name another file") from error
    if as_json:
        click.echo(case_lists.dumps(chosen.cases, document))
        return
    table = []
    for each in chosen.cases:
        site = each.sites[0]
        origin = ", ".join(filter(None, (each.layout, site.module, site.spelling, site.source)))
        share = fmt.number(100 * (each.share or 0.0), 2)
        table.append(
            {"case": f"{each.shape} {each.dtype}", "calls": each.count, "%": share, "layout, first at": origin}
        )
    text.print_rows(table)
    calls = counted(sum(each.count for each in chosen.cases), "pooling call")
    shares = [f"{fmt.number(100 * each.share, 2)} % of a {name.replace('_', ' ')}" for name, each in passes.items()]
    click.echo(f"{calls} in {counted(len(chosen.cases), 'kind')}, {', '.join(shares)}")
    if output is not None:
        click.echo(f"list {output}; measure it with: gapbench run {output}")
