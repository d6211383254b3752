"""``gapbench run``: measure, store, and show the winners."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gapbench.cli import common, selection
from gapbench.cli.common import DURATION, SHARD, SHARE
from gapbench.cli.report import write_page
from gapbench.cli.selection import Selection
from gapbench.errors import ExitCode, GapbenchError
from gapbench.store.records import FAILURES, MEMORY

if TYPE_CHECKING:
    from gapbench.measuring.budget import Trimmed
    from gapbench.measuring.plan import CasePlan, Effort
    from gapbench.measuring.recording import Recording
    from gapbench.store.store import Store
# The engine's own defaults, repeated here because importing the engine would slow --help down; a test compares.
BUDGET, ROUNDS, TARGET = 60.0, 6, 0.01
_CHOICES = 3


_options = common.joined(
    selection.options,
    click.option("--budget", type=DURATION, default=BUDGET,
                 help="Wall time of the whole run: 60s, 5m.  [default: 60s]"),
    click.option("--rounds", type=int, default=ROUNDS, show_default=True,
                 help="Minimum rounds of fresh processes per case, even beyond the budget; 95 % intervals need 6."),
    click.option("--target", type=SHARE, default=TARGET,
                 help="Stop a case once its ratios are this precise.  [default: 1%]"),
    click.option("--all", "everyone", is_flag=True,
                 help="Measure all implementations to the target, even clearly slower ones."),
    click.option("--memory", type=click.Choice([*MEMORY]), multiple=True, default=["kept"], show_default=True,
                 help="Allocator state: freed memory is kept, or large blocks are mapped fresh. Repeatable."),
    common.seed, common.store, common.tag,
    click.option("--shard", type=SHARD, metavar="I/N",
                 help="Part of the cases, as in 2/8; gapbench store import joins all N."),
    click.option("--on", metavar="ray[://HOST:PORT]", help="Ray cluster to measure on, rather than this machine."),
    common.no_wait,
    click.option("--dry-run", is_flag=True, help="Print the plan, and measure nothing."),
    click.option("--resume", metavar="RUN", help="Complete an interrupted run, with its own settings."),
    common.as_json("one JSON document, and write no page"),
    click.option("--open", "open_", is_flag=True, help="Open the run's page in a browser."),
)  # fmt: skip


@click.command("run")
@_options
def command(
    budget: float, rounds: int, target: float, everyone: bool, memory: tuple[str, ...], seed: int, url: str,
    tag: str | None, shard: tuple[int, int] | None, on: str | None, no_wait: bool, dry_run: bool, resume: str | None,
    as_json: bool, open_: bool, **selected: Any,
) -> int:  # fmt: skip
    """Measure implementations on the cases of each SUITE (quick by default): a name, a suite file, or a list.

    Writes the run's page to reports/, as gapbench report does, and prints its path.

    Exits with 3 if a selected implementation was wrong or failed, 4 if --no-wait finds the device in use or others fill
    its memory, 5 if nothing matches the selection.
    """
    from gapbench.measuring.servers import Servers

    # servers load torch while this process does
    servers = click.get_current_context().with_resource(Servers(() if on or dry_run else memory))
    from gapbench.cli.progress import Progress
    from gapbench.measuring import recording
    from gapbench.measuring.budget import fit_to_budget, shard_of
    from gapbench.measuring.plan import Effort, Plan
    from gapbench.store.store import Store

    effort = Effort(budget, rounds, target, seed, race=not everyone)
    if on:
        from gapbench.cli import fleet

        fleet.check(on, shard=shard, dry_run=dry_run, open=open_, no_wait=no_wait, memory=memory != ("kept",))
        if resume:
            return fleet.resume(on, url, resume, as_json)
        return fleet.run(on, url, effort, selected, tag, as_json)
    store = Store(url)
    writer = None
    if resume:
        writer = store.reopen(store.resolve(resume), validate=True)
        if writer.run.is_comparison:
            from gapbench.cli import ab

            return ab.resume(store, writer, no_wait, servers)
        if writer.run.fleet is not None:
            raise GapbenchError(f"run {writer.id} was measured on a fleet; add --on ray to go on there")
        plans, effort = recording.plan_of(writer.run)
    else:
        plans = under(Selection.of("quick", selected).plans(everyone=everyone), memory)
        fields: dict[str, Any] = {}
        if shard:
            plans, fields = shard_of(plans, effort, *shard)
        trimmed = fit_to_budget(plans, effort)
        if dry_run:
            _print_plan(trimmed, effort, as_json)
            return ExitCode.DONE
        plans = trimmed.kept
        notes = trimmed.warnings
    with common.locked(plans[0].case.device, no_wait):
        writer = writer or recording.begin(store, plans, effort, sys.argv[1:], tag, notes, **fields)
        with Progress(plans, effort) as progress:
            recorded = recording.record(writer, Plan(tuple(plans), effort), progress.observe, servers=servers)
    return conclude(store, recorded, as_json, open_)


def conclude(store: "Store", recorded: "Recording", as_json: bool, open_: bool, quiet: bool = False) -> ExitCode:
    """Print a run's warnings and results (as JSON only if not ``quiet``), write its page, and return the exit code."""
    run = recorded.run.id
    common.show_warnings(recorded.run.warnings)
    if as_json and not quiet:
        click.echo(json.dumps(document(recorded, store.url)))
    elif not as_json:
        _print_results(recorded, store.url)
        if not recorded.results.empty:
            write_page(store, run, open_)
    if recorded.interrupted:
        on = " --on ray" if recorded.run.fleet is not None else ""
        click.echo(f"interrupted; finished rounds are kept; resume with: gapbench run --resume {run}{on}", err=True)
        return ExitCode.INTERRUPTED
    failed = recorded.results["status"].isin(FAILURES).any()
    return ExitCode.FAILED if failed else ExitCode.DONE


