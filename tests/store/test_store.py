import io
import json
import re
import shutil
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.errors import GapbenchError
from gapbench.store import records
from gapbench.store.run import decode
from gapbench.store.store import Store, new_run_id, timestamp
from gapbench.workloads.cases import Case

RUN = "20261122T101112Z-abc1234-9f3c"
CASE = Case((2, 3, 4, 4))


def round_of(number, seconds=(1e-5, 2e-5)):
    """Return the samples of one round as `RunWriter.append` takes them: one turn of two implementations."""
    return {
        "case": CASE.id,
        "implementation": ["mean", "adaptive"],
        "contender": "this",
        "clock": "host",
        "round": number,
        "process": 100 + number,
        "turn": [0, 0],
        "position": [1, 0],
        "calls": [7, 8],
        "seconds_per_call": list(seconds),
    }


def results_of(**columns):
    case = records.case_columns(CASE)
    return pd.DataFrame([{**case, "suite": "quick", "implementation": "mean", "status": "ok", "rounds": 3, **columns}])


def start(store, run=RUN, **fields):
    return store.create(decode({"run": run, "started": timestamp(), "suites": ["quick"], **fields}))


def complete(store, run=RUN, **fields):
    writer = start(store, run, **fields)
    writer.append(round_of(0))
    writer.finish(results_of())
    return writer


def parquet(store, run, file):
    """Return a stored file as pyarrow sees it, read past the store."""
    fs, path = fsspec.url_to_fs(f"{store.url}/{run}/{file}")
    return pq.ParquetFile(io.BytesIO(fs.cat_file(path)))


def files(store, run=RUN):
    fs, root = fsspec.url_to_fs(f"{store.url}/{run}")
    return sorted(path.removeprefix(root).lstrip("/") for path in fs.find(root))


@pytest.fixture(params=["path", "file URL", "memory URL", "odd characters"])
def store(request, tmp_path):
    url = {
        "path": str(tmp_path / "results"),
        "file URL": (tmp_path / "results").as_uri(),
        "memory URL": f"memory:/{tmp_path}/results",
        "odd characters": str(tmp_path / "[1] what? *=ü"),
    }[request.param]
    return Store(url)  # tmp_path differs from test to test, in memory too


@pytest.fixture
def local(tmp_path):
    return Store(str(tmp_path / "results"))


# A run's life


def test_a_run_is_readable_while_it_lasts_and_the_same_once_complete(store):
    writer = start(store, tag="mine")
    assert store.describe(RUN).ended is None
    assert store.samples().empty
    for number in range(3):
        writer.append(round_of(number))
    during = store.samples()
    assert during["round"].tolist() == [0, 0, 1, 1, 2, 2]
    assert store.results().empty
    writer.finish(results_of(seconds=1e-5), wall_seconds=12.5)

    after = store.samples([RUN])
    pd.testing.assert_frame_equal(after, during)
    assert store.results()["seconds"].tolist() == [1e-5]
    document = store.describe(RUN)
    assert (document.wall_seconds, document.tag) == (12.5, "mine")
    assert document.started <= document.ended <= timestamp()
    assert files(store) == ["results.parquet", "run.json", "samples.parquet"]


def test_an_interrupted_run_keeps_its_rounds_and_goes_on_where_it_stopped(store):
    writer = start(store)
    writer.append(round_of(0))
    writer.append(round_of(1))
    writer.interrupt(results_of(status="ok"))
    assert store.describe(RUN).ended is None
    assert len(store.samples()) == 4
    assert len(store.results()) == 1

    resumed = store.reopen(RUN)
    assert resumed.run.suites == ("quick",)
    pd.testing.assert_frame_equal(resumed.samples(), store.samples())
    resumed.append(round_of(2))
    assert files(store)[-3:] == [f"shards/00000{number}.parquet" for number in range(3)]
    resumed.finish(results_of())
    assert store.samples()["round"].tolist() == [0, 0, 1, 1, 2, 2]
    assert store.describe(RUN).ended is not None


