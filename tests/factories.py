"""Stored runs without measuring: times of one's choice, through the writer and the summary of real runs; and git."""

import itertools
import subprocess

import numpy as np

from gapbench.analysis import summary
from gapbench.store.records import Qualification
from gapbench.store.run import decode
from gapbench.store.store import timestamp
from gapbench.workloads.cases import Case

CASE = Case((2, 3, 4, 4), label="a head", weight=2)
CPU = {"cpu": "Some CPU", "logical_cores": 2, "usable_cores": 2, "system": "Linux 6", "gpus": []}
TORCH = {"python": "3.11.9", "torch": "2.13.0"}
_SERIAL = itertools.count()


def run_id(day=1, commit=None):
    """Return an id that is fresh and in order of ``day``, which is counted from 2026-01-01."""
    when = np.datetime64("2026-01-01") + day
    return f"{str(when).replace('-', '')}T000000Z-{(commit or 'nogit')[:7]}-{next(_SERIAL) % 65536:04x}"


def a_run(
    store,
    run=None,
    seconds=None,
    rounds=6,
    turns=2,
    case=CASE,
    clock="host",
    noise=0.01,
    seed=0,
    memories=(None,),
    **fields,
):
    """Store a complete run in which each implementation of ``seconds`` takes that time, give or take ``noise``.

    So it is under each condition of ``memories``.
    """
    rng = np.random.default_rng(seed)
    seconds = seconds or {"mean": 2e-5, "adaptive": 1e-5}
    commit = (fields.get("git") or {}).get("commit")
    described = {"run": run or run_id(commit=commit), "started": timestamp(), "suites": ["quick"], "git": None}
    writer = store.create(decode({**described, "machine": CPU, "versions": TORCH, **fields}))
    for number, memory in itertools.product(range(rounds), memories):
        order = [name for _ in range(turns) for name in rng.permutation(list(seconds)).tolist()]
        writer.append(
            {
                "case": case.id,
                "implementation": order,
                "contender": "this",
                "clock": clock,
                "memory": memory,
                "page_faults": 412.0 if memory == "fresh" else None,
                "round": number,
                "process": 10 + number,
                "turn": [index // len(seconds) for index in range(len(order))],
                "position": [index % len(seconds) for index in range(len(order))],
                "calls": 7,
                "seconds_per_call": [seconds[name] * float(np.exp(rng.normal(0, noise))) for name in order],
                "steal": 0.25,
            }
        )
    qualification = Qualification(max_error=1e-7, peak_extra_bytes=512)
    outcomes = [
        summary.Outcome("quick", case, name, clock, qualification, "target", "mean", memory=memory)
        for memory in memories
        for name in seconds
    ]
    outcomes.append(summary.Outcome("quick", case, "triton", clock, Qualification("unsupported", "needs a GPU")))
    writer.finish(summary.results(writer.samples(), outcomes))
    return writer.id


def git(*arguments):
    """Run git in the current folder as someone, and return what it prints."""
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    return subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True).stdout.strip()
