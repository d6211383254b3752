"""Where pooling matters: a whole network's step with one way to pool after another; the parent's side.

Each round is a fresh process in which all ways take turns in the same network, so that ratios are of neighbours.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Any

import numpy as np

from gapbench.cases import Case
from gapbench.errors import GapbenchError, unknown
from gapbench.measuring import credible, qualifying
from gapbench.measuring.messages import fits
from gapbench.measuring.plan import Contest
from gapbench.measuring.template import Template
from gapbench.profiling import network_job
from gapbench.profiling.networks import NETWORKS, Network
from gapbench.stats import FEWEST_ROUNDS, Interval, location

PATIENCE = 300.0
"""Seconds after which a round that has not ended is given up."""

_TURNS = 4
_FIELDS: Mapping[str, Any] = {
    "clock": str, "sites": list[tuple[int, ...]], "seconds": dict[str, list[float]], "pooling": dict[str, float],
    "out": dict[str, str],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """One way to pool, in a network: ``seconds`` of a step, and their ``ratio`` to the reference's, over ``rounds``.

    ``pooling`` is the share of a step that passes inside its poolings (forwards), where they stand; None where the
    caller does not wait for the device. ``out`` is the reason why it was not measured; the rest is None then.
    """

    name: str
    rounds: int = 0
    seconds: Interval | None = None
    ratio: Interval | None = None
    pooling: float | None = None
    out: str | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """A network's step: what it pools (a shape for each place, in order), and how long it takes with each way.

    Whether a way's answers are right is not asked here; ``gapbench run`` judges.
    """

    network: str
    case: Case
    clock: str
    sites: list[tuple[int, ...]]
    reference: str
    ways: list[Way]


def network(name: str) -> Network:
    """Return the network called ``name``. Raises `GapbenchError`, listing those there are."""
    for one in NETWORKS:
        if one.name == name:
            return one
    raise unknown("network", name, (one.name for one in NETWORKS))


def measure(
    name: str,
    case: Case,
    specs: Mapping[str, str],
    reference: str,
    budget: float,
    observe: Callable[[int], None] = lambda _: None,
    now: Callable[[], float] = time.monotonic,
) -> Steps:
    """Take steps of the network ``name`` on images of ``case``, pooling by each of ``specs``, by their names.

    Rounds end when ``budget`` seconds are spent, after `FEWEST_ROUNDS` at least; ``observe`` is told each round's
    number. Raises `GapbenchError` where the reference, or the network itself, does not run.
    """
    network(name)
    rng = Random(0)
    found: list[dict[str, Any]] = []
    contest = Contest("network", case, dict(specs))
    with Template(qualifying.preload([contest])) as template:
        template.wait_ready()
        deadline = now() + budget
        while len(found) < FEWEST_ROUNDS or now() < deadline:
            request = network_job.Request(name, case, dict(specs), _TURNS, rng.getrandbits(31))
            said = qualifying.answer(template.start(network_job.step, request), PATIENCE)
            if not isinstance(said, dict):
                _, reason = qualifying.how_it_ended(said, PATIENCE)
                raise GapbenchError(f"{name} on {case.id}: a round {reason}")
            if not _answers(said, specs):
                raise GapbenchError(f"{name} on {case.id}: {credible.UNASKED}")
            if "failed" in said:
                raise GapbenchError(f"{name} on {case.id}: {said['failed']}")
            if reason := said["out"].get(reference):
                raise GapbenchError(f"the reference {reference} cannot pool in {name}: {reason}")
            found.append(said)
            observe(len(found))
    first = found[0]
    ways = [way(one, reference, found) for one in specs]
    return Steps(name, case, first["clock"], [tuple(one) for one in first["sites"]], reference, ways)


def _answers(said: Mapping[str, Any], specs: Mapping[str, str]) -> bool:
    """Tell whether a worker's document has a time for each turn of every way that is not out."""
    if "failed" in said:
        return isinstance(said["failed"], str)
    if not all(name in said and fits(said[name], hint) for name, hint in _FIELDS.items()):
        return False
    seconds = said["seconds"]
    return (
        said["out"].keys() | seconds.keys() == specs.keys()
        and all(len(turns) == _TURNS and min(turns) > 0 for turns in seconds.values())
        and said["pooling"].keys() <= seconds.keys()
    )


def way(name: str, reference: str, rounds: Sequence[Mapping[str, Any]]) -> Way:
    """Return what rounds (documents of `network_job.step`) say of one way: Hodges-Lehmann over their medians."""
    for one in rounds:
        if name in one["out"]:
            return Way(name, out=one["out"][name])
    seconds = np.log([median(one["seconds"][name]) for one in rounds])
    ratios = np.array([_log_ratio(one["seconds"][name], one["seconds"][reference]) for one in rounds])
    shares = [one["pooling"][name] for one in rounds if name in one["pooling"]]
    return Way(name, len(rounds), _exp(location(seconds)), _exp(location(ratios)), median(shares) if shares else None)


def _log_ratio(seconds: Sequence[float], reference: Sequence[float]) -> float:
    """Return the median over turns, each against the reference's of the same turn."""
    return float(np.median(np.log(np.array(seconds) / np.array(reference))))


def _exp(logarithm: Interval) -> Interval:
    low, high = (None if bound is None else float(np.exp(bound)) for bound in (logarithm.low, logarithm.high))
    return Interval(float(np.exp(logarithm.estimate)), low, high)