def test_a_complete_run_is_not_reopened(store):
    complete(store)
    with pytest.raises(GapbenchError, match=f"run {RUN} is complete.*gapbench report"):
        store.reopen(RUN)
    with pytest.raises(GapbenchError, match="there is no run 'other'"):
        store.reopen("other")


def test_a_run_is_never_overwritten_by_another_of_its_name(store):
    complete(store, tag="first")
    with pytest.raises(GapbenchError, match=f"{RUN} is already in"):
        start(store, tag="second")
    assert store.describe(RUN).tag == "first"
    assert len(store.samples()) == 2


def test_a_run_of_nothing_is_complete_too(store):
    start(store).finish(results_of(status="unsupported").iloc[:0])
    assert store.samples().empty
    assert store.results().empty
    assert store.runs()["complete"].tolist() == [True]


def test_a_run_finishes_where_empty_folders_do_not_exist(local):
    """As in object stores, where a folder is no more than the files in it."""
    writer = start(local)
    shutil.rmtree(local.path(RUN, "shards"))
    writer.finish(results_of())
    assert local.describe(RUN).ended is not None


class Failing(Store):
    """A store whose writes fail from the one of ``file`` on."""

    file = "nothing"

    def write(self, path, content):
        if path.endswith(self.file):
            raise GapbenchError("the disk is full")
        super().write(path, content)


@pytest.mark.parametrize("file", ["samples.parquet", "results.parquet", "run.json"])
def test_run_json_comes_last_and_a_failure_before_it_loses_nothing(tmp_path, file):
    store = Failing(str(tmp_path))
    writer = start(store)
    writer.append(round_of(0))
    store.file = file
    with pytest.raises(GapbenchError, match="disk is full"):
        writer.finish(results_of())

    store.file = "nothing"
    assert store.describe(RUN).ended is None
    assert store.samples()["round"].tolist() == [0, 0]
    resumed = store.reopen(RUN)
    resumed.append(round_of(1))
    resumed.finish(results_of())
    assert store.samples()["round"].tolist() == [0, 0, 1, 1]


def test_what_a_killed_writer_left_half_written_is_not_read(local):
    writer = start(local)
    writer.append(round_of(0))
    Path(local.path(RUN, "shards", "000001.parquet.part")).write_bytes(b"PAR1 half a fi")
    assert len(local.samples()) == 2
    assert len(local.reopen(RUN).samples()) == 2


def test_two_writers_and_a_reader_at_once_do_not_disturb_each_other(local):
    runs = [f"20261122T10111{number}Z-abc1234-000{number}" for number in range(2)]
    failures, done = [], threading.Event()

    def write(run, number):
        try:
            writer = start(local, run)
            for index in range(15):
                writer.append(round_of(index, seconds=(number, index)))
            writer.finish(results_of())
        except Exception as error:
            failures.append(error)

    def read():
        while not done.is_set():
            try:
                for document in map(local.describe, local.ids()):
                    assert document.schema == records.SCHEMA
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(run, number)) for number, run in enumerate(runs)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert failures == []
    assert local.ids() == runs
    for number, run in enumerate(runs):
        samples = local.samples([run])
        assert samples["round"].tolist() == [index for index in range(15) for _ in range(2)]
        assert (samples["seconds_per_call"].iloc[::2] == number).all()
        assert (samples["run"] == run).all()


# What is stored

arrow_safe = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
rounds = st.lists(
    st.lists(st.tuples(arrow_safe, st.integers(1, 2**31 - 1), st.floats(0, 1e6)), min_size=1, max_size=4), max_size=4
)


@settings(max_examples=25)
@given(rounds)
def test_every_batch_comes_back_in_order_to_the_last_bit(tmp_path_factory, rounds):
    store = Store(str(tmp_path_factory.mktemp("store")))
    writer = start(store)
    for number, batches in enumerate(rounds):
        implementation, calls, seconds = zip(*batches, strict=True)
        writer.append({"implementation": implementation, "calls": calls, "seconds_per_call": seconds, "round": number})
    written = [(number, *batch) for number, batches in enumerate(rounds) for batch in batches]
    for read in (store.samples, store.reopen(RUN).samples):
        frame = read()[["round", "implementation", "calls", "seconds_per_call"]]
        assert [tuple(row) for row in frame.itertuples(index=False)] == written
    writer.finish(results_of())
    frame = store.samples()[["round", "implementation", "calls", "seconds_per_call"]]
    assert [tuple(row) for row in frame.itertuples(index=False)] == written


