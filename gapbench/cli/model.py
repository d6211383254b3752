"""``gapbench model``: the pooling of a network of one's own."""

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapbench.cli import common
from gapbench.cli.common import DURATION, SIZES
from gapbench.cli.report import write_page
from gapbench.errors import ExitCode, GapbenchError, NothingMatchedError, counted
from gapbench.store.records import FAILURES, MEMORY
from gapbench.workloads.cases import DTYPES

if TYPE_CHECKING:
    from gapbench.measuring.plan import CasePlan
    from gapbench.measuring.recording import Recording
    from gapbench.operations.network import Network
    from gapbench.profiling.networks import Recorded
    from gapbench.store.store import Store

_PATIENCE = 600.0  # seconds: to compile a whole network takes minutes


@click.group("model")
def command() -> None:
    """Record the pooling of a network of your own, and put faster pooling in."""


_target = common.joined(
    click.argument("target", metavar="TARGET"),
    click.option(
        "--input", "shapes", type=SIZES, multiple=True, help="Shape of a random input: 8x3x224x224. Repeatable."
    ),
    click.option(
        "--dtype", type=click.Choice([*DTYPES]), help="Dtype of weights and inputs.  [default: the network's]"
    ),
    click.option("--layout", type=click.Choice(["contiguous", "channels_last"]), help="Layout of weights and inputs."),
)


