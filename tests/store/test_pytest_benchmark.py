"""Our runs as pytest-benchmark's own tools read them, and exports as we do."""

import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from factories import CASE, a_run
from pytest_benchmark.stats import Stats

from gapbench.cli import common
from gapbench.errors import GapbenchError
from gapbench.store import pytest_benchmark as writing
from gapbench.store.store import Store

FIELDS = "min max mean stddev rounds median iqr q1 q3 iqr_outliers stddev_outliers outliers ld15iqr hd15iqr ops total"


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


def exported(store, run):
    return writing.document(store.describe(run), store.results([run]), store.samples([run]))


def medians(store, run):
    samples = store.samples([run])
    return {name: statistics.median(rows["seconds_per_call"]) for name, rows in samples.groupby("implementation")}


def test_pytest_benchmarks_own_compare_reads_our_medians_to_the_last_bit(store, tmp_path):
    run = a_run(store)
    (tmp_path / "run.json").write_text(writing.dumps(exported(store, run)))
    command = [Path(sys.executable).with_name("pytest-benchmark"), "compare", "run.json", "--csv", "table.csv"]
    done = subprocess.run([*command, "--columns", "median,rounds"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"'{CASE.id}-host': 2 tests" in done.stdout
    with (tmp_path / "table.csv").open() as file:
        rows = {row["param:implementation"]: row for row in csv.DictReader(file)}
    assert {name: float(row["median"]) for name, row in rows.items()} == medians(store, run)
    assert {row["rounds"] for row in rows.values()} == {"12"}


def test_conditions_of_memory_are_benchmarks_and_groups_of_their_own(store):
    document = exported(store, a_run(store, memories=("kept", "fresh")))
    assert {benchmark["group"] for benchmark in document["benchmarks"]} == {
        f"{CASE.id}-host-kept",
        f"{CASE.id}-host-fresh",
    }
    assert len({benchmark["name"] for benchmark in document["benchmarks"]}) == 4
    assert {benchmark["params"]["memory"] for benchmark in document["benchmarks"]} == {"kept", "fresh"}


def test_two_exports_are_compared_by_name(store, tmp_path):
    for name in ("before", "after"):
        (tmp_path / f"{name}.json").write_text(writing.dumps(exported(store, a_run(store, seed=len(name)))))
    command = [Path(sys.executable).with_name("pytest-benchmark"), "compare", "before.json", "after.json"]
    done = subprocess.run([*command, "--between", "median"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{CASE.id}-host-mean" in done.stdout


def test_an_export_has_all_that_the_format_has(store):
    run = a_run(store, git={"commit": "a" * 40, "branch": "main", "dirty": True})
    document = json.loads(writing.dumps(exported(store, run)))
    assert set(document) == {"machine_info", "commit_info", "benchmarks", "datetime", "version"}
    assert document["commit_info"]["id"] == "a" * 40
    assert document["commit_info"]["dirty"] is True
    assert document["machine_info"]["cpu"]["brand_raw"] == "Some CPU"
    first = document["benchmarks"][0]
    assert {"group", "name", "fullname", "params", "param", "extra_info", "options", "stats"} == set(first)
    assert set(first["stats"]) == {*FIELDS.split(), "data", "iterations"}
    stats = Stats()
    stats.data = first["stats"]["data"]
    assert {name: first["stats"][name] for name in FIELDS.split()} == stats.as_dict()
    names = [benchmark["fullname"] for benchmark in document["benchmarks"]]
    assert sorted(names) == [f"quick::{CASE.id}-host-adaptive", f"quick::{CASE.id}-host-mean"]


def test_what_other_readers_need_is_of_the_type_that_they_need(store):
    """github-action-benchmark reads fullname, stats.ops, stddev, mean and rounds; Bencher fullname, median and iqr."""
    for benchmark in exported(store, a_run(store))["benchmarks"]:
        assert isinstance(benchmark["fullname"], str)
        assert all(
            isinstance(benchmark["stats"][name], (int, float)) for name in ["ops", "stddev", "mean", "median", "iqr"]
        )
        assert benchmark["stats"]["ops"] == pytest.approx(1 / benchmark["stats"]["mean"])
        assert benchmark["stats"]["rounds"] == 12


def test_what_is_not_ok_is_not_exported(store):
    run = a_run(store)
    whose = [benchmark["extra_info"]["implementation"] for benchmark in exported(store, run)["benchmarks"]]
    assert sorted(whose) == ["adaptive", "mean"]
    results = store.results([run]).assign(status="wrong")
    with pytest.raises(GapbenchError, match=f"run {run} has nothing to export: no implementation is ok"):
        writing.document(store.describe(run), results, store.samples([run]))


def test_an_export_is_strict_json(store):
    run = a_run(store)
    results = store.results([run]).assign(max_error=float("inf"), gbps=float("nan"))
    text = writing.dumps(writing.document(store.describe(run), results, store.samples([run])))
    assert "Infinity" not in text
    assert "NaN" not in text
    assert "max_error" not in text


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(
        GapbenchError, match="^cannot write .*/nosuch/run.json': No such file or directory; name another"
    ):
        common.write_file(tmp_path / "nosuch" / "run.json", "{}")
