"""Measure two sides into the store: what `gapbench ab` does between its arguments and its verdicts."""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from msgspec import structs

from gapbench import environment, git, run, store, summary
from gapbench.checkouts import Checkout
from gapbench.errors import GapbenchError
from gapbench.measuring import ab, engine, inheritance
from gapbench.measuring.meeting import Row
from gapbench.measuring.plan import Contest, Effort
from gapbench.recording import begin as begin_run
from gapbench.recording.ledger import Ledger
from gapbench.records import BASE, HEAD, NULL
from gapbench.store import RunWriter

_ASK_VERSIONS = """
import importlib.metadata, json, platform, sys
versions = {"python": platform.python_version()}
for package in sys.argv[1:]:
    try:
        versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        versions[package] = None
print(json.dumps(versions))
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A checkout under an interpreter."""

    checkout: Checkout
    python: str = sys.executable

    def describe(self, name: str) -> run.Side:
        """Return the side as the run keeps it. No path of this machine is in it."""
        commit = git.describe(self.checkout.folder, fresh=self.checkout.commit is not None)
        if commit is not None and self.checkout.commit is not None:
            branch = None if self.checkout.commit.startswith(self.checkout.ref) else self.checkout.ref
            commit = structs.replace(commit, branch=branch)
        return run.Side(name, self.checkout.ref, commit, self._versions())

    def _versions(self) -> dict[str, str | None]:
        if self.python == sys.executable:
            return environment.versions()
        try:
            # -P: the current folder may be a checkout of the code under test
            asked = [self.python, "-P", "-c", _ASK_VERSIONS, *environment.PACKAGES]
            done = subprocess.run(asked, env=inheritance.environment(), capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
            raise GapbenchError(f"{self.python} is no Python interpreter that runs ({said})") from error
        # The harness that measures is this gapbench under both.
        return {**json.loads(done.stdout), "gapbench": importlib.metadata.version("gapbench")}


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared."""

    base: Side
    head: Side


def begin(
    target: store.Store,
    contests: Sequence[Contest],
    effort: Effort,
    sides: Sides,
    margin: float,
    command: Sequence[str],
    argv: Sequence[str],
    tag: str | None = None,
) -> RunWriter:
    """Create an A/B run in ``target``; ``command`` are the words after ``gapbench ab`` that name the sides."""
    described = sides.base.describe(BASE), sides.head.describe(HEAD)
    comparison = run.Comparison(margin, tuple(command), ())
    return begin_run(target, contests, effort, argv, tag, sides=described, comparison=comparison)


def record(
    writer: RunWriter,
    contests: Sequence[Contest],
    effort: Effort,
    base: ab.Origin,
    head: ab.Origin,
    observe: Callable[[ab.Event], None] = lambda _event: None,
) -> bool:
    """Measure both sides, store every sweep as it ends, and return whether it went to the end.

    Ctrl-C ends the measuring and keeps what was measured; such a run has no verdicts and cannot be resumed.
    """
    ledger, process, comparison = Ledger(), 0, writer.run.comparison
    assert comparison is not None
    complete = True
    try:
        for event in ab.measure(contests, base, head, effort, comparison.margin):
            match event:
                case engine.Qualified():
                    ledger.judge(event)
                case engine.WorkerLost():
                    ledger.lose(event)
                case ab.Sweep(bouts):
                    frames = []
                    for bout in bouts:
                        for side, result in bout.results.items():
                            frames.append(ledger.enter(bout.case, bout.round, process, bout.names, result, side))
                            process += 1
                    writer.append(pd.concat(frames, ignore_index=True))
                case ab.Flagged(rows):
                    comparison = structs.replace(comparison, flagged=_flagged(rows))
            observe(event)
    except KeyboardInterrupt:
        complete = False
    samples = writer.samples()
    sides = [*_results(samples, contests, ledger)]
    # pandas warns where it joins columns without values; those that no side has values in are there all the same
    filled = [found.dropna(axis="columns", how="all") for found in sides]
    results = pd.concat(filled, ignore_index=True).reindex(columns=sides[0].columns)
    if complete:
        ledger.close(writer, samples, results, comparison=comparison)
    else:
        writer.interrupt(results)
    return complete


def _flagged(rows: Mapping[Row, int]) -> tuple[run.FlaggedRow, ...]:
    return tuple(run.FlaggedRow(row.case.id, row.implementation, row.clock, first) for row, first in rows.items())


def _results(samples: pd.DataFrame, contests: Sequence[Contest], ledger: Ledger) -> Iterable[pd.DataFrame]:
    for side in (BASE, HEAD, NULL):
        mine = samples[samples["contender"] == side]
        outcomes = ledger.outcomes(contests, side)
        if side == NULL:  # was judged as base, and takes part here and there
            there = set(zip(mine["case"], mine["implementation"], mine["clock"], strict=True))
            bases = ledger.outcomes(contests, BASE)
            outcomes = [replace(o, contender=side) for o in bases if (o.case.id, o.implementation, o.clock) in there]
        yield summary.results(mine, outcomes)