@pytest.mark.parametrize(("file", "columns"), [("samples", records.SAMPLES), ("results", records.RESULTS)])
def test_files_have_exactly_the_columns_of_the_contract_in_order(store, file, columns):
    complete(store)
    stored = parquet(store, RUN, f"{file}.parquet")
    schema = stored.schema_arrow
    assert schema.names == list(columns)
    assert [str(kind) for kind in schema.types] == [str(pa.type_for_alias(kind)) for kind in columns.values()]
    assert int(schema.metadata[b"gapbench_schema"]) == records.TABLES == 1
    compressions = {stored.metadata.row_group(0).column(index).compression for index in range(len(columns))}
    assert compressions == {"ZSTD"}
    frame = getattr(store, file)()
    assert list(frame.columns) == list(columns)
    assert frame["run"].tolist() == [RUN] * len(frame)


def test_shards_are_stored_as_samples_are(store):
    start(store).append(round_of(0))
    shard = parquet(store, RUN, "shards/000000.parquet")
    assert shard.schema_arrow.names == list(records.SAMPLES)
    assert int(shard.schema_arrow.metadata[b"gapbench_schema"]) == records.TABLES


SAMPLES = {
    "string": "run case implementation contender clock throttle",
    "int32": "round process turn position calls",
    "float64": "seconds_per_call sm_clock_mhz temperature_c power_w steal",
}
RESULTS = {
    "string": "run suite operation label case shape spatial dtype layout device pass implementation contender clock "
    "status reason stopped_by",
    "int32": "threads rounds samples",
    "int64": "n c elements bytes_moved peak_extra_bytes saved_bytes",
    "float64": "seconds seconds_low seconds_high ratio ratio_low ratio_high gbps ceiling_fraction max_error "
    "max_error_ulp compile_seconds",
}
"""By type, what notebooks rely on. More columns may join; another type needs a new schema version."""


@pytest.mark.parametrize(("columns", "contract"), [(records.SAMPLES, SAMPLES), (records.RESULTS, RESULTS)])
def test_no_column_of_the_contract_is_missing_or_of_another_type(columns, contract):
    for kind, names in contract.items():
        for name in names.split():
            assert columns[name] == kind, name


def test_statuses_and_the_reference_are_those_of_the_contract():
    assert records.STATUSES == ("ok", "unsupported", "wrong", "failed", "timeout", "oom")
    assert records.REFERENCE == "mean"


def test_a_case_fills_its_columns():
    case = Case((8, 2048, 7, 5), "bfloat16", "channels_last", "cuda:1", "backward", 2, "gap", "a head", 3)
    assert records.case_columns(case) == {
        "operation": "gap",
        "label": "a head",
        "case": "8x2048x7x5-bfloat16-channels_last-cuda:1-backward-t2",
        "shape": "8x2048x7x5",
        "n": 8,
        "c": 2048,
        "spatial": "7x5",
        "dtype": "bfloat16",
        "layout": "channels_last",
        "device": "cuda:1",
        "pass": "backward",
        "threads": 2,
        "elements": 8 * 2048 * 35,
        "bytes_moved": 2 * 8 * 2048 * 36,
        "weight": 3,
    }


def test_what_was_not_measured_is_null(store):
    complete(store)
    samples, results = store.samples(), store.results()
    assert samples[["sm_clock_mhz", "temperature_c", "power_w", "throttle", "steal"]].isna().all(axis=None)
    assert results[["ceiling_fraction", "peak_extra_bytes", "saved_bytes", "reason"]].isna().all(axis=None)
    stored = parquet(store, RUN, "results.parquet").read()
    assert stored["peak_extra_bytes"].null_count == stored["reason"].null_count == 1


def test_columns_outside_the_contract_are_not_stored(local):
    writer = start(local)
    writer.append(round_of(0) | {"surprise": 1})
    writer.finish(results_of(surprise=1))
    assert "surprise" not in local.samples()
    assert "surprise" not in local.results()


