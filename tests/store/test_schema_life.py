"""Files of schema 1 as gapbench wrote them when it had no other, and what newer columns are in them."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from gapbench.measuring.recording import plan_of
from gapbench.store import records
from gapbench.store.store import Store
from gapbench.store.verify import verify

OLD = Path(__file__).parent / "schema-1"
COMPLETE, OPEN = "20261124T182023Z-nogit-852c", "20261124T182333Z-nogit-1f64"


@pytest.fixture
def old(tmp_path):
    shutil.copytree(OLD, tmp_path / "results")
    return Store(str(tmp_path / "results"))


def test_old_runs_are_listed_and_found(old):
    runs = old.runs().set_index("run")
    assert list(runs.index) == [COMPLETE, OPEN]
    assert runs["complete"].tolist() == [True, False]
    assert runs["unreadable"].isna().all()
    assert old.resolve("schema-1") == COMPLETE
    assert [finding.sentence.split(":")[0] for finding in verify(old)] == ["open"]


def test_old_results_have_all_columns_of_today_and_null_where_they_are_older(old):
    results, samples = old.results([COMPLETE]), old.samples([COMPLETE])
    assert (list(results), list(samples)) == (list(records.RESULTS), list(records.SAMPLES))
    assert results["status"].tolist() == ["ok", "ok"]
    assert results["seconds"].gt(0).all()
    for frame, file in ((results, "results"), (samples, "samples")):
        stored = pq.read_schema(OLD / COMPLETE / f"{file}.parquet").names
        newer = [name for name in frame if name not in stored and name not in records.TRAITS]
        assert frame[newer].isna().all(axis=None)
        pd.testing.assert_frame_equal(
            frame[stored], pd.read_parquet(OLD / COMPLETE / f"{file}.parquet"), check_dtype=False
        )


def test_old_results_get_their_traits_from_the_names_of_that_time(old):
    results = old.results([COMPLETE])
    for row in records.plain_rows(results):
        assert {name: row[name] for name in records.TRAITS} == records.former_traits(row["operation"], row["clock"])
    assert old.results([COMPLETE], columns=["cold", "seconds"]).equals(results[["cold", "seconds"]])


def test_an_old_run_in_progress_goes_on_with_its_rounds_and_plan(old):
    before = old.samples([OPEN])
    assert before["round"].unique().tolist() == [0, 1]
    writer = old.reopen(OPEN)
    plans, effort = plan_of(writer.run)
    assert [sorted(case_plan.specs) for case_plan in plans] == [["mean", "sum_scale"]] * len(plans)
    assert effort.rounds == 8
    writer.append(before.assign(round=before["round"] + 2))
    assert old.samples([OPEN])["round"].unique().tolist() == [0, 1, 2, 3]


def test_a_column_that_joins_needs_no_new_version(old, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", {**records.RESULTS, "joined": "float64"})
    results = old.results()
    assert list(results)[-1] == "joined"
    assert results["joined"].isna().all()
    assert results["joined"].dtype == "float64"
    assert old.results(joined=1.0).empty
    assert verify(old, [COMPLETE]) == []


def test_a_column_that_this_gapbench_does_not_know_yet_is_left_out(old):
    path = OLD / COMPLETE / "results.parquet"
    table = pq.read_table(path)
    newer = table.append_column("from_the_future", [[1.0] * len(table)])
    pq.write_table(newer, old.path(COMPLETE, "results.parquet"))
    assert list(old.results([COMPLETE])) == list(records.RESULTS)


def test_a_run_that_counted_energy_is_read_without_it(old):
    """Until 0.2.0 rows had the joules of a call, and run.json the meters."""
    table = pq.read_table(OLD / COMPLETE / "results.parquet")
    pq.write_table(table.append_column("energy_joules", [[1e-6] * len(table)]), old.path(COMPLETE, "results.parquet"))
    document = json.loads(old.text(COMPLETE))
    sources = [{"device": "cpu", "source": None, "reason": "no RAPL"}]
    old.write(old.path(COMPLETE, "run.json"), json.dumps(document | {"energy": sources}).encode())
    assert old.describe(COMPLETE).is_complete
    assert list(old.results([COMPLETE])) == list(records.RESULTS)
    assert verify(old, [COMPLETE]) == []


def test_every_file_names_its_version(old):
    old.runs()
    versions = {
        path.name: (pq.read_schema(path).metadata or {}).get(b"gapbench_schema")
        for path in Path(old.url).rglob("*.parquet")
    }
    assert versions.pop("index.parquet") is None
    assert pq.read_schema(old.path("index.parquet")).metadata[b"gapbench_index"] == b"2"
    assert set(versions.values()) == {b"1"}
