"""``gapbench diff``: what changed between two stored runs."""

import os
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapbench.cli import common, static
from gapbench.cli.common import SHARE
from gapbench.errors import ExitCode, GapbenchError, unknown

if TYPE_CHECKING:
    from gapbench.analysis.compare import Diff

MARGIN = 0.01  # compare's own default, repeated here because importing it would slow --help down; a test compares
FAIL_ON = "regressed,failed_head"

FORMATS = {
    "table": "gapbench.report.diff:table",
    "markdown": "gapbench.report.diff.github:document",
    "json": "gapbench.report.diff:document",
    "github": "gapbench.report.diff.github:render",
}
"""For each format the function from a `Diff` to the text for stdout, by name: it is imported when it is needed."""

_VERDICTS = (
    "regressed", "failed_head", "failed_base", "changed_definition", "environment_mismatch", "removed", "added",
    "improved", "inconclusive", "equivalent",
)  # fmt: skip
POLICIES = {name: (name,) for name in _VERDICTS} | {"failed": ("failed_base", "failed_head"), "none": ()}
"""What ``--fail-on`` may name, and the verdicts that each stands for."""


def parse_policy(text: str) -> frozenset[str]:
    """Return the verdicts that ``regressed,failed`` stands for."""
    verdicts: set[str] = set()
    for name in filter(None, (name.strip() for name in text.split(","))):
        if name not in POLICIES:
            raise unknown("--fail-on", name, POLICIES)
        verdicts.update(POLICIES[name])
    if not any(name.strip() for name in text.split(",")):
        raise GapbenchError("--fail-on is empty, so nothing could fail; name verdicts, or write none")
    return frozenset(verdicts)


options = common.joined(
    click.option("--margin", type=SHARE, default=MARGIN, help="A change within this is none.  [default: 1%]"),
    click.option("--format", "format_", type=click.Choice([*FORMATS]), default="table", show_default=True,
                 help="github prints annotations and writes $GITHUB_STEP_SUMMARY and $GITHUB_OUTPUT."),
    click.option("--fail-on", "policy", type=common.Parsed("policy", parse_policy), default=FAIL_ON,
                 show_default=True, metavar="NAME,...",
                 help=f"Exit with 1 if any row has such a verdict: {', '.join(POLICIES)}."),
)  # fmt: skip
"""What counts as a change, and how it is shown."""


@click.command("diff")
@click.argument("base")
@click.argument("head", required=False)
@options
@click.option(
    "--allow-environment",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Compare though this differs: cpu, gpu, driver, torch, threads. Repeatable.",
)
@common.store
@click.option(
    "--static",
    "is_static",
    is_flag=True,
    help="BASE and HEAD are files of gapbench profile --static --json; HEAD is inspected now by default.",
)
@click.pass_context
def command(
    context: click.Context,
    base: str,
    head: str | None,
    margin: float,
    format_: str,
    policy: frozenset[str],
    allowed: tuple[str, ...],
    url: str,
    is_static: bool,
) -> int:
    """Say what changed from run BASE to run HEAD (latest by default): ids, unique prefixes, commits, branches, tags.

    A row is regressed only if it is shown to be more than the margin slower, all rows considered together. How far runs
    of unchanged code lie apart on this machine is learned from the store's earlier runs of the same suites. What cannot
    be told is inconclusive, with what it would take.

    A run of gapbench ab alone is shown as it was then, with its own margin.

    With --static it says what the compiler does otherwise with our Triton kernels, which needs no GPU, and exits with 1
    if a kernel got worse: it spills, its loads or stores are narrower, fewer warps fit, or it is gone.

    Exits with 1 if a verdict of --fail-on occurs, otherwise with 4 if the environments differ and nothing was compared,
    and with 5 if the runs have nothing in common.
    """
    if is_static:
        _refuse_others(context)
        return static.compare(Path(base), None if head is None else Path(head))
    from gapbench.analysis.compare import compare, interleaved
    from gapbench.report.diff.lines import explained
    from gapbench.report.loaded_run import earlier, side
    from gapbench.store.store import Store

    store = Store(url)
    before = side(store, store.resolve(base))
    if head is None and before.run.is_comparison:
        found = explained(store, interleaved(before))
    else:
        after = side(store, store.resolve(head or "latest"))
        found = compare(before, after, margin, allowed, earlier=earlier(store, before, after))
    show(found, format_)
    if policy & found.summary.keys():
        return ExitCode.POLICY
    if "environment_mismatch" in found.summary:
        if found.environment:
            differing = f"{', '.join(found.environment)}; --allow-environment NAME compares all the same"
        else:
            differing = next(row.reason for row in found.rows if row.verdict == "environment_mismatch")
        click.echo(f"gapbench: not compared: {differing}", err=True)
        return ExitCode.REFUSED
    return ExitCode.DONE


def _refuse_others(context: click.Context) -> None:
    """Raise `GapbenchError` where options of stored runs were given beside --static."""
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and option.name not in ("base", "head", "is_static"):
            raise GapbenchError(f"{option.opts[0]} is for stored runs; leave it out, or --static")


def render(diff: "Diff", format_: str) -> str:
    """Return a diff in one of the `FORMATS`."""
    text: str = pkgutil.resolve_name(FORMATS[format_])(diff)
    return text


def show(found: "Diff", format_: str) -> None:
    """Print a diff in one of the `FORMATS`, and write what GitHub reads from files."""
    from gapbench.report.diff import github

    click.echo(render(found, format_))
    if format_ == "github":
        github.write(found, os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT"))
