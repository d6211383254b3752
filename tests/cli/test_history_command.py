"""``gapbench history`` from the inside."""

import json
import subprocess
from functools import partial

import pytest
from factories import CASE, a_run, run_id

from gapbench.store.store import Store


@pytest.fixture
def gapbench(monkeypatch, gapbench):
    """Run ``gapbench history`` on a wide terminal."""
    monkeypatch.setenv("COLUMNS", "220")
    return partial(gapbench, "history")


def git(*arguments):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *author, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def runs(gapbench):
    """Eight commits, slower from the fifth (tagged), measured in reverse."""
    git("init", "-q", "-b", "main")
    store, runs = Store("results"), []
    for number in range(8):
        git("commit", "-q", "--allow-empty", "-m", f"number {number}")
        commit = git("rev-parse", "HEAD")
        if number in (1, 4):
            git("tag", f"v{number}")
        seconds = {"mean": 2e-5 if number < 4 else 3e-5, "adaptive": 1e-5}
        described = {"commit": commit, "branch": "main", "dirty": False}
        runs.append(
            a_run(store, run_id(20 - number, commit), seconds, rounds=2, noise=0.003, seed=number, git=described)
        )
    return runs


def test_trends_as_json_in_the_order_of_commits(gapbench, runs):
    code, out, err = gapbench("--json")
    document = json.loads(out)
    assert (code, err, document["schema"], document["order"]) == (0, "", 1, "commit")
    adaptive, mean = document["trends"]
    assert [point["run"] for point in mean["points"]] == runs
    assert adaptive["changes"] == []
    (change,) = mean["changes"]
    assert (change["index"], change["run"], change["cause"]) == (4, runs[4], "code")
    assert change["ratio"] == pytest.approx(1.5, rel=0.01)


def test_tables_say_in_which_order(gapbench, runs):
    code, out, _ = gapbench()
    assert code == 0
    assert "▁▁▁▁████" in out
    assert out.splitlines()[-1] == "8 runs, in the order of their commits"
    assert out.count(runs[3]) == 0
    code, out, _ = gapbench("2x3x4x4")
    assert out.count(runs[3]) == 2  # of each of two implementations, every run


def test_a_run_that_measured_something_else_does_not_change_the_order(gapbench, runs):
    from gapbench.workloads.cases import Case

    a_run(Store("results"), case=Case((9, 9, 9)))
    assert json.loads(gapbench(CASE.id, "--json")[1])["order"] == "commit"
    assert json.loads(gapbench("--json")[1])["order"] == "start"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["9x9x9"], 5, "no run in results has timed a case like '9x9x9'; measure with: gapbench run"),
        (["(["], 5, "a case like '(['"),
        (["--store", "empty"], 5, "no run in empty has timed any case"),
        (["9x9x9", "--store", "empty"], 5, "no run in empty has timed a case like '9x9x9'"),
        (["a", "b"], 2, "b"),
    ],
)
def test_bad_input_is_one_line(gapbench, runs, arguments, code, sentence):
    got, out, err = gapbench(*arguments)
    assert got == code
    assert out == ""
    assert len(err.splitlines()) == 1
    assert sentence in err


def test_a_case_that_is_no_text_is_in_no_run(gapbench, runs):
    code, _, err = gapbench("\udce19")
    assert (code, err.splitlines()[-1].startswith("gapbench: no run in results has timed a case like")) == (5, True)
