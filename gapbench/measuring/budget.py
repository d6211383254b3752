"""Fit cases to a budget by estimated seconds, good to a factor of two, and divide them among several machines."""

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
"""Seconds until the fork servers are loaded, and seconds more where something is compiled."""
_LOAD, _LOAD_EACH, _LOAD_COMPILED = 0.1, 0.01, {"forward": 0.1, "backward": 0.3, "update": 0.0, "training": 0.3}
"""Seconds to load a case, for each implementation, and for each whose compiled code is cached, by pass."""
_JUDGE = 0.05  # seconds to judge one implementation
_COMPILE = {"forward": 2.5, "backward": 5.0, "update": 0.0, "training": 5.0}
"""Seconds to compile one implementation that Inductor's cache does not have, by pass."""
_ROUND = 0.06  # seconds of a round beside its calls and inputs: its process, shuffling and checks
_SLICE = 0.1  # shortest useful timing of a round, in seconds
_PER_WEIGHT, _MAKE_WEIGHT = {"forward": 0.5e-9, "backward": 3e-9, "update": 5e-9, "training": 8e-9}, 6e-9
"""Seconds of a call for each weight, by pass, and to make one and its float64 twin."""
_TRUTH = {"forward": 45e-9, "backward": 300e-9, "update": 0.0, "training": 300e-9}
"""Seconds of a round for each input element and each truth other than a mean, by pass: float64, and autograd."""
_CALL, _BYTES_PER_SECOND = 10e-6, 3e9  # a call's fixed seconds, and the bandwidth of average implementations
_BATCHES = 9
"""Batches of a contender in the shortest round, warm-up and calibration included; each has an uncounted call."""
_HARNESS_PASSES = 25
"""Passes of the harness over an input of a round, at that bandwidth: making, copying, judging in float64."""


def estimate(case_plan: CasePlan, effort: Effort) -> float:
    """Estimate the seconds of judging, two cases at once, and of the fewest rounds, once all is compiled."""
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


def _cached_graphs(most: int) -> int:
    named = worker_env.environment().get("TORCHINDUCTOR_CACHE_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}"
    return sum(1 for _ in itertools.islice((folder / "fxgraph").glob("*/*"), most))


def _compile(case_plan: CasePlan, cached: int) -> tuple[float, int]:
    """Estimate the seconds to compile a case given ``cached`` graphs; return them, and the cached graphs left over."""
    left = cached - _compiled(case_plan)
    return _COMPILE[case_plan.case.pass_] * max(0, -left) / 2, max(0, left)


@dataclass(frozen=True, slots=True)
class Trimmed:
    """The case plans that fit a budget, those that do not, and an estimate of the seconds ``needed`` for all."""

    kept: list[CasePlan]
    dropped: list[CasePlan]
    needed: float

    @property
    def warnings(self) -> tuple[Warning, ...]:
        """The warning about dropped cases, if there are any."""
        if not self.dropped:
            return ()
        evidence = (
            f"{len(self.dropped)} of {len(self.kept) + len(self.dropped)} cases do not fit the budget and were "
            "dropped, first those most similar to others"
        )
        return (Warning("budget", evidence, f"measure all of them with --budget {math.ceil(self.needed / 60)}m"),)


def fit_to_budget(plans: Sequence[CasePlan], effort: Effort) -> Trimmed:
    """Return the case plans that fit the budget of ``effort``, at least one, in their own order.

    Selects the one that fits and differs most from all selected, again and again (farthest-first traversal, Gonzalez,
    Theor. Comput. Sci. 38 (1985) 293), by difference over the root of the cost: neither slowest nor fastest first.
    """
    costs = [estimate(case_plan, effort) for case_plan in plans]
    graphs = sum(map(_compiled, plans))
    cached = left = _cached_graphs(graphs)
    start = _START + _START_COMPILER * bool(graphs)
    needed = start + sum(costs)
    for case_plan in plans:
        seconds, left = _compile(case_plan, left)
        needed += seconds
    if needed <= effort.budget:
        return Trimmed(list(plans), [], needed)
    room = effort.budget - start
    kept: set[int] = set()
    gaps = dict.fromkeys(range(len(plans)), math.inf)
    while gaps:
        chosen = next(iter(gaps)) if not kept else max(gaps, key=lambda i: gaps[i] / math.sqrt(costs[i]))
        del gaps[chosen]
        seconds, left = _compile(plans[chosen], cached)
        if kept and costs[chosen] + seconds > room:
            continue
        room, cached = room - costs[chosen] - seconds, left
        kept.add(chosen)
        gaps = {i: min(gap, _distance(plans[chosen], plans[i])) for i, gap in gaps.items()}
    dropped = [case_plan for number, case_plan in enumerate(plans) if number not in kept]
    return Trimmed([plans[number] for number in sorted(kept)], dropped, needed)


def _distance(first: CasePlan, second: CasePlan) -> float:
    """Return how much two cases differ: by the question most, then by the kind, then by the size."""
    a, b = first.case, second.case
    questions = (first.suite != second.suite) + (a.operation != b.operation) + (a.pass_ != b.pass_)
    kinds = (a.dtype != b.dtype) + (a.layout != b.layout) + (a.threads != b.threads)
    kinds += len(a.spatial) != len(b.spatial)
    sizes = abs(math.log2((1 + a.n * a.c) / (1 + b.n * b.c))) + abs(math.log2((1 + a.window) / (1 + b.window)))
    return 8.0 * questions + 4.0 * kinds + sizes


def partition(plans: Sequence[CasePlan], effort: Effort, count: int) -> list[list[int]]:
    """Return for each of ``count`` shards the indices of its case plans, in their order; no shard is empty.

    The longest goes first, to the shard with the least work (Graham, SIAM J. Appl. Math. 17 (1969) 416), by estimates
    that are the same everywhere. Raises `GapbenchError` if there are more shards than case plans.
    """
    if count > len(plans):
        raise GapbenchError(
            f"{count} shards are too many: the selection has {len(plans)} cases, and every shard needs one"
        )
    costs = [estimate(case_plan, effort) for case_plan in plans]
    shards: list[list[int]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for index in sorted(range(len(plans)), key=lambda index: (-costs[index], index)):
        least = loads.index(min(loads))
        shards[least].append(index)
        loads[least] += costs[index]
    return [sorted(shard) for shard in shards]


def shard_of(
    plans: Sequence[CasePlan], effort: Effort, number: int, count: int
) -> tuple[list[CasePlan], dict[str, Any]]:
    """Return the case plans of shard ``number`` (from 1) of ``count``, and its run's fields. Raises as `partition`.

    ``sweep`` identifies the plan, effort and commit; ``places`` has each case's index in the whole plan.
    """
    shards = partition(plans, effort, count)
    own = shards[number - 1]
    fields: dict[str, Any] = {
        "sweep": sweep_id([[plans[index] for index in shard] for shard in shards], effort),
        "shard": f"{number}/{count}",
        "places": {plans[index].case.id: index for index in own},
    }
    return [plans[index] for index in own], fields


def sweep_id(shards: Sequence[Sequence[CasePlan]], effort: Effort) -> str:
    """Return an identifier of plan, shards, effort and commit; uncommitted changes, such as results, do not count."""
    plan = [[(p.suite, p.case.id, p.specs, p.clocks, p.reference) for p in shard] for shard in shards]
    commit = git.describe()
    text = json.dumps([plan, asdict(effort), commit and commit.commit])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
