import hashlib
import json
from pathlib import Path

import pytest
from factories import CASE, a_run
from hypothesis import given
from hypothesis import strategies as st
from profiled import document

from gapbench.errors import GapbenchError
from gapbench.store import profiles
from gapbench.store.store import Store
from gapbench.store.verify import verify


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def run(store):
    return a_run(store)


def digests(store, run):
    folder = Path(store.path(run))
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()) if path.is_file()
    }


def test_a_profile_lies_beside_the_runs_files_which_stay_as_they_are(store, run):
    before = digests(store, run)
    profiles.prepare(store, run, CASE.id)
    paths = profiles.keep(store, run, document(), {"trace.json.gz": b"packed"})
    assert [path.removeprefix(store.path(run)) for path in paths] == [
        f"/profiles/{CASE.id}/mean.json",
        f"/profiles/{CASE.id}/mean.trace.json.gz",
    ]
    assert digests(store, run) == before
    assert set(before) == {"run.json", "samples.parquet", "results.parquet"}
    assert verify(store) == []
    assert profiles.read(store, run) == {CASE.id: [document()]}


def test_a_name_that_is_too_long_for_a_file_ends_in_a_hash(store, run):
    names = [last.rjust(260, "f") for last in "ab"]
    for name in names:
        profiles.keep(store, run, document(name), {"trace.json.gz": b"packed"})
    assert sorted(profile["implementation"] for profile in profiles.read(store, run)[CASE.id]) == names
    assert profiles.stem("f" * 120) == "f" * 120


def test_a_profile_replaces_an_earlier_one_and_the_fastest_is_read_first(store, run):
    for seconds in (1e-5, 3e-5):
        profiles.keep(store, run, document("mean", seconds=seconds), {})
    profiles.keep(store, run, document("triton", status="unsupported"), {})
    profiles.keep(store, run, document("fast", seconds=2e-5), {"generated.py": b"x = 1"})
    kept = profiles.read(store, run)[CASE.id]
    assert [profile["implementation"] for profile in kept] == ["fast", "mean", "triton"]
    assert kept[1]["seconds"] == 3e-5


def test_any_fsspec_url_works(tmp_path):
    store = Store(f"memory:/{tmp_path}/profiled")
    run = a_run(store)
    profiles.prepare(store, run, CASE.id)
    profiles.keep(store, run, document(), {"trace.json.gz": b"packed"})
    assert profiles.read(store, run)[CASE.id][0]["implementation"] == "mean"
    assert verify(store) == []


def test_a_folder_of_their_own_needs_no_run(tmp_path):
    store = Store(str(tmp_path / "mine"))
    profiles.prepare(store, None, CASE.id)
    profiles.keep(store, None, document(), {})
    assert [path.name for path in (tmp_path / "mine" / CASE.id).iterdir()] == ["mean.json"]


def test_a_folder_that_cannot_be_written_is_found_out_beforehand(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GapbenchError, match="cannot write"):
        profiles.prepare(Store(str(tmp_path / "file")), None, CASE.id)


@given(st.text(max_size=40))
def test_no_name_leaves_its_folder(name):
    stem = profiles.stem(name)
    assert stem
    assert not set(stem) & set("/\\\0: ")
    assert not stem.startswith(".")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", json.dumps({"schema": 2}).encode(), b'{"schema": 1}'])
def test_a_damaged_profile_is_named_with_a_remedy(store, run, content):
    (path, *_) = profiles.keep(store, run, document(), {})
    Path(path).write_bytes(content)
    with pytest.raises(GapbenchError, match=rf"profiles/{CASE.id}/mean.json .*; profile again, or remove it"):
        profiles.read(store, run)
