"""Which cases fit a budget, and which of them each of several machines measures in a run of its own.

Those that differ most from each other come first, the least informative are dropped.

Times here are estimates from before anything was measured, good to a factor of two: they decide what is begun, and
are never reported as results.
"""

import getpass
import hashlib
import itertools
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gapbench import operations
from gapbench.errors import GapbenchError
from gapbench.measuring import worker_env
from gapbench.measuring.case_processes import ROUNDS_PER_PARENT
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.repository import git
from gapbench.store.run import Warning

_START, _START_COMPILER = 2.0, 4.0
"""Seconds until the processes that workers are forked from are loaded, and more where something is compiled."""
_LOAD, _LOAD_EACH, _LOAD_COMPILED = 0.1, 0.01, {"forward": 0.1, "backward": 0.3, "update": 0.0, "training": 0.3}
"""Seconds to load a case, for each implementation, and more for each whose compiled code is cached, by pass."""
_JUDGE = 0.05
"""Seconds to judge one implementation."""
_COMPILE = {"forward": 2.5, "backward": 5.0, "update": 0.0, "training": 5.0}
"""Seconds to compile one implementation that Inductor's cache does not have, by pass."""
_ROUND = 0.06
"""Seconds of a round beside its calls and inputs: the process, and what it shuffles and checks."""
_SLICE = 0.1
"""Seconds of timing that make a round worth its process."""
_PER_WEIGHT, _MAKE_WEIGHT = {"forward": 0.5e-9, "backward": 3e-9, "update": 5e-9, "training": 8e-9}, 6e-9
"""Seconds of a call for each weight, by pass, and to make one and its float64 twin."""
_TRUTH = {"forward": 45e-9, "backward": 300e-9, "update": 0.0, "training": 300e-9}
"""Seconds of a round for each input element and each truth that is more than a mean, by pass: float64, and autograd."""
_CALL, _BYTES_PER_SECOND = 10e-6, 3e9
"""A call's fixed cost in seconds, and the bandwidth of implementations that are neither the best nor the worst."""
_BATCHES = 9
"""Batches of a contender in the shortest round, with what warms up and calibrates; each has an uncounted call."""
_HARNESS_PASSES = 25
"""How often the harness goes over an input of a round, at the same bandwidth: made, copied, judged in float64."""


