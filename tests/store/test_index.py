import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from factories import CPU, TORCH, a_run, run_id
from hypothesis import given
from hypothesis import strategies as st

from gapbench.errors import GapbenchError
from gapbench.store import index
from gapbench.store.run import decode
from gapbench.store.store import Store
from gapbench.store.verify import verify


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def runs(store):
    git = {"commit": "a" * 40, "branch": "main", "subject": "Pool", "dirty": False}
    return [a_run(store, run_id(day), rounds=1, git=git, tag=f"tag-{day}") for day in range(4)]


def read_files(store, monkeypatch):
    """Return the list to which the names of the files are added that the store reads from now on."""
    read, paths = store.read, []
    monkeypatch.setattr(store, "read", lambda *parts: paths.append("/".join(parts)) or read(*parts))
    return paths


def index_of(store):
    return Path(store.path(index.FILE))


def test_complete_runs_are_read_once(store, runs, monkeypatch):
    first = store.runs()
    paths = read_files(store, monkeypatch)
    assert store.runs().equals(first)
    assert (store.ids(), store.resolve("tag-1")) == (runs, runs[1])
    assert set(paths) == {index.FILE}


def test_runs_in_progress_and_new_ones_are_read_again(store, runs, monkeypatch):
    writer = store.create(decode({"run": run_id(9), "suites": ["quick"]}))
    for _ in range(2):
        paths = read_files(store, monkeypatch)
        assert store.runs()["complete"].tolist() == [True] * 4 + [False]
    assert paths == [index.FILE, f"{writer.id}/run.json"]
    writer.finish(store.results([]))
    assert store.runs()["complete"].all()
    paths.clear()
    store.runs()
    assert set(paths) == {index.FILE}


def test_it_holds_what_baselines_and_trends_ask_for(store, runs):

    from gapbench.analysis.history import order
    from gapbench.store.run import differences

    store.runs()
    listed = store.listing().runs
    for run in runs:
        whole = store.describe(run)
        assert differences(listed[run].environment, whole.environment, packages=True) == ()
        assert listed[run].environment.compared() == {"cpu": CPU["cpu"], "torch": TORCH["torch"], "threads": 2}
        assert listed[run].git == whole.git
    assert order(list(listed.values())).runs == runs


def test_it_is_written_anew_from_the_runs(store, runs):
    before = store.runs()
    index_of(store).unlink()
    assert store.runs().equals(before)
    assert index_of(store).exists()


@pytest.mark.parametrize("kept", [0, 4, 100, -4])
def test_a_damaged_index_costs_no_more_than_reading(store, runs, kept):
    before = store.runs()
    index_of(store).write_bytes(index_of(store).read_bytes()[:kept])
    assert store.runs().equals(before)
    assert set(index.load(store)) == set(runs)


@pytest.mark.slow
@given(st.binary(max_size=50) | st.text(max_size=30).map(lambda text: json.dumps({"run": text}).encode()))
def test_nothing_that_an_index_may_hold_is_in_the_way(tmp_path_factory, content):
    store = Store(str(tmp_path_factory.mktemp("store")))
    run = a_run(store, rounds=1)
    index_of(store).write_bytes(content)
    assert store.ids() == [run]


def test_one_of_a_newer_gapbench_is_neither_read_nor_replaced(store, runs):
    before = store.runs()
    table = pq.read_table(index_of(store))
    pq.write_table(
        table.slice(0, 0).replace_schema_metadata({b"gapbench_index": str(index.VERSION + 1).encode()}), index_of(store)
    )
    content = index_of(store).read_bytes()
    assert store.runs().equals(before)
    assert index_of(store).read_bytes() == content


def test_a_store_that_cannot_be_written_is_listed_all_the_same(store, runs, monkeypatch):
    def refuse(path, content):
        raise GapbenchError("read-only")

    monkeypatch.setattr(store, "write", refuse)
    assert store.runs()["run"].tolist() == runs
    assert not index_of(store).exists()


def test_a_lost_update_costs_no_more_than_reading(store, runs):
    store.runs()
    old = index_of(store).read_bytes()
    new = a_run(store, run_id(8), rounds=1)
    store.runs()
    index_of(store).write_bytes(old)  # by another that listed before the run was there
    assert store.ids() == [*runs, new]


def test_removed_runs_are_gone(store, runs):
    store.runs()
    shutil.rmtree(store.path(runs[0]))
    store.prune(runs[1])
    assert store.ids() == runs[2:]


def test_a_run_that_is_cut_short_while_it_is_pruned_is_not_in_the_index_either(store, runs, monkeypatch):
    store.runs()
    monkeypatch.setattr(store, "remove", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.prune(runs[1])
    assert Path(store.path(runs[1])).exists()
    assert runs[1] not in store.ids()


def test_verify_compares_it_with_the_runs(store, runs):
    store.runs()
    assert verify(store) == []
    path = Path(store.path(runs[2], "run.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "tag": "another"}))
    (finding,) = verify(store)
    assert (finding.run, finding.kind) == (runs[2], "damage")
    assert "index.parquet contradicts its run.json" in finding.sentence
    index_of(store).unlink()
    assert verify(store) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"git": "x"},
        {"machine": {"gpus": [1, {"name": "A"}]}},
        {"machine": [1]},
        {"versions": 7},
        {"suites": "quick"},
        {"suites": [1]},
        {"ended": 3},
        {"imported": 1},
    ],
)
def test_a_run_json_of_odd_content_is_unreadable_and_no_crash(store, runs, fields):
    path = Path(store.path(runs[0], "run.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    listed = store.runs().set_index("run")["unreadable"]
    assert f"run.json is damaged ({next(iter(fields))}" in listed[runs[0]]
    assert listed[runs[1:]].isna().all()


def test_a_row_that_lacks_a_field_is_read_anew(store, runs):
    before = store.runs()
    table = pq.read_table(index_of(store))
    texts = [text.replace('"tag":"tag-0",', "") for text in table["about"].to_pylist()]
    assert texts != table["about"].to_pylist()
    pq.write_table(table.set_column(1, table.schema.field(1), [texts]), index_of(store))
    assert index.load(store) == {}
    assert store.runs().equals(before)
