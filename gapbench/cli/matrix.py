"""``gapbench matrix``: several commits, or several interpreters, measured together."""

import contextlib
import sys
from typing import Any

import click

from gapbench.cli import ab, common, diff, selection
from gapbench.cli.common import DURATION
from gapbench.errors import GapbenchError
from gapbench.repository.checkouts import HERE
from gapbench.store.records import BASE, HEAD, NULL, THIS


@click.command("matrix")
@selection.options
@click.option("--ref", "refs", multiple=True, help="Commit, or a dot for the folder as it is. Repeatable.")
@click.option("--python", "pythons", multiple=True, help="Interpreter with its own torch. Repeatable.")
@click.option("--budget", type=DURATION, default=ab.BUDGET, help="Wall time of the whole measurement.  [default: 60s]")
@diff.margin_option
@diff.fail_on
@common.seed
@common.store
@common.tag
@common.no_wait
@common.as_json()
def command(
    refs: tuple[str, ...], pythons: tuple[str, ...], budget: float, margin: float, policy: frozenset[str], seed: int,
    url: str, tag: str | None, no_wait: bool, as_json: bool, **selected: Any,
) -> int:  # fmt: skip
    """Measure versions together: commits of the repository in the current folder, or interpreters, in their order.

    In every round all versions of a case take turns; the SUITE is ci by default, and implementations are taken from
    each commit as by gapbench ab. The table has the time of each version as a ratio to that of the first, with
    intervals that hold for the whole table, and a verdict on each step from a version to the next.

    Exits with 1 if a step has a verdict of --fail-on, with 3 if nothing but the first version could be measured, with 4
    if --no-wait finds the device in use, with 5 if nothing matches the selection.
    """
    from gapbench.measuring.servers import Servers

    # servers load torch while this process does
    own_side = not pythons or sys.executable in pythons
    servers = click.get_current_context().with_resource(Servers(("kept",) if own_side else ()))
    from gapbench.measuring import recording, revisions
    from gapbench.measuring.plan import Effort, Plan
    from gapbench.store.run import Comparison
    from gapbench.store.store import Store

    names = [*refs, *pythons]
    if len(names) < 2 or (refs and pythons):
        raise GapbenchError("a matrix has two versions or more: repeat either --ref COMMIT or --python PYTHON")
    if len({*names}) < len(names):
        raise GapbenchError(f"{max(names, key=names.count)!r} is given twice; leave one of them out")
    for name in names:
        if name in (THIS, BASE, HEAD, NULL) or not name.isprintable():
            raise GapbenchError(f"{name!r} cannot name a version in the store; give the commit's hash or another path")
    store, effort = Store(url), Effort(budget=budget, seed=seed)
    with contextlib.ExitStack() as stack:
        given = refs or [HERE] * len(pythons), pythons or [sys.executable] * len(refs)
        versions = dict(zip(names, ab.revisions_of(stack, *given), strict=True))
        described, sides = revisions.describe(versions), revisions.sides(versions, stack)
        plan = Plan(tuple(ab.case_plans(selected, sides)), effort, sides)
        option, *_ = (option for option, values in zip(ab.VERSIONS, (refs, pythons), strict=True) if values)
        words = [word for name, side in versions.items() for word in (option, side.checkout.commit or name)]
        stack.enter_context(common.locked(plan.plans[0].case.device, no_wait))
        comparison = Comparison(margin, tuple(words), kind="matrix")
        writer = recording.begin(store, plan.plans, effort, sys.argv[1:], tag, sides=described, comparison=comparison)
        return ab.measured(store, writer, plan, servers, "json" if as_json else "table", policy)
