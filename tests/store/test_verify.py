import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factories import CASE, a_run, run_id

from gapbench.store import records
from gapbench.store.run import decode
from gapbench.store.store import Store
from gapbench.store.tables import table
from gapbench.store.verify import verify


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def run(store):
    return a_run(store, plan=[{"case": CASE.id}])


def damage(store):
    return [finding.sentence for finding in verify(store) if finding.kind == "damage"]


def notes(store):
    return [finding.sentence for finding in verify(store) if finding.kind == "note"]


def change(store, run, file, edit):
    """Replace a stored table by what ``edit`` makes of its frame."""
    path = store.path(run, f"{file}.parquet")
    columns = records.SAMPLES if file == "samples" else records.RESULTS
    pq.write_table(table(edit(pd.read_parquet(path)), columns), path)


def change_json(store, run, **fields):
    path = Path(store.path(run, "run.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_store_that_is_whole_has_nothing_to_say(store, run):
    a_run(store)
    assert verify(store) == []
    assert verify(store, [run]) == []


@pytest.mark.parametrize("url", ["memory", "nothing there"])
def test_stores_of_other_kinds_are_verified_too(tmp_path, url):
    store = Store(f"memory:/{tmp_path}/{url}")
    if url == "memory":
        a_run(store)
    assert verify(store) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_damaged_run_json_is_named(store, run, content):
    Path(store.path(run, "run.json")).write_bytes(content)
    (sentence,) = damage(store)
    assert sentence.startswith(("run.json is damaged", "has schema None"))


def test_an_unknown_schema_is_named(store, run):
    change_json(store, run, schema=3)
    assert damage(store) == ["has schema 3, this gapbench reads 1 and 2; use the gapbench that wrote it"]


@pytest.mark.parametrize("file", ["samples", "results"])
def test_a_file_that_is_cut_off_is_named(store, run, file):
    path = Path(store.path(run, f"{file}.parquet"))
    path.write_bytes(path.read_bytes()[:-10])
    (sentence,) = damage(store)
    assert sentence.startswith(f"{file}.parquet cannot be read")


@pytest.mark.parametrize("file", ["samples", "results"])
def test_a_file_that_is_gone_is_named(store, run, file):
    Path(store.path(run, f"{file}.parquet")).unlink()
    assert damage(store) == [f"{file}.parquet is missing, though the run is complete"]


def test_a_renamed_run_is_named(store, run):
    other = run_id(2)
    shutil.move(store.path(run), store.path(other))
    assert sorted(sentence.split(":")[0] for sentence in damage(store)) == [
        "results.parquet has rows of other runs",
        f"run.json is of run '{run}'",
        "samples.parquet has rows of other runs",
    ]


def test_lost_samples_are_counted(store, run):
    change(store, run, "samples", lambda frame: frame.iloc[1:])
    change(store, run, "samples", lambda frame: frame[(frame["round"] > 0) | (frame["implementation"] == "mean")])
    row = f"on {CASE.id} (this, host): results.parquet counts"
    sentences = damage(store)
    assert f"adaptive {row} 12 samples, samples.parquet has 10" in sentences
    assert f"adaptive {row} 6 rounds, samples.parquet has 5" in sentences


def test_samples_without_a_row_and_rows_without_samples_are_named(store, run):
    change(store, run, "results", lambda frame: frame[frame["implementation"] != "mean"])
    (sentence,) = damage(store)
    assert sentence.startswith(
        f"samples.parquet has 12 samples of mean on {CASE.id} (this, host), results.parquet has no"
    )
    change(store, run, "samples", lambda frame: frame[frame["implementation"] == "mean"])
    assert any("adaptive" in text and "12 samples, samples.parquet has 0" in text for text in damage(store))


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda f: pd.concat([f, f.iloc[:1]]), "results.parquet has mean on"),
        (lambda f: f.assign(status="fine"), "unknown statuses: fine"),
        (lambda f: f.assign(dtype="float16", threads=4), f"{CASE.id} has another dtype, threads than its id says"),
        (lambda f: f.assign(case="8xfoo"), "results.parquet: malformed case '8xfoo'"),
        (lambda f: f.assign(clock=None), "results.parquet has 3 rows without a run, case"),
        (lambda f: f.iloc[:0], f"{CASE.id} was planned and has no row"),
    ],
)
def test_results_that_contradict_themselves_are_named(store, run, edit, sentence):
    change(store, run, "results", edit)
    assert any(sentence in text for text in damage(store))


@pytest.mark.parametrize("file", ["results", "samples"])
def test_rows_may_differ_by_their_condition_of_memory_alone(store, file):
    run = a_run(store, memories=("kept", "fresh"))
    assert damage(store) == []
    change(store, run, file, lambda frame: frame.assign(memory="kept"))
    (first, *_) = damage(store)
    assert f"{file}.parquet has" in first
    assert f"on {CASE.id} (this, host, kept) more than once" in first


@pytest.mark.parametrize("file", ["results", "samples"])
def test_of_runs_that_say_nothing_of_memory_rows_that_are_there_twice_are_named(store, file):
    run = a_run(store)
    path = store.path(run, f"{file}.parquet")
    kept = pq.read_table(path)
    old = pa.concat_tables([kept, kept]).drop_columns(["memory"])
    pq.write_table(old.replace_schema_metadata(kept.schema.metadata), path)
    (first, *_) = damage(store)
    assert f"on {CASE.id} (this, host) more than once" in first


def test_a_case_that_nobody_planned_is_named(store, run):
    change_json(store, run, plan=[])
    assert damage(store) == [f"{CASE.id} is in results.parquet and was not planned"]


def test_an_open_run_is_no_damage_and_its_missing_rounds_are(store):
    writer = store.create(decode({"run": run_id(), "suites": []}))
    for number in range(3):
        key = {"case": CASE.id, "implementation": "mean", "contender": "this", "clock": "host"}
        writer.append({**key, "round": number, "turn": 0, "seconds_per_call": [1e-5]})
    assert damage(store) == []
    assert notes(store) == [f"open: 3 rounds are kept; resume with: gapbench run --resume {writer.id}"]
    Path(store.path(writer.id, "shards", "000001.parquet")).unlink()
    assert damage(store) == ["rounds are missing: 2 shards, the last is shards/000002.parquet"]


def test_leftovers_are_named_and_are_no_damage(store, run):
    folder = Path(store.path(run))
    (folder / "shards").mkdir()
    for name in ("shards/000000.parquet", "run.json.part", "notes.txt", "profiles/trace.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    Path(store.url, "half").mkdir()
    Path(store.url, "README.md").write_text("what lives here")
    assert damage(store) == []
    assert [note.split(";")[0] for note in notes(store)] == [
        "leftover: shards/ holds 1 file that samples.parquet has too",
        "leftover: notes.txt is not a file of a run",
        "leftover: run.json.part is half a file of a run",
        "leftover: a folder without run.json is not a run",
    ]
