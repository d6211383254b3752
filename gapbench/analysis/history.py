"""How times went over stored runs, where they stepped, and what got slower since a run. No torch.

Runs are not interleaved with each other: each has a weather of its own, and none are pairs. Whether one commit is
slower than another is decided by measuring both together; a step over runs says where to look.

The logarithms of a trend's times are cut into segments of constant mean by ruptures (Truong, Oudre and Vayatis, Signal
Processing 167 (2020) 107299), by least squares and exactly. A step costs ``4 sigma^2 log n``, where ``sigma^2`` is half
the mean square of successive differences (von Neumann, Annals of Mathematical Statistics 12 (1941) 367). That is twice
Schwarz' criterion (Yao, Statistics & Probability Letters 6 (1988) 181), which finds too much in few runs: in 2,000
series of white noise it found a step in 5 % of those of 6 runs and in 12 % of those of 10 or 20. This finds one in 2 %,
3 % and 2 %, and of steps of 3 sigma in the middle 5, 8 and 10 of ten.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gapbench.errors import GapbenchError
from gapbench.repository import git
from gapbench.statistics.stats import Floats, unpaired
from gapbench.store.records import THIS, with_memory
from gapbench.store.run import Run, differences
from gapbench.store.store import Store


@dataclass(frozen=True, slots=True)
class Order:
    """Runs, oldest first, ``by`` commit or start, and a phrase that says which and why."""

    runs: list[str]
    by: str
    phrase: str


def order(documents: Sequence[Run], folder: Path | None = None) -> Order:
    """Return the order of runs: by commit if the repository of ``folder`` has them all.

    Runs of one commit are in the order of their start. Where a commit is not known, commits and times would make two
    orders that contradict each other, so that all go by time.
    """
    runs = {run.id: run.commit for run in sorted(documents, key=lambda run: run.id)}  # ids are times
    places = places_of(filter(None, runs.values()), folder)
    if places is None:
        return Order(list(runs), "start", "by start time, as this folder is in no git repository")
    placed = {run: places[commit] for run, commit in runs.items() if commit in places}
    if lacking := len(runs) - len(placed):
        phrase = f"by start time, as this repository lacks the commits of {lacking} of {len(runs)} runs"
        return Order(list(runs), "start", phrase)
    return Order(sorted(runs, key=lambda run: placed[run]), "commit", "in the order of their commits")


def places_of(commits: Iterable[str], folder: Path | None = None) -> dict[str, int] | None:
    """Return the place of every commit in git's topological order: parents first, branches kept together.

    Commits that the repository does not have are left out. None where ``folder`` (the current one by default) is in no
    repository.
    """
    asked = [commit for commit in dict.fromkeys(commits) if commit and not set(commit) - set("0123456789abcdef")]
    # asked for by name, each gets a line: "<full hash> commit", or "<name> missing"
    output = git.ask(folder, "cat-file", "--batch-check=%(objectname) %(objecttype)", lines=asked)
    if output is None:
        return None
    answers = zip(asked, map(str.split, output.splitlines()), strict=True)
    full = {commit: answer[0] for commit, answer in answers if answer[1:] == ["commit"]}
    if not full:
        return {}
    walked = git.ask(folder, "rev-list", "--topo-order", "--reverse", "--stdin", lines=full.values()) or ""
    place = {commit: index for index, commit in enumerate(walked.splitlines())}
    return {commit: place[hash_] for commit, hash_ in full.items() if hash_ in place}


def commit_of(name: str, folder: Path | None = None) -> str | None:
    """Return the commit that git understands by ``name`` (a tag, a branch, HEAD~3), None if it does not resolve."""
    return git.ask(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}") or None


_TIMES = ("seconds", "seconds_low", "seconds_high")

SHORTEST = 3  # runs that a segment has at least: one that is off alone is no step, and a step shows with its third run
LEAST_NOISE = 0.005  # the least sigma, 0.5 %: that a few runs agree does not mean that runs do

COLUMNS = ("run", "case", "implementation", "contender", "clock", "memory", "device", "status", *_TIMES)
"""The columns of `records.RESULTS` that a trend is made of."""

_PENALTY = 4.0


@dataclass(frozen=True, slots=True)
class Point:
    """A run in a trend; ``environment`` names what is not as it was in the trend's run before."""

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

    The cause is ``environment`` if that changed, whatever the code did; ``unknown`` if a run lacks its environment or
    commit; ``unexplained`` between clean runs of one commit; otherwise ``code``.

    The interval takes the step's place as given, which the same data have chosen: with few runs it is too narrow.
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
    """One implementation on one case by one clock and memory, in the runs that have timed it, in their order."""

    case: str
    implementation: str
    clock: str
    points: list[Point]
    changes: list[Change]
    memory: str | None = None