def test_filters_select_rows(store):
    complete(store, RUN)
    complete(store, RUN.replace("9f3c", "9f3d"))
    assert len(store.samples()) == 4
    assert len(store.samples([RUN])) == 2
    assert store.samples([RUN], implementation="mean")["calls"].tolist() == [7]
    assert len(store.results(dtype="float32", status="ok")) == 2
    assert store.results(dtype="bfloat16").empty
    assert list(store.results(dtype="bfloat16").columns) == list(records.RESULTS)


def test_filters_select_rows_of_a_run_in_progress(store):
    start(store).append(round_of(0))
    assert store.samples(implementation="adaptive")["calls"].tolist() == [8]


# Finding runs


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    store = Store(str(tmp_path_factory.mktemp("several")))
    for run, tag, commit, branch in [
        ("20260101T000000Z-aaaaaaa-0001", "before", "a" * 40, "main"),
        ("20260102T000000Z-bbbbbbb-0002", None, "b" * 40, "main"),
        ("20260103T000000Z-bbbbbbb-0003", None, "b" * 40, "feature/x"),
        ("20260203T000000Z-nogit-0004", "before", None, None),
    ]:
        git = commit and {"commit": commit, "branch": branch, "subject": f"on {branch}"}
        complete(store, run, tag=tag, git=git, machine={"device_description": "a CPU"})
    (Path(store.url) / "README.md").write_text("what lives here")
    (Path(store.url) / "no-run").mkdir()
    return store


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("20260102T000000Z-bbbbbbb-0002", "0002"),
        ("20260101", "0001"),
        ("202602", "0004"),
        ("aaaa", "0001"),
        ("b" * 40, "0003"),
        ("bbbbbbb", "0003"),
        ("main", "0002"),
        ("feature/x", "0003"),
        ("before", "0004"),
        ("latest", "0004"),
        ("0001", "0001"),
    ],
)
def test_a_run_is_found_by_id_part_commit_branch_tag_or_latest(several, name, end):
    assert several.resolve(name).endswith(end)


def test_an_ambiguous_prefix_names_the_candidates(several):
    with pytest.raises(GapbenchError, match="run '202601' is ambiguous.*-0001, .*-0002, .*-0003"):
        several.resolve("202601")


def test_a_tag_is_found_though_ids_begin_like_it_and_a_detached_head_is_no_branch(store):
    for number, (tag, branch) in enumerate([("2", "main"), (None, "HEAD"), (None, "main")], start=1):
        git = {"commit": str(number) * 40, "branch": branch, "subject": ""}
        complete(store, f"2026010{number}T000000Z-{str(number) * 7}-000{number}", tag=tag, git=git)
    assert store.resolve("2").endswith("0001")
    with pytest.raises(GapbenchError, match="there is no run 'HEAD'"):
        store.resolve("HEAD")


@pytest.mark.parametrize("name", ["nonsense", "bbb", "befor", "mai", "004"])
def test_an_unknown_run_names_the_newest_first(several, name):
    with pytest.raises(GapbenchError, match=f"there is no run '{name}'.*newest are: 20260203.*, 20260103"):
        several.resolve(name)


def test_an_empty_store_says_how_to_fill_it(store):
    assert store.ids() == []
    assert store.runs().empty
    assert store.samples().empty
    assert store.results().empty
    with pytest.raises(GapbenchError, match="holds no runs; measure one with: gapbench run"):
        store.resolve("latest")


def test_runs_are_listed_oldest_first_with_what_identifies_them(several):
    runs = several.runs()
    assert [run[-4:] for run in runs["run"]] == ["0001", "0002", "0003", "0004"]
    assert several.ids() == runs["run"].tolist()
    first = runs.iloc[0]
    assert (first["tag"], first["commit"], first["branch"]) == ("before", "a" * 40, "main")
    assert (first["subject"], first["suites"], first["device"]) == ("on main", "quick", "a CPU")
    assert first["complete"]
    assert pd.isna(runs.iloc[3]["commit"])


