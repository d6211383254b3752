"""``gapbench run``: measure, store, and say who wins."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from gapbench.cli import common, selection
from gapbench.cli.common import DURATION, SHARD, SHARE
from gapbench.cli.report import write_page
from gapbench.cli.selection import Selection
from gapbench.errors import ExitCode, GapbenchError, counted
from gapbench.store.records import FAILURES, MEMORY

if TYPE_CHECKING:
    from gapbench.measuring.budget import Trimmed
    from gapbench.measuring.plan import CasePlan, Effort
    from gapbench.measuring.recording import Recording
    from gapbench.store.store import Store
# The engine's own defaults, repeated here because importing the engine would slow --help down; a test compares.
BUDGET, ROUNDS, TARGET = 60.0, 6, 0.01
_CHOICES = 3


@click.command("run")
@selection.options
@click.option("--budget", type=DURATION, default=BUDGET, help="Wall time of the whole run: 60s, 5m.  [default: 60s]")
@click.option(
    "--rounds",
    type=int,
    default=ROUNDS,
    show_default=True,
    help="Fewest rounds of fresh processes a case, kept even beyond the budget; 95 % intervals need 6.",
)
@click.option("--target", type=SHARE, default=TARGET, help="Stop a case when ratios are known to this.  [default: 1%]")
@click.option(
    "--all", "everyone", is_flag=True, help="Measure all to the target, also those clearly slower than the best."
)
@click.option(
    "--memory",
    type=click.Choice([*MEMORY]),
    multiple=True,
    default=["kept"],
    show_default=True,
    help="Let the allocator keep freed memory, or map large blocks anew. Repeatable.",
)
@common.seed
@common.store
@common.tag
@click.option(
    "--shard", type=SHARD, metavar="I/N", help="Of the cases only these, as in 2/8; gapbench store import joins all N."
)
@click.option("--on", metavar="ray[://HOST:PORT]", help="Measure on the machines of a Ray cluster, not on this one.")
@common.no_wait
@click.option("--dry-run", is_flag=True, help="Say what would be measured, and measure nothing.")
@click.option("--resume", metavar="RUN", help="Complete an interrupted run as it was begun.")
@common.as_json("one JSON document, and write no page")
@click.option("--open", "open_", is_flag=True, help="Open the run's page in a browser.")
def command(
    budget: float,
    rounds: int,
    target: float,
    everyone: bool,
    memory: tuple[str, ...],
    seed: int,
    url: str,
    tag: str | None,
    shard: tuple[int, int] | None,
    on: str | None,
    no_wait: bool,
    dry_run: bool,
    resume: str | None,
    as_json: bool,
    open_: bool,
    **selected: Any,
) -> int:
    """Measure implementations on the cases of each SUITE (quick by default): a name, or a suite file.

    Writes the run's page to reports/, as gapbench report does, and ends with its path.

    Exits with 3 if a selected implementation was wrong or failed, 4 if --no-wait finds the device in use, 5 if nothing
    matches the selection.
    """
    from gapbench.measuring.servers import Servers

    # They load torch while this process does.
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
    if not as_json:
        _print_results(recorded, store.url)
    elif not quiet:
        click.echo(json.dumps(document(recorded, store.url)))
    if not as_json and not recorded.results.empty:
        write_page(store, run, open_)
    if recorded.interrupted:
        where = " --on ray" if recorded.run.fleet is not None else ""
        click.echo(f"interrupted; what was measured is kept; go on with: gapbench run --resume {run}{where}", err=True)
        return ExitCode.INTERRUPTED
    bad = recorded.results["status"].isin(FAILURES).any()
    return ExitCode.FAILED if bad else ExitCode.DONE


def under(plans: "list[CasePlan]", memory: Sequence[str]) -> "list[CasePlan]":
    """Return each case plan under each of the memory conditions; accelerators have an allocator of their own."""
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
    for case in plan:
        fate = "  dropped" if case["dropped"] else ""
        names = counted(len(case["implementations"]), "implementation")
        click.echo(f"{case['name']}  {case['label']}  ({names}){fate}")
    counts = Counter((case["suite"], case["dropped"]) for case in plan)
    for suite in dict.fromkeys(case["suite"] for case in plan):
        seconds = sum(case["seconds"] for case in plan if case["suite"] == suite)
        cases = counted(counts[suite, False] + counts[suite, True], "case")
        click.echo(f"{suite}: {cases}, about {seconds:.0f} s")
    click.echo(
        f"{counted(len(trimmed.kept), 'case')}, {counted(effort.rounds, 'round')} or more, about "
        f"{max(effort.budget, trimmed.needed) if not trimmed.dropped else effort.budget:.0f} s"
    )
    for warning in trimmed.warnings:
        click.echo(str(warning))


def document(recorded: "Recording", url: str) -> dict[str, Any]:
    """Return what ``--json`` says of a run in the store ``url``."""
    from gapbench.measuring import recording

    run = recorded.run.id
    winners = json.loads(recorded.winners.to_json(orient="records", double_precision=15))
    counts = recording.counts(recorded.results)
    return {"schema": 1, "run": run, "path": f"{url.rstrip('/')}/{run}", "counts": counts, "winners": winners}


def _print_results(recorded: "Recording", url: str) -> None:
    from gapbench.analysis import summary
    from gapbench.measuring import recording
    from gapbench.report import text
    from gapbench.store import records

    run = recorded.run.id
    statuses = recording.counts(recorded.results)
    path = f"{url.rstrip('/')}/{run}"
    results = recorded.results
    text.print_winners(recorded.winners, run=recorded.run)
    text.print_contenders(results[results["operation"].isin(records.UNRANKED)], "what each costs")
    text.print_contenders(results[results["implementation"].isin(recording.own_implementations(recorded.run))], "yours")
    totals = summary.totals(results)
    text.print_totals(
        totals[totals.groupby(["suite", "dtype", "layout", "memory"], dropna=False).cumcount() < _CHOICES]
    )
    text.print_memory(results)
    text.print_troubles(recorded.results)
    text.print_clocks(recorded.run.clocks)
    listed = ", ".join(f"{count} {status}" for status, count in statuses.items())
    click.echo(f"run {run}: {listed or 'nothing measured'}; in {path}")
