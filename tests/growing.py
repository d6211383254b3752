"""Runs that are being measured, as the store has them: a plan, and rounds of known times that come one by one."""

import numpy as np

from gapbench import summary
from gapbench.cases import Case
from gapbench.records import Qualification
from gapbench.store.documents import decode

CASES = (
    Case((8, 64, 7, 7), label="small head"),
    Case((8, 256, 56, 56), dtype="bfloat16", label="squeeze"),
    Case((1, 64, 32, 32)),
)
SECONDS = {"mean": 2e-5, "fast": 1e-5, "slow": 4e-5}
RUN = "20261124T101112Z-abc1234-0009"
MACHINE = {"cpu": "EPYC", "device": "cpu", "device_description": "EPYC", "gpus": []}


def begun(store, run=RUN, cases=CASES, names=tuple(SECONDS), clocks=("host",), settings=None, **fields):
    """Begin a run and return its writer."""
    plan = [
        {
            "case": case.id,
            "label": case.label,
            "weight": case.weight,
            "suite": "quick",
            "specs": {name: name for name in names},
            "clocks": list(clocks),
            "reference": "mean",
        }
        for case in cases
    ]
    described = {"run": run, "started": "2026-11-24T10:11:12Z", "suites": ["quick"], "machine": MACHINE, "git": None}
    effort = {"budget": 60.0, "rounds": 6, "target": 0.01, "patience": 60.0}
    return store.create(
        decode({**described, "plan": plan, "settings": effort | (settings or {}), "warnings": []} | fields)
    )


def grow(writer, case, number, seconds=SECONDS, noise=0.001, clocks=("host",), contender="this", turns=2):
    """Store one round of a case: each implementation takes its ``seconds``, give or take ``noise``."""
    rng = np.random.default_rng((number, len(case.id)))
    order = [(clock, turn, name) for clock in clocks for turn in range(turns) for name in seconds]
    writer.append(
        {
            "case": case.id,
            "implementation": [name for _, _, name in order],
            "contender": contender,
            "clock": [clock for clock, _, _ in order],
            "round": number,
            "process": number,
            "turn": [turn for _, turn, _ in order],
            "position": 0,
            "calls": 7,
            "seconds_per_call": [seconds[name] * float(np.exp(rng.normal(0, noise))) for _, _, name in order],
        }
    )


def results(writer, cases=CASES, names=tuple(SECONDS)):
    """Return the results of the rounds so far."""
    outcomes = [summary.Outcome("quick", case, name, "host", Qualification()) for case in cases for name in names]
    return summary.results(writer.samples(), outcomes)