@command.command("record")
@_target
@click.option("--train", is_flag=True, help="Record a training step, rather than a forward pass.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="List to write: .json or .csv.")
@common.as_json()
def record(train: bool, output: Path | None, as_json: bool, **target: Any) -> None:
    """Find the calls of a network that average over all spatial positions, and write them as a list of cases.

    TARGET is FILE.py:CALLABLE or package.module:CALLABLE, which returns a module, or a module and its inputs. The list
    is a SUITE, for gapbench run FILE. It has the calls of a forward pass with this input in evaluation mode, or of a
    training step. Shares of both are of the time on this machine.

    Exits with 5 if the network pools nothing.
    """
    from gapbench.operations.network import load
    from gapbench.report import format as fmt
    from gapbench.report import text
    from gapbench.workloads import case_lists

    if output is not None and not case_lists.is_list(str(output)):
        raise GapbenchError(f"cannot write {str(output)!r}; name a file that ends in .json or .csv")
    chosen, passes = _recorded(load(**target), train)
    measured = {name: {"seconds": each.seconds, "share": each.share} for name, each in passes.items()}
    document = {"target": target["target"], **measured}
    if output is not None:
        common.write_file(output, case_lists.dumps(chosen.cases, document, output.suffix))
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
    click.echo(_counts(chosen, passes))
    if output is not None:
        click.echo(f"list {output}; measure it with: gapbench run {output}")


def _recorded(network: "Network", train: bool = False) -> "tuple[Recorded, dict[str, Recorded]]":
    """Record both passes; return the one asked for, and both; a training step that fails may be a warning."""
    from gapbench.profiling import networks

    passes = {"forward_pass": networks.record(network)}
    try:
        passes["training_step"] = networks.record(network, step=True)
    except GapbenchError as error:
        if train:
            raise
        click.echo(f"warning: {error}", err=True)
    chosen = passes["training_step" if train else "forward_pass"]
    if not chosen.cases:
        raise NothingMatchedError(f"{network.name} averages nothing over all spatial positions here: nothing to change")
    common.show_warnings(chosen.warnings)
    return chosen, passes


def _counts(chosen: "Recorded", passes: "dict[str, Recorded]") -> str:
    from gapbench.report import format as fmt

    calls = counted(sum(each.count for each in chosen.cases), "pooling call")
    shares = [f"{fmt.number(100 * each.share, 2)} % of a {name.replace('_', ' ')}" for name, each in passes.items()]
    return f"{calls} in {counted(len(chosen.cases), 'kind')}, {', '.join(shares)}"


@command.command("apply")
@_target
@click.option("--run", metavar="RUN", help="Stored run that measured the pooling.  [default: measure it now]")
@click.option("--budget", type=DURATION, default=120.0, help="Wall time of measuring: 60s, 5m.  [default: 2m]")
@click.option("--eager", is_flag=True, help="Leave out the compiled network.")
@click.option(
    "--memory", type=click.Choice([*MEMORY]), default="kept", show_default=True,
    help="Allocator state: freed memory is kept, or large blocks are mapped fresh.",
)  # fmt: skip
@common.store
@common.no_wait
@click.option("-o", "--output", metavar="FILE.py", type=click.Path(path_type=Path), help="File to write.")
@common.as_json()
def apply(
    run: str | None, budget: float, eager: bool, memory: str, url: str, no_wait: bool, output: Path | None,
    as_json: bool, **target: Any,
) -> int:  # fmt: skip
    """Put the fastest pooling into a network, measure the whole network with and without it, and write it as a file.

    TARGET is as for gapbench model record. Calls are replaced where a run shows another implementation to be faster for
    their case; then the network and its patched copy take turns: a forward pass and a training step, eager and
    compiled. FILE.py is plain PyTorch whose apply(model) makes the replacements. It is written only if the network is
    shown to be faster.

    Exits with 3 if the patched network was wrong or failed, 5 if the network pools nothing.
    """
    from msgspec import structs, to_builtins

    from gapbench.cli.run import under
    from gapbench.measuring.budget import fit_to_budget
    from gapbench.measuring.plan import Effort
    from gapbench.operations.network import load
    from gapbench.profiling import patches
    from gapbench.report import patched_network, text
    from gapbench.store.store import Store

    common.refuse_foreign(output, patches.BEGIN, "gapbench model apply")
    store = Store(url)
    loaded = load(**target)
    original = patches.variant(loaded, target["shapes"], target["dtype"], target["layout"])
    forward, passes = _recorded(loaded)
    click.echo(_counts(forward, passes), err=as_json)
    listed = [case for each in passes.values() for case in each.cases]
    if run is None:
        budget /= 2
        trimmed = fit_to_budget(under(patches.pooling_plans(original, listed), [memory]), Effort(budget))
        pooling = _measure(store, trimmed.kept, budget, no_wait, notes=trimmed.warnings)
        run, results, samples = pooling.run.id, pooling.results, pooling.samples
    else:
        run = store.resolve(run)
        results, samples = store.results([run], validate=True), store.samples([run], validate=True)
    if not results["shape"].isin([case.shape for case in listed]).any():
        lacking = f"run {run} measured none of {loaded.name}'s pooling"
        raise NothingMatchedError(f"{lacking}; leave --run out, or name another")
    choices = [*patches.choose(original, listed, results, samples)]
    patched = patches.describe(original, run, listed, choices, results)
    recorded, top1, measured, source = None, None, [], ""
    if choices:
        with tempfile.TemporaryDirectory() as folder:
            machine = store.describe(run).machine
            file = patches.write(Path(folder), choices, loaded.name, str(machine.device_description or machine.cpu))
            source = file.read_text(encoding="utf-8")
            changed = structs.replace(original, patch=str(file))
            plans = under(patches.network_plans(original, changed, [*passes], eager), [memory])
            recorded = _measure(store, plans, budget, no_wait, network=patched)
            measured = [*patched_network.effects(recorded.results, recorded.samples)]
            top1 = patches.agreement(original, changed)
    is_faster = any(each.verdict == "faster" for each in measured)
    written = str(output) if is_faster and output is not None else None
    if written:
        common.write_file(Path(written), source)
    if as_json:
        agreed = None if top1 is None else dict(zip(("same", "of"), top1, strict=True))
        document = {"schema": 1, "run": recorded and recorded.run.id, "network": patched, "effects": measured}
        click.echo(json.dumps(to_builtins({**document, "top1": agreed, "file": written})))
    else:
        text.print_rows(patched_network.sites(patched))
        for term, sentence in patched_network.facts(measured, top1):
            click.echo(f"{term:24}{sentence}")
        click.echo(
            patched_network.conclusion(patched, measured)
            + (f"; {written} has apply(model) for them" if written else "")
        )
        if recorded:
            write_page(store, recorded.run.id)
    failed = recorded is not None and recorded.results["status"].isin(FAILURES).any()
    return ExitCode.FAILED if failed else ExitCode.DONE


def _measure(store: "Store", plans: "list[CasePlan]", seconds: float, no_wait: bool, **fields: Any) -> "Recording":
    from gapbench.cli.progress import Progress
    from gapbench.measuring import recording
    from gapbench.measuring.plan import Effort

    effort = Effort(seconds, patience=_PATIENCE)
    with common.locked(plans[0].case.device, no_wait), Progress(plans, effort) as progress:
        recorded = recording.measure(store, plans, effort, sys.argv[1:], progress.observe, **fields)
    common.show_warnings(recorded.run.warnings)
    if recorded.interrupted:
        raise KeyboardInterrupt
    return recorded
