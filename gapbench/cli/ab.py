"""``gapbench ab``: two commits, or two interpreters, measured together."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from gapbench.cli import common, diff, selection
from gapbench.cli.common import DURATION
from gapbench.cli.report import write_page
from gapbench.cli.selection import Selection
from gapbench.errors import ExitCode, GapbenchError
from gapbench.repository.checkouts import HERE
from gapbench.store.records import BASE, HEAD, NULL

if TYPE_CHECKING:
    from gapbench.analysis.compare import Diff
    from gapbench.measuring.plan import CasePlan, Plan, Side
    from gapbench.measuring.revisions import Revision
    from gapbench.measuring.servers import Servers
    from gapbench.store.store import RunWriter, Store

BUDGET = 60.0
VERSIONS = ("--ref", "--python")  # the words before each version of a matrix


@click.command("ab")
@click.argument("base")
@click.argument("head")
@selection.options
@click.option("--base-python", metavar="PYTHON", help="Interpreter for BASE, with its own torch.")
@click.option("--head-python", metavar="PYTHON", help="Interpreter for HEAD, with its own torch.")
@click.option("--budget", type=DURATION, default=BUDGET, help="Wall time of the whole measurement.  [default: 60s]")
@diff.options
@click.option("--explain", is_flag=True, help="Profile both sides of each regressed row, and show what changed.")
@common.seed
@common.store
@common.tag
@common.no_wait
def command(base: str, head: str, base_python: str | None, head_python: str | None, **options: Any) -> int:
    """Measure BASE and HEAD, two commits of the repository in the current folder, together on this machine.

    A dot stands for the folder as it is, with uncommitted changes. Batches of the two sides alternate every quarter of
    a millisecond in fresh processes; the SUITE is ci by default. --impl FILE.py:FUNCTION is taken from each commit. In
    gapbench's own repository the implementations are taken from each commit too; the harness is this one on both sides.

    With --explain, each regressed row is followed by the reasons: operators and kernels that are new or slower,
    copies, memory, dispatch, generated code. That takes up to a minute per row, beyond the budget.

    With --format table, also writes the page of the diff to reports/.

    Exits with 1 if a verdict of --fail-on occurs, with 3 if nothing of HEAD could be measured, with 4 if --no-wait
    finds the device in use, with 5 if nothing matches the selection.
    """
    pythons = {"--base-python": base_python, "--head-python": head_python}
    given = [word for option, python in pythons.items() if python for word in (option, python)]
    if options["explain"] and given:
        raise GapbenchError(
            "--explain profiles both sides under this interpreter, not under another one; leave out --explain, or "
            "--base-python and --head-python"
        )
    return compare((BASE, HEAD), (base, head), [*pythons.values()], [base, head, *given], options)


def compare(
    names: Sequence[str], refs: Sequence[str], pythons: Sequence[str | None], words: Sequence[str],
    options: Mapping[str, Any], kind: Literal["ab", "matrix"] = "ab",
) -> int:  # fmt: skip
    """Measure versions of the code together by ``options`` of the command ``kind``, and return the exit code.

    Each has a name in the run, a ref and an interpreter, None for this one; ``words`` name them on the command line.
    """
    from gapbench.measuring.servers import Servers

    # servers load torch while this process does
    own_side = not {None, sys.executable}.isdisjoint(pythons)
    servers = click.get_current_context().with_resource(Servers(("kept",) if own_side else ()))
    from gapbench.measuring import recording, revisions
    from gapbench.measuring.plan import Effort, Plan
    from gapbench.store.run import Comparison
    from gapbench.store.store import Store

    store, effort = Store(options["url"]), Effort(budget=options["budget"], seed=options["seed"])
    with contextlib.ExitStack() as stack:
        versions = dict(zip(names, revisions_of(stack, refs, pythons), strict=True))
        sides = revisions.sides(versions | ({NULL: versions[BASE]} if kind == "ab" else {}), stack)
        plan = Plan(tuple(case_plans(options, sides)), effort, sides)
        stack.enter_context(common.locked(plan.plans[0].case.device, options["no_wait"]))
        commits = {side.checkout.ref: side.checkout.commit or HERE for side in versions.values()}
        question = Comparison(options["margin"], tuple(commits.get(word, word) for word in words), kind=kind)
        writer = recording.begin(
            store, plan.plans, effort, sys.argv[1:], options["tag"], sides=revisions.describe(versions),
            comparison=question,
        )  # fmt: skip
        return _measured(store, writer, plan, servers, options)


def resume(store: "Store", writer: "RunWriter", no_wait: bool, servers: "Servers") -> int:
    """Resume an interrupted comparison. Raises `GapbenchError` where a commit or interpreter has changed."""
    from gapbench.measuring import recording, revisions
    from gapbench.measuring.plan import Plan

    plans, effort = recording.plan_of(writer.run)
    assert writer.run.comparison is not None
    if writer.run.comparison.kind == "bisect":
        raise GapbenchError(f"run {writer.id} is one step of gapbench bisect, which cannot be resumed; start it again")
    command = writer.run.comparison.command
    if writer.run.is_matrix:
        refs, pythons = ([value for word, value in pairwise(command) if word == name] for name in VERSIONS)
        refs, pythons = refs or [HERE] * len(pythons), pythons or [sys.executable] * len(refs)
    else:
        options = dict(zip(command[2::2], command[3::2], strict=True))
        refs, pythons = [*command[:2]], [options.get(f"--{name}-python", sys.executable) for name in (BASE, HEAD)]
    with contextlib.ExitStack() as stack:
        side_revisions = revisions_of(stack, refs, pythons)
        for was, revision in zip(writer.run.sides, side_revisions, strict=True):
            if revision.describe(was.name).code != was.code:
                raise GapbenchError(
                    f"run {writer.id}: {was.name} ({was.ref}) is no longer the code that was measured; restore it, or "
                    f"start again with: gapbench {writer.run.comparison.kind} {' '.join(command)}"
                )
        by_name = {side.name: revision for side, revision in zip(writer.run.sides, side_revisions, strict=True)}
        hidden = {} if writer.run.is_matrix else {NULL: side_revisions[0]}
        plan = Plan(tuple(plans), effort, revisions.sides(by_name | hidden, stack))
        stack.enter_context(common.locked(plan.plans[0].case.device, no_wait))
        shown = {"format_": "table", "policy": diff.parse_policy(diff.FAIL_ON), "explain": False}
        return _measured(store, writer, plan, servers, shown)


def revisions_of(stack: contextlib.ExitStack, refs: Sequence[str], pythons: Sequence[str | None]) -> "list[Revision]":
    """Check out each of ``refs`` until the stack ends, for the interpreter of the same number; None is this one."""
    from gapbench.measuring.revisions import Revision
    from gapbench.repository import checkouts

    folders = stack.enter_context(checkouts.checkouts(Path.cwd(), *refs))
    return [Revision(folder, python or sys.executable) for folder, python in zip(folders, pythons, strict=True)]


def _measured(store: "Store", writer: "RunWriter", plan: "Plan", servers: "Servers", options: Mapping[str, Any]) -> int:
    from gapbench.analysis.compare import Diff, of_sides
    from gapbench.cli.progress import Progress
    from gapbench.measuring import recording
    from gapbench.report import loaded_run

    format_ = options["format_"]
    with Progress(plan.plans, plan.effort, sides=len(writer.run.sides)) as progress:
        recorded = recording.record(writer, plan, progress.observe, servers=servers)
    path = f"{store.url.rstrip('/')}/{writer.id}"
    if recorded.interrupted:
        click.echo(
            f"interrupted, so there are no verdicts; finished rounds are kept in {path}; resume with: "
            f"gapbench run --resume {writer.id}",
            err=True,
        )
        return ExitCode.INTERRUPTED
    difference = of_sides(loaded_run.side(store, writer.id))
    if options["explain"] and isinstance(difference, Diff):
        base, head, *_ = plan.sides
        difference = _explained(store, difference, base, head)
    common.show_warnings(writer.run.warnings)
    diff.show(difference, format_, store)
    click.echo(f"run {writer.id}; in {path}", err=format_ != "table")
    if format_ == "table" and not writer.run.is_matrix:
        write_page(store, writer.id)
    if options["policy"] & difference.outcomes:
        return ExitCode.POLICY
    results = recorded.results
    later = [side.name for side in writer.run.sides[1:]]
    if not results.loc[results["contender"].isin(later), "status"].eq("ok").any():
        names = " or ".join(later) if writer.run.is_matrix else "HEAD"
        click.echo(f"nothing of {names} could be measured, so nothing was compared", err=True)
        return ExitCode.FAILED
    return ExitCode.DONE


def _explained(store: "Store", difference: "Diff", base: "Side", head: "Side") -> "Diff":
    """Profile both sides of each regressed row; Ctrl-C leaves the rest without an explanation."""
    from gapbench.profiling import explain
    from gapbench.report.diff import lines
    from gapbench.statistics.verdicts import Verdict

    rows = [row for row in lines.red(difference) if row.verdict is Verdict.REGRESSED]
    try:
        if sys.stderr.isatty() and rows:
            click.echo("profiling what regressed …", err=True)
        for row in explain.explain(store, difference.head.id, rows, base.source, head.source) if rows else ():
            if sys.stderr.isatty():
                click.echo(f"profiled {row.implementation} on {row.case}", err=True)
    except KeyboardInterrupt:
        click.echo("warning: interrupted; rows that were not profiled have no explanation", err=True)
    return lines.explained(store, difference)


def case_plans(selected: Mapping[str, Any], sides: "Sequence[Side]") -> "list[CasePlan]":
    """Return the plans of what can differ between the sides. Raises `GapbenchError` where nothing can."""
    from gapbench import operations

    two_pythons = len({side.python for side in sides}) > 1
    built_in = two_pythons or any(side.source.built_in for side in sides)
    # with a function of the user's own, only built-in implementations that --impl names are compared
    named = selected["specs"] if any(map(operations.is_user_spec, selected["specs"])) else ()

    def differs(name: str, spec: str) -> bool:
        if operations.is_user_spec(spec):
            return True
        return (built_in or operations.builtin(name) is None) and (not named or name in named)

    selection = Selection.of("ci", selected)
    plans = selection.plans(lambda spec: _in_repository(spec, two_pythons, sides), with_reference=False)
    differing = [
        replace(case_plan, specs=specs)
        for case_plan in plans
        if (specs := {name: spec for name, spec in case_plan.specs.items() if differs(name, spec)})
    ]
    if not differing:
        raise GapbenchError(
            "none of these implementations comes from this repository, so its commits cannot differ in any; name one "
            "of its own with --impl FILE.py:FUNCTION, or compare interpreters, each with its own torch"
        )
    return differing


def _in_repository(spec: str, anywhere: bool, sides: "Sequence[Side]") -> str:
    """Return a FILE.py:FUNCTION relative to the repository. Raises `GapbenchError` where no side has it."""
    from gapbench.implementations import user
    from gapbench.repository import checkouts

    file, function = user.split(spec)
    path, top = Path(file).resolve(), checkouts.top(Path.cwd())
    if path.is_relative_to(top):
        path = path.relative_to(top)
    elif not anywhere:
        raise GapbenchError(f"--impl {spec!r}: this file is outside {top}, so commits cannot differ in it")
    if not any(user.mentions(side.source.spec(f"{path}:{function}")) for side in sides):
        raise GapbenchError(
            f"--impl {spec!r}: no version has this function; commit it, or fetch its submodule with: "
            "git submodule update --init"
        )
    return f"{path}:{function}"
