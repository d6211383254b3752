"""No name leads out of the store's folder, whoever gives it: the command line, run.json, the index, an import."""

import contextlib
import json
import sys
from pathlib import Path

import pytest
from factories import a_run
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gapbench import cli
from gapbench.errors import GapbenchError
from gapbench.store import index, profiles
from gapbench.store.run import is_id
from gapbench.store.store import Store

PARTS = st.sampled_from(
    ["..", ".", "", "/", "outside", "inside", "\\", "~", "\0", "%2e%2e", "run.json", "*", "s3:", "\n"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.lists(PARTS, min_size=1, max_size=5).map("".join)
FIXED = ["../outside", "../outside/", "./../outside", "..", ".", "/", "inside/../../outside", "..\\outside", "*", "~"]
UNHURRIED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store with the run ``inside``, and beside it one that is not of it, ``outside``."""
    folder = tmp_path_factory.mktemp("names")
    a_run(Store(str(folder / "store")), "inside", rounds=2)
    a_run(Store(str(folder)), "outside", rounds=2)
    assert Store(str(folder / "store")).ids() == ["inside"]  # which writes the index
    return folder


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@UNHURRIED
@given(NAMES | st.sampled_from(FIXED) | st.text(max_size=12))
def test_the_store_finds_and_removes_nothing_by_a_name_that_leads_elsewhere(folder, name):
    assume(name != "inside")
    store, before = Store(str(folder / "store")), contents(folder)
    assert not store.has(name)
    tables = [lambda run: store.results([run]), lambda run: store.samples([run])]
    for ask in (store.describe, store.prune, store.reopen):
        with pytest.raises(GapbenchError):
            ask(name)
    for ask in (store.shard_names, store.files, *tables) if not is_id(name) else ():
        with pytest.raises(GapbenchError):
            ask(name)
    with contextlib.suppress(GapbenchError):
        assert store.resolve(name) == "inside"  # a prefix, or "latest"
    try:
        path = Path(store.path(name, "run.json"))
    except GapbenchError:
        pass
    else:
        assert path.resolve().is_relative_to((folder / "store").resolve())
    assert contents(folder) == before


@given(st.text(max_size=20) | NAMES)
def test_an_id_is_one_part_of_a_path(name):
    if is_id(name):
        assert Path("/store", name).resolve().parent == Path("/store")
        assert not set(name) & set("/\\\0\n:*?~%")


@given(NAMES | st.text(max_size=20))
def test_what_names_files_of_profiles_is_one_part_of_a_path(name):
    assert Path("/profiles", profiles.stem(name)).resolve().parent == Path("/profiles")
    assert not set(profiles.stem(name)) & set("/\\\0\n:*?~%")


@pytest.fixture
def gapbench(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder; return its exit code and all that it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gapbench", *arguments])
        code, output = cli._exit_code(), capsys.readouterr()
        return code, output.out + output.err

    return run


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize(
    "command",
    [
        ["report", "{}"], ["report", "inside", "--baseline", "{}"], ["diff", "{}", "inside"], ["diff", "inside", "{}"],
        ["store", "export", "{}"], ["store", "prune", "{}"], ["store", "verify", "{}"], ["run", "--resume", "{}"],

    ],
    ids=" ".join,
)  # fmt: skip
def test_no_command_takes_such_a_name(gapbench, folder, tmp_path, command, name):
    before = contents(folder)
    words = [word.format(name) if word == "{}" else word for word in command]
    code, output = gapbench(*words, "--store", str(folder / "store"))
    assert (code, output.count("\n")) == (2, 1), output
    assert "there is no run" in output
    assert contents(folder) == before
    assert list(tmp_path.iterdir()) == []


HOSTILE = ["../outside", "../../x", "/tmp/x", "inside\nverdict=1", "<script>"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_run_is_called_as_its_folder_is(gapbench, tmp_path, name):
    store = Store(str(tmp_path / "store"))
    a_run(store, "inside", rounds=2)
    file = tmp_path / "store" / "inside" / "run.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "run": name}))
    assert store.describe("inside").id == "inside"
    code, output = gapbench("report", "inside", "--store", store.url, "-o", "pages")
    assert code == 0, output
    assert {path.parent for path in tmp_path.rglob("*.html")} == {tmp_path / "pages"}
    assert (tmp_path / "pages" / "inside.html").is_file()
    code, output = gapbench("store", "verify", "--store", store.url)
    assert code == 2  # and it is told
    assert "run.json is of run" in output


@pytest.mark.parametrize("name", HOSTILE)
def test_an_index_that_names_what_is_not_there_is_not_believed(tmp_path, name):
    store = Store(str(tmp_path / "store"))
    a_run(store, "inside", rounds=2)
    about = index.about(store.describe("inside"))
    rows = {"inside": about, name: replace(about, id=name, tag="v1")}
    (tmp_path / "store" / index.FILE).write_bytes(index._dump(rows))
    assert index.load(store).keys() == {"inside", name}  # it is one that is read
    assert Store(store.url).ids() == ["inside"]
    with pytest.raises(GapbenchError):
        store.resolve("v1")


@pytest.mark.parametrize("case", ["../../x", "../..", "/tmp/x", "a/b", "."])
def test_profiles_of_any_case_and_implementation_stay_in_their_run(tmp_path, case):
    store = Store(str(tmp_path / "store"))
    a_run(store, "inside", rounds=2)
    document = {"schema": 1, "case": case, "implementation": f"{case}/f", "status": "ok"}
    for path in profiles.keep(store, "inside", document, {"trace.json.gz": b"x"}):
        assert Path(path).resolve().is_relative_to(tmp_path / "store" / "inside" / "profiles")
