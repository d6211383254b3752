"""``gapbench bisect``: which commit, or which of several interpreters, made it slower."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gapbench.cli import ab, common, diff, selection
from gapbench.cli.common import DURATION, SHARE
from gapbench.errors import ExitCode, GapbenchError
from gapbench.repository.checkouts import HERE
from gapbench.store.records import BASE, HEAD

if TYPE_CHECKING:
    from gapbench.measuring.bisection import Answer
    from gapbench.measuring.plan import CasePlan
    from gapbench.measuring.policies import Policy
    from gapbench.measuring.recording import Recording
    from gapbench.measuring.revisions import Revision
    from gapbench.statistics.bisection import Search

BUDGET = 30.0


@click.command("bisect")
@click.argument("good", required=False)
@click.argument("bad", required=False)
@selection.options
@click.option("--python", "pythons", multiple=True, help="Interpreter, in order, in place of GOOD and BAD. Repeatable.")
@click.option("--budget", type=DURATION, default=BUDGET, help="Wall time of each measurement at most.  [default: 30s]")
@click.option("--margin", type=SHARE, default=diff.MARGIN, help="Ignore changes smaller than this.  [default: 1%]")
@common.as_json()
@common.seed
@common.store
@common.tag
@common.no_wait
def command(
    good: str | None, bad: str | None, pythons: tuple[str, ...], budget: float, margin: float, as_json: bool, seed: int,
    url: str, tag: str | None, no_wait: bool, **selected: Any,
) -> int:  # fmt: skip
    """Find the commit between GOOD and BAD that made an implementation slower, or faster, and say how sure that is.

    GOOD and BAD are measured first, as by gapbench ab. Each step then measures a commit together with both, in the row
    that changed most clearly. A commit with a posterior of 99 % is measured against its parent. A merge counts as one
    commit (first parents), and commits that fail are skipped. Runs are tagged bisect, or as --tag says. With --python,
    interpreters are searched for the current folder's code, the first one good and the last one bad.

    Exits with 3 if an end fails or the commit is among skipped ones, with 4 if --no-wait finds the device in use, with
    5 if GOOD and BAD do not differ or no single commit was found.
    """
    from gapbench.measuring.servers import Servers

    servers = click.get_current_context().with_resource(Servers(() if pythons else ("kept",)))
    from gapbench.cli.progress import Progress
    from gapbench.measuring import bisection, recording, revisions
    from gapbench.measuring.plan import Effort, Plan
    from gapbench.repository import checkouts
    from gapbench.statistics.bisection import Search
    from gapbench.store.run import Comparison
    from gapbench.store.store import Store

    if pythons:
        selected["suites"] = tuple(filter(None, (good, bad, *selected["suites"])))
        if len({*pythons}) < max(2, len(pythons)):
            raise GapbenchError("interpreters to search are two or more, each once: repeat --python PYTHON")
    elif good is None or bad is None:
        raise GapbenchError("name two commits, GOOD and BAD, or interpreters in order: repeat --python PYTHON")
    commits = pythons or checkouts.first_parents(Path.cwd(), str(good), str(bad))
    search, store, runs = Search(len(commits) - 1), Store(url), list[str]()

    @contextlib.contextmanager
    def prepare(*numbers: int) -> "Iterator[list[Revision]]":
        refs = [HERE if pythons else commits[number][:12] for number in numbers]
        with contextlib.ExitStack() as own:
            yield ab.revisions_of(own, refs, [pythons[number] if pythons else None for number in numbers])

    def record(sides: "Mapping[str, Revision]", plans: "Sequence[CasePlan]", policy: "Policy | None") -> "Recording":
        effort = Effort(budget=budget, seed=seed + len(runs))
        words = [sides[name].checkout.ref for name in (BASE, HEAD)]
        words += [word for name in (BASE, HEAD) for word in (f"--{name}-python", sides[name].python) if pythons]
        described = revisions.describe(sides)
        comparison = Comparison(margin, tuple(words), kind="bisect" if policy else "ab")
        writer = recording.begin(
            store, plans, effort, sys.argv[1:], tag or "bisect", sides=described, comparison=comparison
        )
        runs.append(writer.id)
        if sys.stderr.isatty():
            click.echo(f"measuring {words[-1 if pythons else 1]}; {_state(search, commits)}", err=True)
        plan = Plan(tuple(plans), effort, revisions.sides(sides, stack))
        with Progress(plans, effort, sides=len(sides)) as progress:
            recorded = recording.record(writer, plan, progress.observe, servers=servers, policy=policy)
        if recorded.interrupted:
            raise KeyboardInterrupt
        if len(runs) == 1:
            common.show_warnings(recorded.run.warnings)
        return recorded

    try:
        with contextlib.ExitStack() as stack:
            with prepare(0, search.commits) as pair:
                plans = ab.case_plans(selected, revisions.sides(dict(zip(("good", "bad"), pair, strict=True)), stack))
            stack.enter_context(common.locked(plans[0].case.device, no_wait))
            answer = bisection.bisect(search, prepare, plans, record)
    except KeyboardInterrupt:
        click.echo(f"interrupted; {_state(search, commits)}; finished rounds are kept in {url}", err=True)
        return ExitCode.INTERRUPTED
    code, sentences = _sentences(search, commits, answer)
    for sentence in sentences:
        click.echo(sentence, err=as_json)
    if as_json:
        click.echo(json.dumps({**_document(search, commits, answer), "runs": runs}))
    return code


def _sentences(search: "Search", commits: "Sequence[str]", answer: "Answer") -> tuple[ExitCode, list[str]]:
    from gapbench.report.format import ratio_with_interval
    from gapbench.repository import git
    from gapbench.statistics.bisection import CONFIDENT

    difference, ends = answer.difference, answer.ends
    if ends is None:
        failed = [row for row in difference.rows if row.verdict.startswith("failed")]
        if failed and len(failed) == len(difference.rows):
            end = "GOOD" if failed[0].verdict == "failed_base" else "BAD"
            return ExitCode.FAILED, [f"{end} cannot be measured, so there is nothing to search: {failed[0].reason}"]
        if difference.summary.keys() == {"equivalent"}:
            return ExitCode.NOTHING, ["GOOD and BAD do not differ: nothing to find"]
        more = "nothing to find; a larger --budget shows smaller changes"
        return ExitCode.NOTHING, [f"GOOD and BAD are not shown to differ: {more}", *difference.notes]
    rows = ends, answer.culprit or ends
    whole, own = (ratio_with_interval(row.ratio, row.ratio_low, row.ratio_high) for row in rows)
    about = [f"BAD takes {whole} the time of GOOD: {ends.implementation} ({ends.clock}) on {ends.case}"]
    about.append(_state(search, commits))
    way = "slower" if search.step > 0 else "faster"
    first, last, posterior = search.best()
    chosen, before = commits[first : last + 1], commits[first - 1]
    if isinstance(commits, list):
        form = "--no-walk=unsorted", "--abbrev=12", "--format=%h  %as  %s"
        chosen, before = [git.ask(None, "log", *form, *chosen) or commits[last]], "its parent"
    if answer.culprit is not None:
        return ExitCode.DONE, [*chosen, f"made it {way}: {own} the time of {before}", *about]
    if first < last and posterior >= CONFIDENT:
        return ExitCode.FAILED, [f"one of these made it {way}; all but the last one fail:", *chosen, *about]
    return ExitCode.NOTHING, [f"no single commit is shown to have made it {way}; give a larger --budget", *about]


def _state(search: "Search", commits: "Sequence[str]") -> str:
    first, last, posterior = search.best()
    names = " to ".join(dict.fromkeys(commits[number][:12] for number in (first, last)))
    counts = f"measured {len(search.measured)} of {search.commits - 1} commits between, skipped {len(search.skipped)}"
    return f"most probable: {names} (posterior {posterior:.2%}); {counts}" if search.step else "ends not compared yet"


def _document(search: "Search", commits: "Sequence[str]", answer: "Answer") -> dict[str, Any]:
    first, last, posterior = search.best()
    ratios = ("ratio", "ratio_low", "ratio_high")
    return {
        "schema": 1, "culprit": commits[first] if answer.culprit else None,
        **{name: getattr(answer.culprit, name, None) for name in ratios},
        "posterior": posterior if answer.ends else None,
        "measured": len(search.measured), "skipped": len(search.skipped), "commits": search.commits,
        "candidates": commits[first : last + 1] if answer.ends else [],
        "ends": {name: getattr(answer.ends, name, None) for name in ("case", "implementation", "clock", *ratios)},
    }  # fmt: skip
