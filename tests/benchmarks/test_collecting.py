"""What records: the truth, the neighbour, and the pool."""

import itertools
import os
import subprocess
import sys
from random import Random
from types import SimpleNamespace

import collect
import fresh
import neighbour
import numpy as np
import pool as pools
import psutil
import pytest
import subject
import truth
from click.testing import CliRunner


def test_the_truth_is_the_median_with_an_interval_of_order_statistics():
    found = truth.median([float(value) for value in range(1, 21)])
    # binomial(20, 1/2): the 6th and 15th value hold the median with 95.9 %
    assert found == {"log_ratio": 10.5, "low": 6.0, "high": 15.0}
    assert truth.median([1.0, 2.0]) == {"log_ratio": 1.5, "low": None, "high": None}


def test_the_truth_pairs_each_turn_s_batches(monkeypatch):
    """Level 1 takes 2 % more in head, whatever the moods of the machine from turn to turn."""
    clock = itertools.count(1)
    monkeypatch.setattr(fresh, "bound", lambda *_: [[(side, level) for level in range(6)] for side in (0, 1)])
    monkeypatch.setattr(fresh, "calls_within", lambda *_: 7)
    monkeypatch.setattr(fresh, "batch", lambda call, _: (1 + next(clock) // 12) * (1.02 if call == (1, 1) else 1.0))
    found = truth.log_ratios("base", "head", FORWARD, 10, 0)
    assert found == pytest.approx([0, np.log(1.02), 0, 0, 0, 0])


FORWARD = next(iter(subject.CASES))


def test_all_calls_of_a_process_share_one_input():
    text = subject.source({FORWARD: (0,) * 6})
    (one, other), (third, _) = fresh.bound([text, text], ["pool_0", "pool_10"], subject.CASES[FORWARD], 0)
    assert one.args[0] is other.args[0] is third.args[0]
    assert one.func is not third.func


def test_a_batch_is_as_many_calls_as_fit():
    calls = []
    assert fresh.calls_within(lambda: calls.append(1), 1e-5) >= 1
    calls.clear()
    fresh.batch(lambda: calls.append(1), 5)
    assert len(calls) == 5


def test_jobs_run_in_processes_of_their_own():
    (first, seven), (second, eight) = fresh.each(_pid_and, [(7,), (8,)])
    assert len({first, second, os.getpid()}) == 3
    assert (seven, eight) == (7, 8)


def _pid_and(value):
    return os.getpid(), value


def test_the_neighbour_lives_as_long_as_it_is_wanted():
    with neighbour.neighbour("none"):
        assert _neighbours() == []
    with neighbour.neighbour("busy"):
        (one,) = _neighbours()
    assert not psutil.pid_exists(one)


def _neighbours():
    children = psutil.Process().children()
    return [one.pid for one in children if any("neighbour.py" in word for word in one.cmdline())]


def test_the_neighbour_ends_with_a_caller_that_was_killed():
    code = "import os, neighbour; held = neighbour.neighbour('busy'); held.__enter__(); os._exit(7)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # waits for its end: the neighbour inherits the pipe
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, timeout=30, check=False)
    assert done.returncode == 7, done.stderr


def test_spells_are_of_both_kinds_and_of_all_lengths():
    kinds, seconds = zip(*itertools.islice(neighbour.spells(Random(0)), 300), strict=True)
    assert set(kinds) == {"copy", "compute"}
    assert neighbour.SPELL_SECONDS[0] <= min(seconds) < 0.02
    assert 0.7 < max(seconds) <= neighbour.SPELL_SECONDS[1]


def test_a_recording_says_what_a_round_took(recorded, monkeypatch, tmp_path):
    frame = recorded(levels=(0, 5), cases=2, rounds=3)
    asked = []

    def rounds(*arguments):
        asked.append(arguments)
        for (case, name, _), part in frame.groupby(["case", "implementation", "round"]):
            seconds = 1.5 if case == "case01" else 0.5
            yield collect.Recorded(part, start=7.0 if name == "pool_5" else 6.0, seconds=seconds, timed=0.25)

    monkeypatch.setattr(collect, "rounds", rounds)
    output = tmp_path / "pool.parquet"
    done = CliRunner().invoke(collect.main, [str(tmp_path), "--rounds", "3", "-o", str(output)], catch_exceptions=False)
    assert done.output == "3 rounds of 2 cases, 1.000 s each\n"
    ((folder, names, count, slice_seconds, _),) = asked
    assert (folder, names[1], count) == (tmp_path, "pool.py:pool_1", 3)
    pool = pools.read(output)
    assert pool.rounds == 3
    assert pool.attributes["neighbour"] == "none"
    assert pool.attributes["seconds_per_round"] == 1.0
    assert pool.attributes["start_seconds"] == 7.0
    assert pool.rows["case01", 5].overhead == 1.25  # beside its batches
    assert pool.rows["case01", 5].slice_seconds == slice_seconds


def test_levels_are_chosen_and_an_unknown_one_is_refused(recorded, monkeypatch, tmp_path):
    asked = []

    def rounds(*arguments):
        asked.append(arguments[1])
        yield collect.Recorded(recorded(levels=(0,), cases=1, rounds=1), 1.0, 1.0, 0.5)

    monkeypatch.setattr(collect, "rounds", rounds)
    output = ["-o", str(tmp_path / "pool.parquet")]
    CliRunner().invoke(collect.main, [str(tmp_path), "--level", "0", "--level", "3", *output], catch_exceptions=False)
    assert asked == [["pool.py:pool_0", "pool.py:pool_3"]]
    done = CliRunner().invoke(collect.main, [str(tmp_path), "--level", "4", *output])
    assert done.exit_code == 2
    assert "there is no level 4; choose of 0, 1, 2, 3, 5, 10" in done.output


def test_every_sweep_has_all_cases_and_a_quarter_of_them_the_copy_of_base():
    states = [SimpleNamespace(rows=lambda: [("pool_0", "host")], case=number) for number in range(12)]
    sweeps = list(collect.EveryRound(20, 0.15, 0).schedule(states, 0.0))
    assert len(sweeps) == 20
    seen = set()
    for sweep in sweeps:
        assert {one.state.case for one in sweep} == set(range(12))
        assert {(one.rows, one.seconds) for one in sweep} == {((("pool_0", "host"),), 0.15)}
        copies = [one.state.case for one in sweep if one.sides == (0, 1, 2)]
        assert len(copies) == 3
        assert all(one.sides == (0, 1) for one in sweep if one.state.case not in copies)
        seen |= set(copies)
    assert seen == set(range(12))
    assert len({tuple(one.state.case for one in sweep) for sweep in sweeps}) > 15  # in a random order


def test_the_engine_measures_both_commits_of_the_subject_in_one_process(monkeypatch, tmp_path):
    case_id = next(one for one in subject.CASES if "64x" in one or one == FORWARD)
    monkeypatch.setattr(subject, "CASES", {case_id: subject.CASES[case_id]})
    subject.make(tmp_path, {case_id: (1e-5, 5e-9)})
    recorded = list(collect.rounds(tmp_path, ["pool.py:pool_0", "pool.py:pool_10"], 2, 0.05, 0))
    assert [one.samples["implementation"].iloc[0] for one in recorded] == ["pool_0"] * 2 + ["pool_10"] * 2
    assert [one.samples["round"].iloc[0] for one in recorded] == [0, 1] * 2
    for one in recorded:
        assert set(one.samples["contender"]) == {"base", "head", "null"}  # a quarter of one case is that case
        assert 0 < one.timed < one.seconds
        assert one.start > 0
    pool = pools.from_samples(collect.joined(recorded, 0.05))
    assert pool.rounds == 2
    assert pool.rows[case_id, 10].null.rounds == 2
    assert pool.rows[case_id, 10].overhead > 0
