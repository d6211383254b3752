"""Runs that never happened, as the store gives them: known times, noise and state of the machine."""

import numpy as np
import pandas as pd
from msgspec import structs

from gapbench.analysis import summary
from gapbench.analysis.compare import Side
from gapbench.analysis.summary import Outcome
from gapbench.repository.git import Git
from gapbench.store.records import RESULTS, Qualification
from gapbench.store.run import Comparison, decode
from gapbench.store.run import Side as RunSide
from gapbench.workloads.cases import Case

CASE = Case((8, 64, 7, 7), label="small head")
OTHER = Case((8, 256, 56, 56), dtype="bfloat16")
NAMES = ("mean", "fast", "slow", "odd")

AB = {"base": {}, "head": {}, "margin": 0.01, "command": ["main", "HEAD"], "flagged": []}
"""What run.json of schema 1 says of a comparison."""

MACHINE = {"cpu": "EPYC", "usable_cores": 2, "device": "cpu", "device_description": "EPYC", "gpus": []}


def side(
    run="20261122T101112Z-abc1234-0001",
    changes=None,
    rounds=12,
    seed=0,
    spread=0.005,
    state=0.0,
    common=0.05,
    memory=None,
    cases=(CASE,),
    names=NAMES,
    statuses=None,
    **fields,
):
    """Return a run in which each implementation takes ``changes[name]`` times its usual time.

    Rounds scatter by ``spread``, and by ``common`` all alike; the whole run by ``state`` (a log). ``statuses`` by name
    are what did not work.
    """
    rng = np.random.default_rng(seed)
    statuses, changes = statuses or {}, changes or {}
    frames, outcomes = [], []
    for case in cases:
        machine = state + rng.normal(0, common, rounds)
        for place, name in enumerate(names):
            status = statuses.get(name, "ok")
            qualification = Qualification(status, None if status == "ok" else f"it is {status}")
            outcomes.append(Outcome("quick", case, name, "host", qualification, "target", memory=memory))
            if status != "ok":
                continue
            log = machine + rng.normal(0, spread, rounds) + np.log(1e-5 * (1 + place) * changes.get(name, 1.0))
            turns = np.array([1.0, 0.999, 1.001])
            frames.append(
                pd.DataFrame(
                    {
                        "run": run, "case": case.id, "implementation": name, "contender": "this", "clock": "host",
                        "memory": memory,
                        "round": np.repeat(np.arange(rounds), 3), "process": np.repeat(np.arange(rounds), 3),
                        "turn": np.tile([0, 1, 2], rounds), "position": place, "calls": 7,
                        "seconds_per_call": np.outer(np.exp(log), turns).ravel(),
                    }
                )
            )  # fmt: skip
    samples = pd.concat(frames, ignore_index=True)
    document = {
        "schema": 1, "run": run, "started": "2026-11-22T10:11:12Z", "ended": "2026-11-22T10:12:14Z", "tag": None,
        "suites": ["quick"], "git": {"commit": "abc1234" * 5, "branch": "main", "subject": "Pool", "dirty": False},
        "machine": MACHINE, "versions": {"torch": "2.13.0+cpu"}, "plan": [], "warnings": [],
    } | fields  # fmt: skip
    described = decode(document)
    results = summary.results(samples, outcomes, described.ceilings)
    return Side(described, results.assign(run=run)[list(RESULTS)], samples)


def two_sides(seed=0, base=None, head=None, **both):
    """Return base and head: independent noise, and ``base`` and ``head`` as arguments of `side`."""
    return (
        side("20261122T101112Z-abc1234-0001", seed=2 * seed, **{**both, **(base or {})}),
        side("20261123T101112Z-def5678-0002", seed=2 * seed + 1, **{**both, **(head or {})}),
    )


def a_matrix(*changes, seed=0, names=NAMES, margin=0.01, spread=0.005, statuses=(), **fields):
    """Return a run of versions: implementations take ``changes[version][name]`` times their usual time.

    Rounds of two versions differ by ``spread``; ``statuses`` are those of each version, as for `side`.
    """
    versions = [f"v{number}" for number in range(1, len(changes) + 1)]
    parts = [
        side(changes=change, seed=100 * seed + number, spread=spread / 2**0.5, common=0.0, names=names,
             statuses=(statuses[number] if statuses else None), **fields)
        for number, change in enumerate(changes)
    ]  # fmt: skip
    results, samples = (
        pd.concat([getattr(part, what).assign(contender=name) for name, part in zip(versions, parts, strict=True)])
        for what in ("results", "samples")
    )
    run = structs.replace(
        parts[0].run, tag="versions",
        sides=tuple(RunSide(name, name, Git(commit=name * 20)) for name in versions),
        comparison=Comparison(margin, tuple(word for name in versions for word in ("--ref", name)), kind="matrix"),
    )  # fmt: skip
    return Side(run, results.reset_index(drop=True), samples.reset_index(drop=True))


def keep(store, one):
    """Store a side as a complete run."""
    writer = store.create(one.run)
    writer.append(dict(one.samples.drop(columns="run")))
    writer.finish(one.results)
    return one.run.id
