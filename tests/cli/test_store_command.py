"""``gapbench store`` from the inside."""

import json
from functools import partial
from pathlib import Path

import pytest
from factories import a_run, run_id

from gapbench.store.store import Store


@pytest.fixture
def gapbench(monkeypatch, gapbench):
    """Run ``gapbench store`` on a wide terminal."""
    monkeypatch.setattr("rich.console.Console.width", 200)
    return partial(gapbench, "store")


@pytest.fixture
def runs(gapbench):
    store = Store("results")
    return [a_run(store, run_id(day), seed=day, rounds=2) for day in range(3)]


def test_an_export_is_written_or_printed(gapbench, runs):
    assert gapbench("export", "latest", "-o", "run.json") == (0, "run.json\n", "")
    code, out, _ = gapbench("export", "latest")
    assert code == 0
    assert json.loads(out) == json.loads(Path("run.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["export", "nosuch"], 2, "there is no run 'nosuch'"),
        (["export", "latest", "--store", "empty"], 2, "holds no runs"),
        (["verify", "--store", "empty"], 2, "there is no store 'empty'; name another with --store URL"),
        (["export", "latest", "-o", "nosuch/run.json"], 2, "cannot write 'nosuch/run.json'"),
        (["export", "latest", "-o", "results"], 2, "results"),
        (["import", "nosuch"], 2, "nosuch is neither a run nor a store with shards"),
        (["import", "results"], 2, "results is neither a run nor a store with shards"),
        (["import", "run.json"], 2, "run.json is neither a run nor a store with shards"),
        (["import"], 2, "SHARD"),
        (["verify", "nosuch"], 2, "there is no run 'nosuch'"),
        (["prune", "nosuch"], 2, "there is no run 'nosuch' in results; nothing was removed"),
        (["prune", "*"], 2, "there is no run '*'"),
        (["prune", "20260101"], 2, "there is no run '20260101'"),
        (["prune", "latest"], 2, "there is no run 'latest'"),
        (["prune", "."], 2, "there is no run '.'"),
        (["prune", ""], 2, "there is no run ''"),
        (["prune", "../outside"], 2, "there is no run '../outside'"),
        (["prune"], 2, "RUN"),
        (["nosuch"], 2, "nosuch"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(gapbench, runs, arguments, code, sentence):
    Path("outside").mkdir()
    Path("outside/run.json").write_text("{}")
    gapbench("export", runs[0], "-o", "run.json")
    got, out, err = gapbench(*arguments)
    assert got == code
    assert out == ""
    assert len(err.splitlines()) == 1
    assert sentence in err
    assert Store("results").ids() == runs
    assert Path("outside/run.json").exists()


def test_prune_removes_exactly_what_is_named(gapbench, runs):
    code, out, _ = gapbench("prune", runs[0], runs[2], "--dry-run")
    assert (code, out.splitlines()) == (0, [f"would remove {runs[0]}", f"would remove {runs[2]}"])
    assert Store("results").ids() == runs
    code, _, err = gapbench("prune", runs[0], "nosuch")
    assert code == 2
    assert "nothing was removed" in err
    assert Store("results").ids() == runs
    code, out, _ = gapbench("prune", runs[0], runs[2], runs[0])
    assert (code, out.splitlines()) == (0, [f"removed {runs[0]}", f"removed {runs[2]}"])
    assert Store("results").ids() == [runs[1]]
    assert [path.name for path in Path("results").iterdir() if path.is_dir()] == [runs[1]]


def test_prune_does_not_follow_links_out_of_the_store(gapbench, runs):
    Path("outside").mkdir()
    Path("outside/run.json").write_text("{}")
    Path("results/linked").symlink_to(Path("outside").resolve())
    code, _, err = gapbench("prune", "linked")
    assert code == 2
    assert "linked in results is a link" in err
    assert Path("outside/run.json").exists()


def test_a_damaged_run_is_verified_by_its_id_and_can_be_pruned(gapbench, runs):
    Path(f"results/{runs[0]}/run.json").write_text("{")
    code, out, _ = gapbench("verify")
    assert code == 2
    assert out.splitlines()[0].startswith(f"damage: {runs[0]}: run.json is damaged")
    assert out.splitlines()[-1] == "3 runs checked, 1 damaged"
    assert gapbench("verify", runs[1]) == (0, "1 run checked, 0 damaged\n", "")
    code, out, _ = gapbench("verify", runs[0], "--json")
    assert code == 2
    assert [(finding["run"], finding["kind"]) for finding in json.loads(out)] == [(runs[0], "damage")]
    assert gapbench("prune", runs[0])[0] == 0
    assert gapbench("verify")[0] == 0
