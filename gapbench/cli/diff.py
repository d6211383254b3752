"""``gapbench diff``: changes between two stored runs."""

import os
import pkgutil
from typing import TYPE_CHECKING

import click

from gapbench.cli import common
from gapbench.cli.common import SHARE
from gapbench.errors import ExitCode, GapbenchError, unknown

if TYPE_CHECKING:
    from gapbench.analysis.compare import Diff, Matrix
    from gapbench.store.store import Store

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
POLICIES = {name: (name,) for name in _VERDICTS} | {
    "failed": ("failed_base", "failed_head"), "more_work": ("more_work",), "none": ()
}  # fmt: skip
"""Names for ``--fail-on``, and the verdicts that each stands for."""


def parse_policy(text: str) -> frozenset[str]:
    """Return the verdicts that ``regressed,failed`` stands for."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise GapbenchError("--fail-on is empty, so nothing could fail; name verdicts, or write none")
    for name in names:
        if name not in POLICIES:
            raise unknown("--fail-on", name, POLICIES)
    return frozenset(verdict for name in names for verdict in POLICIES[name])


margin_option = click.option(
    "--margin", type=SHARE, default=MARGIN, help="Ignore changes smaller than this.  [default: 1%]"
)
fail_on = click.option("--fail-on", "policy", type=common.Parsed("policy", parse_policy), default=FAIL_ON,
                       show_default=True, metavar="NAME,...",
                       help=f"Exit with 1 if any row has one of these verdicts: {', '.join(POLICIES)}.")  # fmt: skip
options = common.joined(
    margin_option,
    click.option("--format", "format_", type=click.Choice([*FORMATS]), default="table", show_default=True,
                 help="Output format; github also writes $GITHUB_STEP_SUMMARY and $GITHUB_OUTPUT."),
    fail_on,
)  # fmt: skip


_allowed = click.option(
    "--allow-environment", "allowed", multiple=True, metavar="NAME",
    help="Compare although this differs: cpu, gpu, driver, torch, threads. Repeatable.",
)  # fmt: skip


@click.command("diff")
@click.argument("base")
@click.argument("head", required=False)
@options
@_allowed
@common.store
def command(
    base: str, head: str | None, margin: float, format_: str, policy: frozenset[str], allowed: tuple[str, ...], url: str
) -> int:
    """Show what changed from run BASE to run HEAD (latest by default): ids, unique prefixes, commits, branches, tags.

    A row is regressed only if it is shown to be slower by more than the margin, with a correction for the number of
    rows. Earlier runs of the same suites in the store tell how far runs of unchanged code differ on this machine. A row
    that cannot be decided is inconclusive, with the effort that a decision would take.

    A run of gapbench ab or matrix as BASE, without HEAD, is shown with its own margin.

    Exits with 1 if a verdict of --fail-on occurs, otherwise with 4 if the environments differ and nothing was compared,
    and with 5 if the runs have nothing in common.
    """
    from gapbench.analysis.compare import Diff, compare, of_sides
    from gapbench.report.diff.lines import explained
    from gapbench.report.loaded_run import earlier, side
    from gapbench.store.store import Store

    store = Store(url)
    before = side(store, store.resolve(base))
    if head is None and before.run.is_comparison:
        difference = of_sides(before)
        difference = explained(store, difference) if isinstance(difference, Diff) else difference
    else:
        after = side(store, store.resolve(head or "latest"))
        difference = compare(before, after, margin, allowed, earlier=earlier(store, before, after))
    show(difference, format_, store)
    if policy & difference.outcomes:
        return ExitCode.POLICY
    if isinstance(difference, Diff) and "environment_mismatch" in difference.summary:
        if difference.environment:
            differing = f"{', '.join(difference.environment)}; --allow-environment NAME compares all the same"
        else:
            differing = next(row.reason for row in difference.rows if row.verdict == "environment_mismatch")
        click.echo(f"gapbench: not compared: {differing}", err=True)
        return ExitCode.REFUSED
    return ExitCode.DONE


def render(difference: "Diff | Matrix", format_: str) -> str:
    """Return a diff in one of the `FORMATS`, a matrix as table or JSON. Raises `GapbenchError` for its others."""
    from gapbench.analysis.compare import Matrix
    from gapbench.report.diff import steps

    if not isinstance(difference, Matrix):
        text: str = pkgutil.resolve_name(FORMATS[format_])(difference)
        return text
    if format_ not in ("table", "json"):
        raise GapbenchError(f"--format {format_} cannot show a matrix of versions; use table or json")
    return steps.table(difference) if format_ == "table" else steps.document(difference)


def show(difference: "Diff | Matrix", format_: str, store: "Store") -> None:
    """Print a diff in one of the `FORMATS`; a table with the certificate of ``store``, github to its files too."""
    from gapbench.analysis.compare import Diff
    from gapbench.report import certified
    from gapbench.report.diff import github
    from gapbench.store import certificates

    click.echo(render(difference, format_))
    if not isinstance(difference, Diff):
        return
    if format_ == "table" and (certificate := certificates.newest(store, difference.head)):
        click.echo(certified.sentence(certificate))
    if format_ == "github":
        github.write(difference, os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT"))
