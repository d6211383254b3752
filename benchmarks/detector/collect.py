"""Record a pool: real rounds of every case and level, idle or beside a busy neighbour.

    python benchmarks/detector/collect.py FOLDER --rounds 120 --neighbour busy -o busy.parquet

FOLDER is what `subject` made. Rounds follow each other without a stop, so that a window of them is what a whole diff
would have measured.
"""

import contextlib
import itertools
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pandas as pd
import subject
from neighbour import NEIGHBOURS, neighbour
from pool import PREFIX, SECONDS_PER_ROUND


def rounds(folder: Path, implementations: list[str], count: int, seed: int) -> Iterator[pd.DataFrame]:
    """Yield the samples of ``count`` rounds of every case of the suite `ci`, measured by the engine of ``gapbench ab``.

    Base and head are the commits ``HEAD~1`` and ``HEAD`` of the repository in ``folder``. Each frame has the columns of
    `gapbench.records.SAMPLES`. Every implementation has rounds of its own, as if it were the only one that is compared:
    more of them in one process would fill the caches. The hidden copy of base takes part in a random quarter. Of the
    engine's schedule only its sweeps are used: here no row is flagged and none rests.
    """
    from gapbench.measuring.meeting import Meeting

    from gapbench import checkouts
    from gapbench.measuring import ab, qualifying
    from gapbench.measuring.plan import Contest, Effort
    from gapbench.measuring.source import Source
    from gapbench.recording.ledger import Ledger

    contests = [
        Contest("ci", case, {spec.rpartition(":")[2]: spec})
        for case in subject.CASES.values()
        for spec in implementations
    ]
    effort, ledger, processes = Effort(seed=seed), Ledger(), itertools.count()
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(checkouts.checkouts(folder, "HEAD~1", "HEAD"))
        base, head = (ab.Origin(Source.of(one.folder)) for one in found)
        sides = ab.start_sides(stack, qualifying.preload(contests), base, head)
        meetings = {(one.case, *one.specs): Meeting(one, margin=0.01) for one in contests}
        for side in sides[:2]:
            for qualified in qualifying.qualify(contests, effort, side.template, side.source, side.contender):
                if qualified.qualification.status != "ok":
                    raise click.ClickException(f"{qualified.case.id}: {qualified.qualification.reason}")
                meetings[qualified.case, qualified.implementation].qualify(qualified)
        tournament = ab.Tournament(list(meetings.values()), sides, effort, deadline=0.0)
        for _ in range(count):
            for event in tournament.sweep(meetings.values(), tournament.witnesses(list(meetings.values()))):
                if not isinstance(event, ab.Sweep):
                    raise click.ClickException(str(event))
                for bout in event.bouts:
                    for side, result in bout.results.items():
                        yield ledger.enter(bout.case, bout.round, next(processes), bout.names, result, side)


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", "count", default=120, show_default=True, help="Rounds of each case.")
@click.option("--neighbour", "kind", type=click.Choice(NEIGHBOURS), default="none", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "output", required=True, type=click.Path(path_type=Path))
def main(folder: Path, count: int, kind: str, seed: int, output: Path) -> None:
    """Record rounds of the commits of FOLDER, which `subject` made."""
    names = [f"{subject.FILE}:{PREFIX}{level}" for level in subject.LEVELS]
    started = pd.Timestamp.now("UTC").isoformat()
    with neighbour(kind, seed):
        arrived = [(frame, time.monotonic()) for frame in rounds(folder, names, count, seed)]
    wall = arrived[-1][1] - arrived[0][1]
    samples = pd.concat([frame for frame, _ in arrived], ignore_index=True)
    # the first rounds end the time in which everything was started and judged
    later = samples[samples["round"] > samples["round"].min()]
    measured = later.groupby(["case", "implementation", "round"]).ngroups
    samples.attrs = {
        "started": started,
        "neighbour": kind,
        "machine": platform.platform(),
        "wall_seconds": wall,
        SECONDS_PER_ROUND: wall / max(1, measured),
    }
    samples.to_parquet(output, compression="zstd")
    click.echo(f"{count} rounds of {samples['case'].nunique()} cases, {samples.attrs[SECONDS_PER_ROUND]:.3f} s each")


if __name__ == "__main__":
    main()
