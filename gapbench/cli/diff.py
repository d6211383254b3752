"""``gapbench diff``: what changed between two stored runs."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from gapbench.cli.types import SHARE, Parsed
from gapbench.errors import ExitCode, unknown

if TYPE_CHECKING:
    from gapbench.compare import Diff

# compare's own default and formats, repeated here because importing them would slow --help down; a test compares.
MARGIN = 0.01
FORMATS = ("table", "markdown", "json", "github")

POLICIES: dict[str, tuple[str, ...]] = {
    "regressed": ("regressed",),
    "failed": ("failed_base", "failed_head"),
    "failed_head": ("failed_head",),
    "failed_base": ("failed_base",),
    "changed_definition": ("changed_definition",),
    "environment_mismatch": ("environment_mismatch",),
    "removed": ("removed",),
    "added": ("added",),
    "improved": ("improved",),
    "inconclusive": ("inconclusive",),
    "equivalent": ("equivalent",),
    "none": (),
}
"""What ``--fail-on`` may name, and the verdicts that each stands for."""


def parse_policy(text: str) -> frozenset[str]:
    """Return the verdicts that ``regressed,failed`` stands for."""
    verdicts: set[str] = set()
    for name in filter(None, (name.strip() for name in text.split(","))):
        if name not in POLICIES:
            raise unknown("--fail-on", name, POLICIES)
        verdicts.update(POLICIES[name])
    return frozenset(verdicts)


_OPTIONS = (
    click.option("--margin", type=SHARE, default=MARGIN, help="A change within this is none.  [default: 1%]"),
    click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True,
                 help="github prints annotations and writes $GITHUB_STEP_SUMMARY and $GITHUB_OUTPUT."),
    click.option("--fail-on", "policy", type=Parsed("policy", parse_policy), default="regressed,failed_head",
                 show_default=True, metavar="NAME,...",
                 help=f"Exit with 1 if any row has such a verdict: {', '.join(POLICIES)}."),
)  # fmt: skip


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what counts as a change and how it is shown."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


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
@click.option("--store", "url", metavar="URL", default="results", show_default=True, help="Folder or fsspec URL.")
def command(
    base: str, head: str | None, margin: float, format_: str, policy: frozenset[str], allowed: tuple[str, ...], url: str
) -> int:
    """Say what changed from run BASE to run HEAD (latest by default): ids, unique prefixes, commits, branches, tags.

    A row is regressed only if it is shown to be more than the margin slower, all rows considered together; what cannot
    be told is inconclusive, with the rounds that it would take.

    A run of gapbench ab alone is shown as it was then, with its own margin.

    Exits with 1 if a verdict of --fail-on occurs, otherwise with 4 if the environments differ and nothing was compared,
    and with 5 if the runs have nothing in common.
    """
    from gapbench.compare import compare, interleaved
    from gapbench.report.diff.explained import explained
    from gapbench.report.stored import side
    from gapbench.store import Store

    store = Store(url)
    before = side(store, store.resolve(base))
    if head is None and "ab" in before.run:
        found = explained(store, interleaved(before))
    else:
        found = compare(before, side(store, store.resolve(head or "latest")), margin, allowed)
    show(found, format_)
    if policy & found.summary.keys():
        return ExitCode.POLICY
    if "environment_mismatch" in found.summary:
        differing = ", ".join(found.environment)
        click.echo(f"gapbench: not compared: {differing}; --allow-environment NAME compares all the same", err=True)
        return ExitCode.REFUSED
    return ExitCode.DONE


def show(found: "Diff", format_: str) -> None:
    """Print a diff in one of the `FORMATS`, and write what GitHub reads from files."""
    from gapbench.report.diff import FORMATS, github

    click.echo(FORMATS[format_](found))
    if format_ == "github":
        github.write(found, os.environ.get("GITHUB_STEP_SUMMARY"), os.environ.get("GITHUB_OUTPUT"))