def under(plans: "list[CasePlan]", memory: Sequence[str]) -> "list[CasePlan]":
    """Return each case plan under each condition of ``memory``; accelerators, with their own allocator, under one."""
    return [
        replace(case_plan, memory=condition)
        for case_plan in plans
        for condition in (dict.fromkeys(memory) if case_plan.case.device == "cpu" else ("kept",))
    ]


def _print_plan(trimmed: "Trimmed", effort: "Effort", as_json: bool) -> None:
    from gapbench.measuring.budget import estimate
    from gapbench.operations import unsupported_reason

    plan: list[dict[str, Any]] = [
        {
            "name": case_plan.case.id,
            "suite": case_plan.suite,
            "label": case_plan.case.label,
            "implementations": [
                name for name, spec in case_plan.specs.items() if not unsupported_reason(spec, case_plan.case)
            ],
            "seconds": round(estimate(case_plan, effort), 1),
            "dropped": dropped,
        }
        for dropped, plans in ((False, trimmed.kept), (True, trimmed.dropped))
        for case_plan in plans
    ]
    if as_json:
        document = {"schema": 1, "budget": effort.budget, "rounds": effort.rounds, "seconds": round(trimmed.needed)}
        click.echo(json.dumps({**document, "cases": plan}))
        return
    from gapbench.report import plain_text

    needed = effort.budget if trimmed.dropped else max(effort.budget, trimmed.needed)
    facts = {"kept": len(trimmed.kept), "rounds": effort.rounds, "needed": needed, "warnings": trimmed.warnings}
    click.echo(plain_text.render("plan.txt.j2", cases=plan, **facts), nl=False)


def document(recorded: "Recording", url: str) -> dict[str, Any]:
    """Return the document that ``--json`` prints for a run in the store ``url``."""
    from gapbench.analysis import summary
    from gapbench.measuring import recording

    run = recorded.run.id
    frames = {"winners": recorded.winners, "totals": summary.totals(recorded.results)}
    tables = {name: json.loads(each.to_json(orient="records", double_precision=15)) for name, each in frames.items()}
    counts = recording.counts(recorded.results)
    return {"schema": 1, "run": run, "path": f"{url.rstrip('/')}/{run}", "counts": counts, **tables}


def _print_results(recorded: "Recording", url: str) -> None:
    from gapbench.analysis import summary
    from gapbench.measuring import recording
    from gapbench.report import text

    run, results = recorded.run, recorded.results
    text.print_winners(recorded.winners, run=run)
    text.print_contenders(results[~results["ranked"]], "what each costs")
    text.print_contenders(results[results["implementation"].isin(recording.own_implementations(run))], "yours")
    totals = summary.totals(results)
    is_first = totals.groupby(["suite", "dtype", "layout", "memory"], dropna=False).cumcount() < _CHOICES
    text.print_totals(totals[is_first | (totals["dtype"] == "")])  # of a network, every choice
    text.print_memory(results)
    text.print_troubles(results)
    text.print_clocks(run.clocks)
    counts = ", ".join(f"{count} {status}" for status, count in recording.counts(results).items())
    click.echo(f"run {run.id}: {counts or 'nothing measured'}; in {url.rstrip('/')}/{run.id}")