def test_a_run_in_progress_is_listed_as_such(store):
    start(store)
    assert store.runs()["complete"].tolist() == [False]
    assert store.resolve("latest") == RUN


def test_run_ids_name_time_and_commit():
    assert re.fullmatch(r"\d{8}T\d{6}Z-abcdef0-[0-9a-f]{4}", new_run_id("abcdef0123456789"))
    assert re.fullmatch(r"\d{8}T\d{6}Z-nogit-[0-9a-f]{4}", new_run_id(None))
    assert len({new_run_id(None) for _ in range(20)}) > 15
    then = datetime(2026, 1, 2, 23, 4, 5, tzinfo=timezone(timedelta(hours=-2)))
    assert new_run_id(None, then).startswith("20260103T010405Z-nogit-")
    assert timestamp(then) == "2026-01-03T01:04:05Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", timestamp())


# Removing runs


def test_a_run_is_pruned_by_its_whole_id_and_no_other_is(store):
    other = RUN.replace("9f3c", "9f3d")
    complete(store, RUN)
    complete(store, other)
    for name in ("latest", RUN[:-1], "*", "", ".", "..", f"../{RUN}", f"{RUN}/"):
        with pytest.raises(GapbenchError, match="there is no run .*; write whole ids"):
            store.prune(name)
    store.prune(RUN)
    assert store.ids() == [other]
    assert files(store, other) == ["results.parquet", "run.json", "samples.parquet"]
    assert RUN not in store.folders()


def test_a_run_that_is_cut_short_while_it_is_pruned_is_no_run(local, monkeypatch):
    def fail(path):
        raise PermissionError("not yours")

    complete(local)
    monkeypatch.setattr(local, "remove", fail)
    with pytest.raises(GapbenchError, match=f"cannot remove run {RUN} from .*not yours"):
        local.prune(RUN)
    assert local.ids() == []


# What cannot be read or written


def test_run_json_is_plain_json(local):
    complete(local, tag="größer als")
    text = Path(local.path(RUN, "run.json")).read_text(encoding="utf-8")
    assert json.loads(text)["run"] == RUN
    assert "größer als" in text


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"schema": 1', b"\xff\xfe{", b"[]", b"null", b"7", b"[[1, 2]]", b"{}"]
)
def test_a_damaged_run_json_is_one_clear_error(local, content):
    complete(local)
    Path(local.path(RUN, "run.json")).write_bytes(content)
    for read in (lambda: local.describe(RUN), lambda: local.resolve("latest"), lambda: local.reopen(RUN)):
        with pytest.raises(GapbenchError, match=f"run {RUN}.*(damaged|has schema None)"):
            read()
    unreadable(local)


def unreadable(store):
    """Check that a run that cannot be read is listed with the reason, and that others are as usable as ever."""
    complete(store, other := RUN.replace("20261122", "20261121"), tag="mine")
    rows = store.runs().set_index("run")
    assert list(rows.index) == [other, RUN]
    assert rows.loc[RUN, "unreadable"].startswith(f"run {RUN}")
    assert not rows.loc[RUN, "complete"]
    assert pd.isna(rows.loc[other, "unreadable"])
    assert [store.resolve(name) for name in ("latest", "mine", other, RUN, RUN[:-2])] == [other] * 3 + [RUN] * 2
    errors = []
    assert set(store.results(damaged=errors.append)["run"]) == {other}
    assert set(store.samples(damaged=errors.append)["run"]) == {other}
    assert [str(error) for error in errors] == [rows.loc[RUN, "unreadable"]] * 2


@pytest.mark.parametrize("file", ["samples", "results"])
@pytest.mark.parametrize("kept", [0, 3, 100])
def test_a_truncated_file_is_one_clear_error(local, file, kept):
    complete(local)
    path = Path(local.path(RUN, f"{file}.parquet"))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(GapbenchError, match=rf"run {RUN}: {file}.parquet cannot be read \(.+\)") as raised:
        getattr(local, file)()
    assert "\n" not in str(raised.value)


