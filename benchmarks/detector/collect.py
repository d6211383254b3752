"""Record a pool: real rounds of every case and level, idle or beside a busy neighbour.

    python benchmarks/detector/collect.py FOLDER --rounds 120 --neighbour busy -o busy.parquet

FOLDER is what `subject` made. One level follows another; the rounds of a level follow each other without a stop, so
that a window of them is what a whole diff would have measured. All levels take half an hour on a small machine, less
with fewer rounds or with some of the levels: ``--level 0 --level 3 --rounds 60`` is done in five minutes.
"""

import contextlib
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import click
import pandas as pd
import subject
from neighbour import NEIGHBOURS, neighbour
from pool import OVERHEADS, PREFIX, SECONDS_PER_ROUND, SLICE_SECONDS, START_SECONDS

if TYPE_CHECKING:
    from gapbench.measuring.policies import CaseState, Sweep


@dataclass(frozen=True)
class Recorded:
    """One round: its samples (columns of `gapbench.store.records.SAMPLES`), and wall seconds.

    ``start`` is how long everything took before the first round of its level, ``timed`` the seconds of its batches.
    """

    samples: pd.DataFrame
    start: float
    seconds: float
    timed: float


class EveryRound:
    """Measures so many rounds of every case, in sweeps as `gapbench ab` has them: nothing is flagged, nothing rests.

    The hidden copy of base takes part in a random quarter of each sweep.
    """

    def __init__(self, count: int, slice_seconds: float, seed: int) -> None:
        self._count, self._seconds, self._rng = count, slice_seconds, Random(seed)

    def schedule(self, states: "Sequence[CaseState]", _deadline: float) -> "Iterator[Sweep]":
        """Yield the sweeps."""
        from gapbench.measuring.policies import BATCH_SECONDS, NULL_SHARE, Request

        for _ in range(self._count):
            witnesses = {id(state) for state in self._rng.sample(list(states), ceil(NULL_SHARE * len(states)))}
            yield [
                Request(
                    state,
                    tuple(state.rows()),
                    self._seconds,
                    BATCH_SECONDS,
                    sides=(0, 1, 2) if id(state) in witnesses else (0, 1),
                )
                for state in self._rng.sample(list(states), len(states))
            ]


def rounds(
    folder: Path, implementations: Sequence[str], count: int, slice_seconds: float, seed: int
) -> Iterator[Recorded]:
    """Yield ``count`` rounds of every case of the suite `ci`, measured by the engine of ``gapbench ab``.

    Base and head are the commits ``HEAD~1`` and ``HEAD`` of the repository in ``folder``. Every implementation has
    rounds of its own, as if it were the only one that is compared: more of them in one process would fill the caches.
    """
    from gapbench.measuring import engine, events, revisions
    from gapbench.measuring.plan import CasePlan, Effort, Plan
    from gapbench.measuring.recording import RunCollector
    from gapbench.repository import checkouts
    from gapbench.store.records import BASE, HEAD, NULL

    collector = RunCollector()
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(checkouts.checkouts(folder, "HEAD~1", "HEAD"))
        base, head = map(revisions.Revision, found)
        sides = revisions.sides({BASE: base, HEAD: head, NULL: base}, stack)
        for number, spec in enumerate(implementations):
            plans = [CasePlan("ci", case, {spec.rpartition(":")[2]: spec}) for case in subject.CASES.values()]
            plan = Plan(tuple(plans), Effort(seed=seed + number), sides)
            began = before = time.monotonic()
            start = 0.0
            for event in engine.measure(plan, EveryRound(count, slice_seconds, seed + number)):
                now = time.monotonic()
                match event:
                    case events.RoundMeasured(result=result):
                        start = start or before - began
                        timed = sum(batches.timed_seconds for batches in result.batches.values())
                        yield Recorded(collector.add_round(event), start, now - before, timed)
                    case events.Qualified(case, qualification=qualification):
                        if qualification.status != "ok":
                            raise click.ClickException(f"{case.id}: {qualification.reason}")
                    case events.WorkerLost() | events.SidesSeparated():
                        raise click.ClickException(str(event))
                before = time.monotonic()


def joined(recorded: Sequence[Recorded], slice_seconds: float) -> pd.DataFrame:
    """Return all samples; the frame's attributes say what rounds took (see `pool`)."""
    samples = pd.concat([one.samples for one in recorded], ignore_index=True)
    beside = pd.DataFrame(
        {
            "case": [one.samples["case"].iloc[0] for one in recorded],
            "beside": [one.seconds - one.timed for one in recorded],
        }
    )
    samples.attrs = {
        "machine": platform.platform(),
        SECONDS_PER_ROUND: sum(one.seconds for one in recorded) / len(recorded),
        START_SECONDS: max(one.start for one in recorded),
        SLICE_SECONDS: slice_seconds,
        OVERHEADS: {str(case): float(mean) for case, mean in beside.groupby("case")["beside"].mean().items()},
    }
    return samples


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", "count", default=120, show_default=True, help="Rounds of each case.")
@click.option("--level", "levels", type=int, multiple=True, help="Levels to record, 0 among them; all by default.")
@click.option("--slice", "slice_seconds", default=0.15, show_default=True, help="Seconds of turns in a round.")
@click.option("--neighbour", "kind", type=click.Choice(NEIGHBOURS), default="none", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("-o", "output", required=True, type=click.Path(path_type=Path))
def main(
    folder: Path, count: int, levels: tuple[int, ...], slice_seconds: float, kind: str, seed: int, output: Path
) -> None:
    """Record rounds of the commits of FOLDER, which `subject` made."""
    if unknown := set(levels) - set(subject.LEVELS):
        raise click.UsageError(f"there is no level {min(unknown)}; choose of {', '.join(map(str, subject.LEVELS))}")
    names = [f"{subject.FILE}:{PREFIX}{level}" for level in levels or subject.LEVELS]
    started = pd.Timestamp.now("UTC").isoformat()
    with neighbour(kind, seed):
        samples = joined(list(rounds(folder, names, count, slice_seconds, seed)), slice_seconds)
    samples.attrs |= {"started": started, "neighbour": kind}
    samples.to_parquet(output, compression="zstd")
    click.echo(f"{count} rounds of {samples['case'].nunique()} cases, {samples.attrs[SECONDS_PER_ROUND]:.3f} s each")


if __name__ == "__main__":
    main()
