"""Follow times over stored runs: trends and their steps, which show which commits to measure together.

The logarithms of a trend's times are cut into segments of constant mean by ruptures (Truong, Oudre and Vayatis, Signal
Processing 167 (2020) 107299), exactly and by least squares. A step costs ``4 sigma^2 log n``, where ``sigma^2`` is half
the mean square of successive differences (von Neumann, Annals of Mathematical Statistics 12 (1941) 367). That is twice
Schwarz' criterion (Yao, Statistics & Probability Letters 6 (1988) 181), which finds a step in up to 12 % of 2,000
series of 6, 10 or 20 values of white noise; this one in 2 to 3 %, and of steps of 3 sigma it finds 5, 8 and 10 of ten.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from gapbench.repository import git
from gapbench.statistics.stats import Floats, mean_difference
from gapbench.store.records import THIS, with_memory
from gapbench.store.run import Run, differences


@dataclass(frozen=True, slots=True)
class Order:
    """Runs, oldest first, ``by`` commit or start, and a phrase that names and justifies the order."""

    runs: list[str]
    by: str
    phrase: str


def order(documents: Sequence[Run], folder: Path | None = None) -> Order:
    """Order runs by commit if the repository of ``folder`` has all their commits, else all of them by start time."""
    runs = {run.id: run.commit for run in sorted(documents, key=lambda run: run.id)}  # ids are times
    positions = positions_of(filter(None, runs.values()), folder)
    if positions is None:
        return Order(list(runs), "start", "by start time, as this folder is not in a git repository")
    if lacking := sum(commit not in positions for commit in runs.values()):
        phrase = f"by start time, as this repository lacks the commits of {lacking} of {len(runs)} runs"
        return Order(list(runs), "start", phrase)
    return Order(sorted(runs, key=lambda run: positions[runs[run]]), "commit", "in the order of their commits")


def positions_of(commits: Iterable[str], folder: Path | None = None) -> dict[str | None, int] | None:
    """Return commits' positions in git's topological order; unknown ones are left out. None without a repository."""
    asked = [commit for commit in dict.fromkeys(commits) if not set(commit) - set("0123456789abcdef")]
    # each name gets a line: "<full hash> commit", or "<name> missing"
    output = git.ask(folder, "cat-file", "--batch-check=%(objectname) %(objecttype)", lines=asked)
    if output is None:
        return None
    answers = zip(asked, map(str.split, output.splitlines()), strict=True)
    full = {commit: answer[0] for commit, answer in answers if answer[1:] == ["commit"]}
    if not full:
        return {}
    walked = git.ask(folder, "rev-list", "--topo-order", "--reverse", "--stdin", lines=full.values()) or ""
    index = {commit: number for number, commit in enumerate(walked.splitlines())}
    return {commit: index[hash_] for commit, hash_ in full.items() if hash_ in index}


_TIMES = ("seconds", "seconds_low", "seconds_high")
SHORTEST = 3  # the fewest runs of a segment: a single outlier is not a step, and a step is found with its third run
LEAST_NOISE = 0.005  # the smallest sigma, 0.5 %: a few runs may agree by chance

COLUMNS = ("run", "case", "implementation", "contender", "clock", "memory", "device", "status", *_TIMES)
"""The columns of `records.RESULTS` that trends are computed from."""

_PENALTY = 4.0


@dataclass(frozen=True, slots=True)
class Point:
    """A run in a trend; ``environment`` names what changed since the trend's previous run."""

    run: str
    commit: str | None
    started: str | None
    seconds: float
    seconds_low: float | None
    seconds_high: float | None
    environment: list[str]


@dataclass(frozen=True, slots=True)
class Change:
    """A step before the point at ``index``: the ratio of the segments' mean times, after to before, and its cause.

    The cause is ``environment`` if that changed, even if the code changed too; ``unknown`` if a run lacks its
    environment or commit; ``unexplained`` between clean runs of one commit; otherwise ``code``. The interval takes the
    step's position as given, although the data determined it: with few runs it is too narrow.
    """

    index: int
    run: str
    commit: str | None
    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    cause: str
    environment: list[str]