def test_a_run_of_a_newer_schema_is_refused(local):
    complete(local)
    path = Path(local.path(RUN, "run.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 3}))
    sentence = f"^run {RUN} has schema 3, this gapbench reads 1 and 2; use the gapbench that wrote it$"
    for read in (lambda: local.describe(RUN), lambda: local.reopen(RUN), lambda: local.samples([RUN])):
        with pytest.raises(GapbenchError, match=sentence):
            read()
    unreadable(local)


@pytest.mark.parametrize("file", ["samples", "results"])
@pytest.mark.parametrize("schema", [b"2", b"0"])
def test_a_file_of_another_schema_is_refused(local, file, schema):
    complete(local)
    path = local.path(RUN, f"{file}.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"gapbench_schema": schema}), path)
    with pytest.raises(GapbenchError, match=f"^run {RUN} has schema {schema.decode()}, this gapbench reads 1; use"):
        getattr(local, file)()


def test_a_run_that_lacks_columns_which_joined_since_has_nulls_there(local):
    complete(local)
    complete(local, other := RUN.replace("9f3c", "9f3d"))
    for file, column in (("results", "weight"), ("samples", "steal")):
        path = local.path(RUN, f"{file}.parquet")
        pq.write_table(pq.ParquetFile(path).read().drop_columns([column]), path)
        frame = getattr(local, file)()
        assert set(frame["run"]) == {RUN, other}
        assert frame.loc[frame["run"] == RUN, column].isna().all()
        assert list(frame) == list(getattr(records, file.upper()))


def test_a_column_of_another_type_is_one_clear_error(local):
    complete(local)
    path = local.path(RUN, "samples.parquet")
    stored = pq.ParquetFile(path).read()
    pq.write_table(stored.set_column(stored.schema.names.index("round"), "round", [["one", "two"]]), path)
    with pytest.raises(GapbenchError, match=f"run {RUN}: samples.parquet has a column round of string, not int32"):
        local.samples()


def test_a_shard_of_another_schema_is_refused(local):
    start(local).append(round_of(0))
    path = local.path(RUN, "shards", "000000.parquet")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    for read in (local.samples, lambda: local.reopen(RUN)):
        with pytest.raises(GapbenchError, match="has schema 0"):
            read()


def test_a_path_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for below in ("file", "file/results", "file/deep/results"):
        store = Store(str(tmp_path / below))
        assert store.ids() == []
        with pytest.raises(GapbenchError, match=f"cannot write to the store {re.escape(store.url)}: "):
            start(store)


def test_a_disk_that_fails_later_is_one_clear_error(local):
    writer = start(local)
    shutil.rmtree(local.path(RUN))
    Path(local.path(RUN)).write_text("in the way")
    with pytest.raises(GapbenchError, match="cannot write to the store"):
        writer.append(round_of(0))


@pytest.mark.parametrize("url", ["nosuch://bucket/results", "s4://bucket"])
def test_an_unknown_protocol_is_one_clear_error(url):
    with pytest.raises(GapbenchError, match="cannot open the store '.*': "):
        Store(url)


def test_runs_from_before_a_column_was_added_are_read_with_nulls_there(local):
    complete(local)
    path = Path(local.path(RUN, "results.parquet"))
    pq.write_table(pq.read_table(path).drop_columns(["reference", "weight"]), path)
    results = local.results([RUN])
    assert list(results) == list(records.RESULTS)
    assert results["reference"].isna().all()
    assert results["implementation"].tolist() == ["mean"]


def test_words_that_are_no_utf8_do_not_keep_a_run_from_being_stored(tmp_path):
    store = Store(str(tmp_path))
    typed = b"caf\xe9".decode(errors="surrogateescape")  # as Python gives such an argument
    store.create(decode({"run": "20260101T000000Z-nogit-0001", "argv": ["--tag", typed], "tag": typed}))
    assert store.describe("20260101T000000Z-nogit-0001").tag == "caf?"


def test_a_store_in_a_folder_whose_name_is_no_utf8_is_read(tmp_path):
    store = Store(str(tmp_path / b"caf\xe9:".decode(errors="surrogateescape")))
    complete(store)
    assert store.results([RUN])["implementation"].tolist() == ["mean"]
    assert len(store.samples([RUN]))
