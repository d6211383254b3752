"""``gapbench matrix``: several commits, or several interpreters, measured together."""

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
def command(refs: tuple[str, ...], pythons: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Measure versions together: commits of the repository in the current folder, or interpreters, in their order.

    In every round all versions of a case take turns; the SUITE is ci by default, and implementations are taken from
    each commit as by gapbench ab. The table has the time of each version as a ratio to that of the first, with
    intervals that hold for the whole table, and a verdict on each step from a version to the next.

    Exits with 1 if a step has a verdict of --fail-on, with 3 if nothing but the first version could be measured, with 4
    if --no-wait finds the device in use, with 5 if nothing matches the selection.
    """
    names = [*refs, *pythons]
    if len(names) < 2 or (refs and pythons):
        raise GapbenchError("a matrix has two versions or more: repeat either --ref COMMIT or --python PYTHON")
    if len({*names}) < len(names):
        raise GapbenchError(f"{max(names, key=names.count)!r} is given twice; leave one of them out")
    for name in names:
        if name in (THIS, BASE, HEAD, NULL) or not name.isprintable():
            raise GapbenchError(f"{name!r} cannot name a version in the store; give the commit's hash or another path")
    option = ab.VERSIONS[0] if refs else ab.VERSIONS[1]
    words = [word for name in names for word in (option, name)]
    options |= {"format_": "json" if as_json else "table", "explain": False}
    refs, pythons = refs or (HERE,) * len(pythons), pythons or (sys.executable,) * len(refs)
    return ab.compare(names, refs, pythons, words, options, kind="matrix")
