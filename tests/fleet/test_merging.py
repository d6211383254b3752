"""Shards that never ran, merged: nothing is lost, and what does not belong together is refused."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from factories import CPU, TORCH, a_run

from gapbench.errors import GapbenchError
from gapbench.fleet.merging import Part, find, merge
from gapbench.repository.git import Git
from gapbench.store import records
from gapbench.store.ceilings import Ceiling
from gapbench.store.store import Store
from gapbench.store.verify import verify
from gapbench.workloads.cases import Case

CASES = [Case((8, 64, 7, 7)), Case((8, 64, 8, 8)), Case((8, 64, 9, 9))]
COMMIT = {"commit": "abc1234" * 5, "branch": "main", "dirty": False, "diff_hash": None}
CEILING = {"device": "cpu", "kind": "read", "level": "memory", "threads": 1, "bytes": None}
PLACES = {1: 2, 2: 0, 3: 1}


def run_id(number):
    return f"20260101T00000{number}Z-abc1234-000{number}"


def a_shard(store, number, count=3, **fields):
    """Store the shard of one case, whose place in the plan is not its number."""
    case = CASES[PLACES[number]]
    described = {
        "run": run_id(number), "sweep": "feed", "shard": f"{number}/{count}", "places": {case.id: PLACES[number]},
        "plan": [{"case": case.id, "suite": "quick"}], "git": COMMIT, "settings": {"budget": 60.0, "seed": 0},
        "tag": "nightly", "argv": ["run"], "load_before": [0.5 * number, 0.1, 0.2 / number],
        "ceilings": [CEILING | {"gbps": {1: None, 2: 10.0, 3: 12.0}[number]}],
        "clocks": {"host": {"floor_seconds": number * 1e-8, "hold_seconds": None}},
        "warnings": ["the governor is powersave", f"warned of {number}"], "wall_seconds": 10.0, "timed_seconds": 8.0,
    }  # fmt: skip
    return a_run(store, case=case, seed=number, rounds=2 + number, **described | fields)


@pytest.fixture
def shards(tmp_path):
    store = Store(str(tmp_path / "shards"))
    for number in (3, 1, 2):
        a_shard(store, number)
    return store


@pytest.fixture
def target(tmp_path):
    return Store(str(tmp_path / "results"))


def parts(store):
    return [Part(store, run) for run in store.ids()]


def change(store, folder, /, **fields):
    path = Path(store.path(folder, "run.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def rows(frame, columns, *but):
    """Return the rows as a sorted list of what they say in all columns, but for the run."""
    kept = [name for name in columns if name not in {"run", *but}]
    return sorted(map(repr, frame[kept].astype(object).itertuples(index=False, name=None)))


def test_nothing_of_the_parts_is_lost(shards, target):
    run = merge(target, parts(shards))
    assert run.id not in shards.ids()
    assert target.ids() == [run.id]
    assert verify(target) == []
    results, samples = target.results(), target.samples()
    assert rows(results, records.RESULTS, "ceiling_fraction") == rows(
        shards.results(), records.RESULTS, "ceiling_fraction"
    )
    assert rows(samples, records.SAMPLES, "process") == rows(shards.samples(), records.SAMPLES, "process")
    assert list(run.parts) == [json.loads(shards.text(run)) for run in sorted(shards.ids())]
    assert shards.ids() == [run_id(number) for number in (1, 2, 3)]


def test_the_merged_run_is_as_one_machine_would_have_made_it(shards, target):
    run = merge(target, parts(shards))
    assert [case_plan.case for case_plan in run.plan] == [case.id for case in CASES]
    assert list(dict.fromkeys(target.results()["case"])) == [case.id for case in CASES]
    by_process = target.samples().groupby("process")
    assert (by_process[["case", "round"]].nunique() == 1).all(axis=None)
    assert by_process.ngroups == 3 + 4 + 5
    assert run.shard is None
    assert (run.sweep, run.tag, run.git) == ("feed", "nightly", Git(**COMMIT))
    assert (run.wall_seconds, run.timed_seconds) == (30.0, 24.0)
    assert run.load_before == (1.5, 0.1, 0.2)
    assert run.clocks == {"host": {"floor_seconds": 2e-8}}
    evidence = [warning.evidence for warning in run.warnings]
    assert evidence == ["the governor is powersave", *(f"shard {n}/3: warned of {n}" for n in (1, 2, 3))]


def test_the_highest_ceiling_of_equal_machines_holds_for_all(shards, target):
    run = merge(target, parts(shards))
    assert run.ceilings == (Ceiling(**CEILING, gbps=12.0),)
    ok = target.results(status="ok")
    assert (ok["ceiling_fraction"] == ok["gbps"] / 12.0).all()
    assert target.results(status="unsupported")["ceiling_fraction"].isna().all()


def test_a_tag_of_ones_own(shards, target):
    assert merge(target, parts(shards), "mine").tag == "mine"


def test_shards_are_found_by_their_folders_and_by_their_store(shards, target, tmp_path):
    a_run(shards)  # no shard
    assert [part.run for part in find([shards.url])] == [run_id(number) for number in (1, 2, 3)]
    folders = [f"{shards.url}/{run_id(number)}" for number in (2, 1)]
    assert [part.run for part in find([*folders[:1], f"{folders[1]}/"])] == [run_id(2), run_id(1)]
    for nothing in (str(tmp_path / "nosuch"), str(tmp_path)):
        with pytest.raises(GapbenchError, match="is neither a run nor a store with shards"):
            find([shards.url, nothing])


def test_shards_of_several_stores_of_other_kinds_become_one_run(tmp_path, target):
    sources = [f"memory:/{tmp_path}/box{number}" for number in (1, 2, 3)]
    for number, source in enumerate(sources, 1):
        a_shard(Store(source), number)
    run = merge(target, find([*sources[:2], f"{sources[2]}/{run_id(3)}"]))
    assert len(run.parts) == 3


def test_missing_shards_are_named(shards, target):
    shards.prune(run_id(2))
    with pytest.raises(GapbenchError, match=r"1 shard is missing: 2/3; measure with: gapbench run --shard 2/3"):
        merge(target, parts(shards))
    shards.prune(run_id(1))
    with pytest.raises(GapbenchError, match="2 shards are missing: 1/3, 2/3"):
        merge(target, parts(shards))
    assert target.ids() == []


def test_a_shard_that_is_there_twice_is_refused(shards, target):
    again = a_shard(shards, 2, run=run_id(9))
    with pytest.raises(GapbenchError, match=f"shard 2/3 is there 2 times, as runs {run_id(2)}, {again}"):
        merge(target, parts(shards))
    merge(target, [part for part in parts(shards) if part.run != again])


def test_shards_are_merged_once(shards, target):
    run = merge(target, parts(shards)).id
    with pytest.raises(GapbenchError, match=f"these 3 shards were merged before, as run {run}"):
        merge(target, parts(shards))
    assert target.ids() == [run]


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"machine": CPU | {"cpu": "Xeon"}}, r"cpu is Xeon, was \w+"),
        ({"machine": CPU | {"device": "cuda:0", "device_description": "H100"}}, "gpu is H100, was unknown"),
        ({"versions": TORCH | {"torch": "2.6.0"}}, "torch is 2.6.0, was 2"),
        ({"versions": TORCH | {"numpy": "1.26.4"}}, "numpy is 1.26.4, was unknown"),
    ],
)
def test_unequal_machines_are_refused_with_the_difference(shards, target, fields, difference):
    change(shards, run_id(2), **fields)
    with pytest.raises(GapbenchError, match=f"shards 1/3 and 2/3 were not measured on equal machines: {difference}"):
        merge(target, parts(shards))
    assert target.ids() == []


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"settings": {"budget": 60.0, "seed": 1}}, r"\(seed 0 and 1\)"),
        ({"git": COMMIT | {"commit": "def5678"}}, r"\(commit (abc1234)+ and def5678\)"),
        ({"shard": "2/4"}, r"\(shards 3 and 4\)"),
        ({}, "other cases or implementations were selected"),
    ],
)
def test_two_sweeps_are_refused_with_the_difference(shards, target, fields, difference):
    change(shards, run_id(2), sweep="other", **fields)
    with pytest.raises(GapbenchError, match=difference):
        merge(target, parts(shards))


def test_work_that_was_not_committed_is_warned_of(shards, target):
    change(shards, run_id(2), git=COMMIT | {"dirty": True, "diff_hash": "f00d"})
    run = merge(target, parts(shards))
    assert run.git.dirty is True
    assert "uncommitted files differ" in run.warnings[-1].evidence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"ended": None}, "shard 2/3.* is not complete; resume it with: gapbench run --resume"),
        ({"shard": None}, "is not a shard"),
        ({"shard": "5/3"}, "is damaged: malformed shard '5/3'"),
        ({"shard": ["2/3"]}, "is damaged .shard: Expected `str"),
        ({"run": "another"}, "is damaged: run.json is of run 'another'"),
        ({"places": None}, "is damaged: its places lack"),
        ({"versions": []}, "is damaged .versions: Expected `object`"),
        ({"settings": None}, "is damaged: settings is missing"),
        ({"places": {"nonsense": 0}}, "is damaged: its places lack 8x64x7x7"),
        ({"places": {CASES[0].id: "0"}}, "is damaged .places.*Expected `int`"),
        ({"places": {CASES[0].id: 1}}, "do not make up its plan"),
        ({"started": "yesterday"}, "is damaged: its start is not a time .*'yesterday'"),
        ({"plan": []}, "is damaged: .* is in results.parquet and was not planned"),
        ({"schema": 99}, "has schema 99"),
    ],
)
def test_what_is_no_whole_shard_is_refused(shards, target, fields, sentence):
    change(shards, run_id(2), **fields)
    with pytest.raises(GapbenchError, match=sentence) as refused:
        merge(target, parts(shards))
    assert "\n" not in str(refused.value)
    assert target.ids() == []


def test_a_damaged_file_is_refused(shards, target):
    Path(shards.path(run_id(1), "samples.parquet")).write_bytes(b"half")
    with pytest.raises(GapbenchError, match=r"shard 1/3\) is damaged: samples.parquet cannot be read"):
        merge(target, parts(shards))


def test_a_shard_in_which_nothing_could_be_timed_is_merged(shards, target):
    run = run_id(1)
    for name, keep in (("samples", lambda _: False), ("results", lambda row: row["status"] != "ok")):
        path = Path(shards.path(run, f"{name}.parquet"))
        frame = pd.read_parquet(path)
        _rewrite(path, frame[frame.apply(keep, axis="columns").astype(bool)], name)
    merged = merge(target, parts(shards))
    assert verify(target) == []
    assert len(target.results([merged.id])) == 2 * 3 + 1


def test_a_shard_that_knows_no_processes_is_merged(shards, target):
    path = Path(shards.path(run_id(1), "samples.parquet"))
    _rewrite(path, pd.read_parquet(path).assign(process=None), "samples")
    merged = merge(target, parts(shards))
    assert verify(target) == []
    assert target.samples([merged.id])["process"].isna().any()


@pytest.mark.parametrize(
    ("change_of", "sentence"),
    [
        (lambda frame: frame.drop(columns="turn"), "samples.parquet has no column turn"),
        (lambda frame: frame.assign(turn=None), "samples.parquet has .* rows without turn"),
    ],
)
def test_a_shard_that_knows_no_turns_is_refused(shards, target, change_of, sentence):
    path = Path(shards.path(run_id(1), "samples.parquet"))
    frame = change_of(pd.read_parquet(path))
    if "turn" in frame:
        _rewrite(path, frame, "samples")
    else:
        pq.write_table(pq.read_table(path).drop_columns(["turn"]), path)
    with pytest.raises(GapbenchError, match=sentence):
        merge(target, parts(shards))
    assert target.ids() == []


def _rewrite(path, frame, name):
    from gapbench.store.tables import table

    pq.write_table(table(frame, records.SAMPLES if name == "samples" else records.RESULTS), path)


def test_copies_of_a_store_merge_alike(shards, target, tmp_path):
    shutil.copytree(shards.url, tmp_path / "copy")
    merge(target, parts(shards))
    with pytest.raises(GapbenchError, match="merged before"):
        merge(target, parts(Store(str(tmp_path / "copy"))))
