import json
import sys

import numpy as np
import pytest

from gapbench import cli
from gapbench.measuring import doctor, engine, events
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.store.records import Qualification


def fake_measure(spread, bias=0.0, seed=0):
    """Stand in for the engine: 8 rounds of 20 turns, with a known log ratio in every round."""
    rng = np.random.default_rng(seed)

    def measure(plan):
        for case_plan in plan.plans:
            yield events.Qualified(case_plan.case, "mean", Qualification())
        for number in range(8):
            for case_plan in plan.plans:
                batches = Batches()
                ratio = np.exp(bias + spread * rng.standard_normal())
                for turn in range(20):
                    batches.add(0, turn, 0, 10, 1e-3)
                    batches.add(1, turn, 1, 10, 1e-3 * ratio)
                names = ("mean", "mean_again")
                yield events.RoundMeasured(case_plan.case, number, number, names, RoundResult({"host": batches}))

    return measure


def test_the_noise_floor_is_the_spread_of_identical_code(monkeypatch):
    monkeypatch.setattr(engine, "measure", fake_measure(spread=0.02, bias=0.005))
    floor = doctor.noise_floor("cpu", 1.0)
    assert floor.spread == pytest.approx(0.02, rel=0.5)
    assert floor.bias == pytest.approx(0.005, abs=0.01)


def test_what_cannot_be_measured_is_unknown_with_the_reason(monkeypatch):
    """It divided by the rounds that there were not, and ended with 70."""

    def nothing(plan):
        for case_plan in plan.plans:
            yield events.Qualified(case_plan.case, "mean", Qualification("failed", "no compiler"))

    monkeypatch.setattr(engine, "measure", nothing)
    assert doctor.noise_floor("cpu", 1.0) == "no compiler"
    *_, last = doctor.examine("cpu", 1.0)
    assert (last.name, last.status, last.evidence) == (
        "noise floor",
        "unknown",
        "nothing could be measured: no compiler",
    )


def test_more_noise_or_slower_rounds_find_less():
    quiet = doctor.NoiseFloor(spread=0.002, round_seconds=0.5, bias=0)
    assert quiet.detectable < doctor.NoiseFloor(0.02, 0.5, 0).detectable < doctor.NoiseFloor(0.02, 1.0, 0).detectable
    assert doctor.NoiseFloor(0.002, 60, 0).detectable == float("inf")
    assert quiet.detectable > doctor.MARGIN


@pytest.mark.parametrize(("spread", "load", "code"), [(0.001, 0.0, 0), (0.3, 0.0, 4), (0.001, 50.0, 4)])
def test_strict_exits_with_4_where_the_machine_is_unfit(monkeypatch, capsys, spread, load, code):
    from gapbench.machine.environment import Snapshot

    monkeypatch.setattr(engine, "measure", fake_measure(spread))
    monkeypatch.setattr("gapbench.measuring.doctor.time.monotonic", iter(np.arange(0, 1e6, 2.0)).__next__)
    monkeypatch.setattr("gapbench.machine.environment.snapshot", lambda: Snapshot(load=load))
    monkeypatch.setattr(sys, "argv", ["gapbench", "doctor", "--strict", "--json"])
    assert cli._exit_code() == code
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert (checks["noise floor"]["status"] == "unfit") == (spread > 0.1)
    assert (checks["load"]["status"] == "unfit") == (load > 1)
    assert "12 cases" in checks["noise floor"]["evidence"]


def test_what_cannot_be_read_is_unknown_with_its_reason(monkeypatch):
    monkeypatch.setattr(engine, "measure", fake_measure(0.001))
    unknown = [check for check in doctor.examine("cpu", 1.0) if check.status == "unknown"]
    assert all("could not be read" in check.evidence for check in unknown)