@dataclass(frozen=True, slots=True)
class Trend:
    """One implementation on one case by one clock and memory, over the runs that timed it, in their order."""

    case: str
    implementation: str
    clock: str
    points: list[Point]
    changes: list[Change]
    memory: str | None = None


def trends(documents: Mapping[str, Run], order: Order, results: pd.DataFrame) -> list[Trend]:
    """Return the trends of ``results`` over plain ``documents`` (by id): sides of others are of other checkouts."""
    timed = results[(results["status"] == "ok") & results["seconds"].gt(0) & (results["contender"] == THIS)]
    timed = with_memory(timed).drop_duplicates(["run", "case", "implementation", "clock", "memory"])
    timed["run"] = pd.Categorical(timed["run"], order.runs)
    groups = timed.sort_values("run", kind="stable").groupby(["case", "implementation", "clock", "memory"], sort=True)
    return [_trend([documents[run] for run in rows["run"]], rows) for _, rows in groups]


def _trend(runs: Sequence[Run], rows: pd.DataFrame) -> Trend:
    points = []
    columns = [rows[name].tolist() for name in ("run", *_TIMES)]
    for index, (run, seconds, *bounds) in enumerate(zip(*columns, strict=True)):
        low, high = (None if pd.isna(bound) else float(bound) for bound in bounds)
        news = _changed(runs[index - 1], runs[index]) if index else []
        points.append(Point(run, runs[index].commit, runs[index].started, float(seconds), low, high, news))
    values = logs(points)
    starts = steps(values)
    segments = np.split(values, starts)
    changes = []
    for index, (before, after) in zip(starts, pairwise(segments), strict=True):
        ratio = mean_difference(after, before).exp()
        at, why = points[index], _cause(runs[index - 1], runs[index])
        changes.append(Change(index, at.run, at.commit, ratio.estimate, ratio.low, ratio.high, why, at.environment))
    case, implementation, clock = (str(rows[name].iloc[0]) for name in ("case", "implementation", "clock"))
    return Trend(case, implementation, clock, points, changes, rows["memory"].iloc[0] or None)


def _changed(before: Run, after: Run) -> list[str]:
    changed = differences(before.environment, after.environment)
    return [f"{fact.name} {fact.before} → {fact.after}" for fact in changed if None not in (fact.before, fact.after)]


def _cause(before: Run, after: Run) -> str:
    if _changed(before, after):
        return "environment"
    if any(None in (run.commit, *run.environment.compared().values()) for run in (before, after)):
        return "unknown"
    dirty = any(run.git is None or run.git.dirty is not False for run in (before, after))
    return "code" if dirty or before.commit != after.commit else "unexplained"


def steps(values: Floats) -> list[int]:
    """Return the index of the first value after each step of the mean; empty if there are too few values."""
    if len(values) < 2 * SHORTEST:
        return []
    import ruptures

    variance = max(float(np.mean(np.diff(values) ** 2)) / 2, LEAST_NOISE**2)
    search = ruptures.KernelCPD(kernel="linear", min_size=SHORTEST, jump=1).fit(values.reshape(-1, 1))
    ends = [0, *map(int, search.predict(pen=_PENALTY * variance * np.log(len(values))))]
    windows = zip(ends, ends[1:], ends[2:], strict=False)
    return [step for start, step, end in windows if start + _cut(values[start:end]) == step]


def _cut(values: Floats) -> int:
    """Return the best cut in two parts of any length; the search's is another beside an outlier, and is dropped."""
    parts = (np.split(values, [at]) for at in range(1, len(values)))
    return 1 + int(np.argmin([sum(part.var() * len(part) for part in pair) for pair in parts]))


def logs(points: Sequence[Point]) -> Floats:
    """Return the logarithms of the points' seconds."""
    return np.log([point.seconds for point in points])
