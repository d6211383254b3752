"""The store in an object store: no rename, no locks, no folders, and every request costs."""

import threading
from pathlib import Path

import pytest
from factories import CASE, a_run, run_id

from gapbench.errors import GapbenchError
from gapbench.store.run import decode
from gapbench.store.store import Store
from gapbench.store.verify import verify


def a_round(number):
    whole = {"case": CASE.id, "implementation": "mean", "contender": "this", "clock": "host"}
    return {**whole, "round": number, "process": number, "turn": [0, 1], "seconds_per_call": [1e-5, 2e-5]}


def test_a_run_lives_as_on_a_disk(s3):
    open_store, _ = s3
    assert open_store().runs().empty
    run = a_run(open_store(), tag="shared")
    store = open_store()
    assert store.resolve("shared") == run
    assert len(store.samples([run])) == 24
    assert store.results([run])["status"].tolist() == ["ok", "ok", "unsupported"]
    assert verify(store) == []
    assert store.files(run) == ["results.parquet", "run.json", "samples.parquet"]
    store.prune(run)
    assert open_store().ids() == []


def test_an_interrupted_run_goes_on(s3):
    open_store, _ = s3
    writer = open_store().create(decode({"run": run_id(), "suites": ["quick"]}))
    writer.append(a_round(0))
    writer = open_store().reopen(writer.id)
    writer.append(a_round(1))
    assert open_store().samples([writer.id])["round"].tolist() == [0, 0, 1, 1]


def test_of_two_that_go_on_with_a_run_the_slower_stops_and_overwrites_nothing(s3):
    open_store, _ = s3
    run = open_store().create(decode({"run": run_id(), "suites": ["quick"]})).id
    first, other = open_store().reopen(run), open_store().reopen(run)
    first.append(a_round(0))
    with pytest.raises(GapbenchError, match=f"another process resumed run {run}, so this one stops"):
        other.append(a_round(7))
    with pytest.raises(GapbenchError, match="another process resumed"):
        other.finish(open_store().results([]))
    first.finish(open_store().results([]))
    with pytest.raises(GapbenchError, match="another process resumed"):
        other.append(a_round(8))
    assert open_store().samples([run])["round"].tolist() == [0, 0]
    assert open_store().files(run) == ["results.parquet", "run.json", "samples.parquet"]


def test_many_writers_and_readers_at_once(s3):
    open_store, _ = s3
    failures = []

    def write(day):
        try:
            store = open_store()
            for _ in range(3):
                a_run(store, rounds=2, seed=day)
                store.runs()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(day,)) for day in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    runs = open_store().runs()
    assert len(runs) == 15
    assert runs["complete"].all()
    assert len(open_store().samples()) == 15 * 8


def test_listing_again_takes_as_many_requests_however_many_runs_there_are(s3):
    open_store, requests = s3
    counts = {}
    for runs in (3, 30):
        while len(open_store().folders()) < runs:
            store = open_store()
            writer = store.create(decode({"run": run_id(), "suites": ["quick"], "tag": "mine"}))
            writer.finish(store.results([]))
        open_store().runs()
        requests.take()
        listed = open_store().runs()
        assert (len(listed), set(listed["tag"])) == (runs, {"mine"})
        counts[runs] = sorted(requests.take())
    assert len(counts[3]) == len(counts[30]) <= 3
    assert not any("run.json" in line for line in counts[30])


def test_a_new_run_costs_one_read_and_one_index(s3):
    open_store, requests = s3
    for _ in range(3):
        a_run(open_store(), rounds=1)
    open_store().runs()
    new = a_run(open_store(), rounds=1)
    requests.take()
    assert len(open_store().runs()) == 4
    asked = requests.take()
    assert {line.split()[1] for line in asked if "run.json" in line} == {f"/{open_store().path(new, 'run.json')}"}
    assert sum("run.json" in line for line in asked) == 1
    assert sum(line.startswith("PUT") for line in asked) == 1


def test_an_empty_object_is_damage_and_nothing_else(s3):
    open_store, _ = s3
    good, bad = a_run(open_store(), rounds=1), a_run(open_store(), rounds=1)
    store = open_store()
    for path in (store.path(bad, "run.json"), store.path("index.parquet")):
        store.write(path, b"")
    listed = open_store().runs().set_index("run")
    assert listed.loc[good, "complete"]
    assert bad in listed.index
    assert listed.loc[bad, "unreadable"]


def test_a_whole_id_is_found_without_a_listing(s3):
    open_store, requests = s3
    run = a_run(open_store(), rounds=1)
    requests.take()
    assert open_store().resolve(run) == run
    assert all("run.json" in line for line in requests.take())


def test_no_bucket_is_made_by_a_slip_of_the_pen(s3):
    import fsspec

    with pytest.raises(GapbenchError, match="cannot write to the store s3://nosuch-bucket/results: "):
        Store("s3://nosuch-bucket/results").create(decode({"run": run_id()}))
    assert not fsspec.filesystem("s3").exists("nosuch-bucket")


def test_a_server_that_is_not_there_is_one_clear_error(s3, monkeypatch):
    import fsspec

    fsspec.filesystem("s3").clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1, raising=False)
    with pytest.raises(GapbenchError, match="cannot read from the store s3://bucket/results: "):
        Store("s3://bucket/results").runs()


def test_the_command_line_takes_its_url(s3, gapbench_command):
    open_store, _ = s3
    run = a_run(open_store())
    url = open_store().url
    assert run in gapbench_command("list", "runs", "--store", url, "--json")
    assert "0 damaged" in gapbench_command("store", "verify", "--store", url)


@pytest.fixture
def gapbench_command(monkeypatch, tmp_path, capsys):
    from gapbench import cli

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["gapbench", *arguments])
        assert cli._exit_code() == 0
        return capsys.readouterr().out

    monkeypatch.chdir(Path(tmp_path))
    return run