def trends(documents: Mapping[str, Run], order: Order, results: pd.DataFrame) -> list[Trend]:
    """Return the trend of everything that ``results`` has times of; ``documents`` are the runs by id.

    Only plain runs count: the contenders of a comparison are other checkouts than the one that it describes.
    """
    timed = results[(results["status"] == "ok") & results["seconds"].gt(0) & (results["contender"] == THIS)]
    timed = with_memory(timed).drop_duplicates(["run", "case", "implementation", "clock", "memory"])
    timed = timed.assign(place=timed["run"].map({run: place for place, run in enumerate(order.runs)}))
    groups = timed.sort_values("place", kind="stable").groupby(["case", "implementation", "clock", "memory"], sort=True)
    return [_trend([documents[run] for run in rows["run"]], rows) for _, rows in groups]


def _trend(runs: Sequence[Run], rows: pd.DataFrame) -> Trend:
    points = []
    columns = [rows[name].tolist() for name in ("run", *_TIMES)]
    for index, (run, seconds, *bounds) in enumerate(zip(*columns, strict=True)):
        low, high = (None if pd.isna(bound) else float(bound) for bound in bounds)
        news = _changed(runs[index - 1], runs[index]) if index else []
        points.append(Point(run, runs[index].commit, runs[index].started, float(seconds), low, high, news))
    starts = steps(logs(points))
    changes = []
    for index in starts:
        ratio = unpaired(segment(points, starts, index), segment(points, starts, index - 1)).exp()
        at, why = points[index], _cause(runs[index - 1], runs[index])
        changes.append(Change(index, at.run, at.commit, ratio.estimate, ratio.low, ratio.high, why, at.environment))
    case, implementation, clock = (str(rows[name].iloc[0]) for name in ("case", "implementation", "clock"))
    return Trend(case, implementation, clock, points, changes, rows["memory"].iloc[0] or None)


def _changed(before: Run, after: Run) -> list[str]:
    """Return what is known to have changed, in words: ``torch 2.12.0 → 2.13.0``."""
    changed = differences(before.environment, after.environment)
    return [f"{each.name} {each.before} → {each.after}" for each in changed if None not in (each.before, each.after)]


def _cause(before: Run, after: Run) -> str:
    if _changed(before, after):
        return "environment"
    told = [fact for run in (before, after) for fact in (run.commit, *run.environment.compared().values())]
    if None in told:
        return "unknown"
    dirty = any(run.git is None or run.git.dirty is not False for run in (before, after))
    return "code" if dirty or before.commit != after.commit else "unexplained"


def steps(values: Floats) -> list[int]:
    """Return the index of the first value after every step of the mean; none where values are too few to tell."""
    if len(values) < 2 * SHORTEST:
        return []
    import ruptures

    variance = max(float(np.mean(np.diff(values) ** 2)) / 2, LEAST_NOISE**2)
    search = ruptures.KernelCPD(kernel="linear", min_size=SHORTEST, jump=1).fit(values.reshape(-1, 1))
    ends = [0, *map(int, search.predict(pen=_PENALTY * variance * np.log(len(values))))]
    windows = zip(ends, ends[1:], ends[2:], strict=False)
    return [step for start, step, end in windows if start + _cut(values[start:end]) == step]