def estimate(case_plan: CasePlan, effort: Effort) -> float:
    """Return about how many seconds the fewest rounds of ``case_plan`` take once all is compiled, judging included.

    Two cases are loaded and judged at once.
    """
    case = case_plan.case
    supported = [spec for spec in case_plan.specs.values() if operations.unsupported_reason(spec, case) is None]
    compiled = sum(map(operations.compiles, supported))
    weights = [operations.parameters(spec, case) for spec in supported]
    scan = (case.bytes_moved or 0) / _BYTES_PER_SECOND
    calls = [_CALL + scan + _PER_WEIGHT[case.pass_] * count for count in weights]
    load = _LOAD + _LOAD_EACH * len(supported) + _LOAD_COMPILED[case.pass_] * compiled + 2 * _MAKE_WEIGHT * sum(weights)
    judging = load + _JUDGE * len(supported) + 10 * sum(calls) + 2 * _HARNESS_PASSES * scan
    truths = _TRUTH[case.pass_] * case.elements * operations.other_truths(supported)
    timing = sum(max(effort.batch_seconds, call) + call for call in calls) * _BATCHES * len(case_plan.clocks)
    each = _ROUND + _HARNESS_PASSES * scan + truths + max(timing, _SLICE)
    loaded_again = load * ((effort.rounds - 1) // ROUNDS_PER_PARENT)
    return truths + judging / 2 + loaded_again + effort.rounds * each


def _compiled(case_plan: CasePlan) -> int:
    specs = case_plan.specs.values()
    return sum(
        operations.compiles(spec) and operations.unsupported_reason(spec, case_plan.case) is None for spec in specs
    )


class _Compiling:
    """What compiling adds to the cases that are taken, beyond the graphs that Inductor's cache on disk has."""

    def __init__(self, most: int) -> None:
        named = worker_env.environment().get("TORCHINDUCTOR_CACHE_DIR")
        folder = Path(named) if named else Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}"
        self._cached = sum(1 for _ in itertools.islice((folder / "fxgraph").glob("*/*"), most))

    def seconds(self, case_plan: CasePlan) -> float:
        return _COMPILE[case_plan.case.pass_] * max(0, _compiled(case_plan) - self._cached) / 2

    def take(self, case_plan: CasePlan) -> float:
        """Return the seconds, and count the graphs as compiled."""
        seconds = self.seconds(case_plan)
        self._cached = max(0, self._cached - _compiled(case_plan))
        return seconds


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What is measured within a budget and what is not; ``needed`` is about how many seconds all of it would take."""

    kept: list[CasePlan]
    dropped: list[CasePlan]
    needed: float

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """Say what was dropped: nothing, or one warning."""
        if not self.dropped:
            return ()
        evidence = (
            f"{len(self.dropped)} of {len(self.kept) + len(self.dropped)} cases do not fit the budget and were "
            "dropped, those first that are most like others"
        )
        return (Warning("budget", evidence, f"measure all of them with --budget {math.ceil(self.needed / 60)}m"),)


def fit_to_budget(plans: Sequence[CasePlan], effort: Effort) -> Trimmed:
    """Return the case plans that fit the budget of ``effort``, at least one, in their own order.

    Cases are taken one by one, as long as they fit, each the one that differs most from all that are taken (the
    farthest-first traversal of Gonzalez, Theor. Comput. Sci. 38 (1985) 293). Differences count by the root of what they
    cost: by themselves they would fill the budget with the slowest cases, by the second with the fastest.
    """
    costs = [estimate(case_plan, effort) for case_plan in plans]
    graphs = sum(map(_compiled, plans))
    compiling, everyone = _Compiling(graphs), _Compiling(graphs)
    start = _START + _START_COMPILER * bool(graphs)
    needed = start + sum(cost + everyone.take(case_plan) for case_plan, cost in zip(plans, costs, strict=True))
    if needed <= effort.budget:
        return Trimmed(list(plans), [], needed)
    room = effort.budget - start
    kept: set[int] = set()
    gaps = dict.fromkeys(range(len(plans)), math.inf)
    while gaps:
        chosen = next(iter(gaps)) if not kept else max(gaps, key=lambda i: gaps[i] / math.sqrt(costs[i]))
        del gaps[chosen]
        if kept and costs[chosen] + compiling.seconds(plans[chosen]) > room:
            continue
        room -= costs[chosen] + compiling.take(plans[chosen])
        kept.add(chosen)
        gaps = {i: min(gap, _distance(plans[chosen], plans[i])) for i, gap in gaps.items()}
    return Trimmed(
        [one for i, one in enumerate(plans) if i in kept], [one for i, one in enumerate(plans) if i not in kept], needed
    )


def _distance(one: CasePlan, other: CasePlan) -> float:
    """Return how differently two cases may come out: another question most, then another kind, then another size."""
    a, b = one.case, other.case
    questions = (one.suite != other.suite) + (a.operation != b.operation) + (a.pass_ != b.pass_)
    kinds = (a.dtype != b.dtype) + (a.layout != b.layout) + (a.threads != b.threads)
    kinds += len(a.spatial) != len(b.spatial)
    sizes = abs(math.log2((1 + a.n * a.c) / (1 + b.n * b.c))) + abs(math.log2((1 + a.window) / (1 + b.window)))
    return 8.0 * questions + 4.0 * kinds + sizes


def partition(plans: Sequence[CasePlan], effort: Effort, count: int) -> list[list[int]]:
    """Return for each of ``count`` shards the indices of its case plans, in their order; no shard is empty.

    The longest come first, each to whom has least to do (Graham, SIAM J. Appl. Math. 17 (1969) 416), by estimates: the
    same plan is dealt alike everywhere. Raises `GapbenchError` if there are more shards than case plans.
    """
    if count > len(plans):
        raise GapbenchError(
            f"{count} shards are too many: the selection has {len(plans)} cases, and every shard needs one"
        )
    costs = [estimate(case_plan, effort) for case_plan in plans]
    hands: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for index in sorted(range(len(plans)), key=lambda index: (-costs[index], index)):
        least = loads.index(min(loads))
        hands[least].append(index)
        loads[least] += costs[index]
    return [sorted(hand) for hand in hands]


def shard_of(
    plans: Sequence[CasePlan], effort: Effort, number: int, count: int
) -> tuple[list[CasePlan], dict[str, Any]]:
    """Return the case plans of shard ``number`` (from 1) of ``count``, and the fields of its run.

    ``sweep`` is the same in all shards and in no other plan, effort or commit; ``places`` says for each case where it
    stands in the whole plan. Raises `GapbenchError` if there are more shards than case plans.
    """
    hands = partition(plans, effort, count)
    mine = hands[number - 1]
    fields: dict[str, Any] = {
        "sweep": sweep_id([[plans[index] for index in hand] for hand in hands], effort),
        "shard": f"{number}/{count}",
        "places": {plans[index].case.id: index for index in mine},
    }
    return [plans[index] for index in mine], fields


def sweep_id(dealt: Sequence[Sequence[CasePlan]], effort: Effort) -> str:
    """Return what identifies a plan, how it is dealt out, its effort and the current commit.

    What is not committed is no part of it: the first shard's own results would change that for the second.
    """
    plan = [[(one.suite, one.case.id, one.specs, one.clocks, one.reference) for one in hand] for hand in dealt]
    commit = git.describe()
    text = json.dumps([plan, asdict(effort), commit and commit.commit])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
