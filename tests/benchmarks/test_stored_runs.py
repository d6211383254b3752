"""The detector of two stored runs: what it simulates, and how it reads what was recorded."""

from dataclasses import replace

import numpy as np
import pytest
import stored_runs
from click.testing import CliRunner
from stored_runs import CASES, Machine, World, composed, simulated, summary

from gapbench.analysis.compare import Side

SMALL = World(implementations=3, rounds=10, raced=1)


def test_rounds_are_nested_in_generations_in_runs():
    rng = np.random.default_rng(0)
    world = World(rounds=3000, generations=3, round_low=1e-6, round_high=1e-5, state=0.0, raced=0)
    rounds = Machine.of(world, rng).rounds(np.ones((len(CASES), world.implementations)), rng)
    generations = rounds.reshape(*rounds.shape[:2], -1, 3)
    assert generations.std(axis=2).max() < 1e-3
    assert generations.mean(axis=2).std(axis=2).mean() == pytest.approx(0.003, abs=0.001)  # of three, biased by 0.8


def test_a_run_has_rows_as_the_store_gives_them():
    rng = np.random.default_rng(1)
    machine = Machine.of(SMALL, rng)
    one = machine.run("r", machine.rounds(np.ones((len(CASES), 3)), rng))
    assert one.samples.groupby(["case", "implementation"]).size().to_dict()[CASES[0], "pool_2"] == SMALL.few
    assert one.results.groupby("stopped_by").size().to_dict() == {"slower": 12, "target": 24}


def test_a_large_change_is_found_and_identical_code_is_not_red():
    found = summary(simulated(SMALL, "one row", 0.2, 4, seed=0))
    assert found["rows found"]["hits"] == found["rows found"]["of"] == 4
    assert summary(simulated(SMALL, "none", 0.0, 4, seed=0))["diffs with a false red"]["hits"] == 0


def test_recorded_runs_are_compared_as_if_each_had_one_function():
    world = replace(SMALL, raced=0, round_low=1e-3, round_high=1e-3, run=1e-3, generation=1e-4)
    rng = np.random.default_rng(2)
    machine = Machine.of(world, rng)

    def recorded(name: str, level: float) -> Side:
        changes = np.ones((len(CASES), 3))
        changes[:, 2] += level
        one = machine.run(name, machine.rounds(changes, rng))
        names = {"pool_1": "pool_0", "pool_2": "pool_20"}
        results, samples = (
            frame.assign(implementation=frame["implementation"].replace(names)) for frame in (one.results, one.samples)
        )
        return Side(one.run, results, samples)

    bases, heads = [recorded("r1", 0), recorded("r2", 0)], [recorded("r3", 0.2), recorded("r4", 0.2)]
    alone = composed(bases[0], {case: 20 if case == CASES[0] else 0 for case in CASES})
    assert set(alone.samples["implementation"]) == {"mean", "pool"}
    assert len(alone.results) == 24
    found = dict(stored_runs.replayed(bases, heads))
    assert list(found) == ["identical code (two runs of a commit)", "+20 % in one case", "+20 % in all cases"]
    for what, frame in found.items():
        row = summary(frame)
        assert row["diffs with a false red"]["hits"] == 0
        if "rows found" in row:
            assert row["rows found"]["share"] == 1, what


def test_the_commands_print_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_runs, "WORLDS", {"small": SMALL})
    result = CliRunner().invoke(stored_runs.main, ["simulate", "--diffs", "4"])
    assert result.exit_code == 0, result.output
    assert "### small" in result.output
    assert "| +5%, one row | 4 |" in result.output
    result = CliRunner().invoke(stored_runs.main, ["replay", str(tmp_path), "--base", "abc", "--head", "def"])
    assert result.exit_code == 2
    assert "record some of both" in result.output