def _cut(values: Floats) -> int:
    """Return where ``values`` are best cut in two, however short the parts.

    A run that is off alone, or a step that is younger than `SHORTEST`, is best cut off there. The search may not, and
    cuts nearby: at a run that is not to blame.
    """
    parts = (np.split(values, [at]) for at in range(1, len(values)))
    return 1 + int(np.argmin([sum(part.var() * len(part) for part in pair) for pair in parts]))


def logs(points: Sequence[Point]) -> Floats:
    """Return the logarithms of the points' seconds."""
    return np.log([point.seconds for point in points])


def segment(points: Sequence[Point], starts: Sequence[int], index: int) -> Floats:
    """Return the logarithms of the segment between the steps ``starts`` that the point at ``index`` lies in."""
    bounds = [0, *starts, len(points)]
    return logs(points)[max(b for b in bounds if b <= index) : min(b for b in bounds if b > index)]


@dataclass(frozen=True, slots=True)
class Difference:
    """A trend's newest segment against the one that the run lies in, as a ratio of mean times (above 1 is slower).

    ``causes`` are those of the steps between, ``environment`` what changed with them. The interval is unpaired: both
    means hold what the machine was like.
    """

    case: str
    implementation: str
    clock: str
    ratio: float
    ratio_low: float | None
    ratio_high: float | None
    runs_before: int
    runs_after: int
    causes: list[str]
    environment: list[str]
    memory: str | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """What became of all trends since ``run``: the slower ones, worst first, the faster ones, and how many neither.

    ``undecided`` counts those with too few runs for a step to show, ``absent`` those that were not measured by then.
    """

    run: str
    slower: list[Difference]
    faster: list[Difference]
    unchanged: int
    undecided: int
    absent: int


def find(store: Store, name: str) -> str:
    """Return the run that ``name`` means, to the store or as a commit to git. Raises `GapbenchError` if none."""
    try:
        return store.resolve(name)
    except GapbenchError:
        commit = commit_of(name)
        if commit is None:
            raise
        runs = store.runs()
        if commit not in set(runs["commit"]):
            raise GapbenchError(f"{name} is commit {commit[:7]}, of which {store.url} has no run; name a run") from None
        return store.resolve(commit)


def since(trends: Sequence[Trend], order: Order, run: str) -> Since:
    """Return what is slower and what is faster in the newest segment of each trend than in the one of ``run``.

    A trend that ``run`` did not measure begins with its last run before that. Without a step since then it is
    unchanged, and so it is where the interval of the ratio holds 1: there and back again.
    """
    place = {each: index for index, each in enumerate(order.runs)}
    differences, unchanged, undecided, absent = [], 0, 0, 0
    for trend in trends:
        before = [index for index, point in enumerate(trend.points) if place[point.run] <= place[run]]
        if not before:
            absent += 1
        elif len(trend.points) < 2 * SHORTEST:
            undecided += 1
        elif (difference := _difference(trend, before[-1])) is not None:
            differences.append(difference)
        else:
            unchanged += 1
    slower = sorted((each for each in differences if each.ratio > 1), key=lambda each: -each.ratio)
    faster = sorted((each for each in differences if each.ratio < 1), key=lambda each: each.ratio)
    return Since(run, slower, faster, unchanged, undecided, absent)


def _difference(trend: Trend, index: int) -> Difference | None:
    changes = [change for change in trend.changes if change.index > index]
    if not changes:
        return None
    starts = [change.index for change in trend.changes]
    before, after = segment(trend.points, starts, index), segment(trend.points, starts, len(trend.points) - 1)
    ratio = unpaired(after, before).exp()
    if ratio.low is not None and ratio.high is not None and ratio.low <= 1 <= ratio.high:
        return None
    measured = trend.case, trend.implementation, trend.clock
    causes = list(dict.fromkeys(change.cause for change in changes))
    news = list(dict.fromkeys(each for point in trend.points[index + 1 :] for each in point.environment))
    ratios = ratio.estimate, ratio.low, ratio.high
    return Difference(*measured, *ratios, len(before), len(after), causes, news, trend.memory)
