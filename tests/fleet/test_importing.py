import json

import pandas as pd
import pytest
from factories import CASE, CPU, TORCH, a_run
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.analysis import summary
from gapbench.errors import ExitCode, GapbenchError
from gapbench.fleet import importing
from gapbench.repository.git import Git
from gapbench.store import pytest_benchmark as writing
from gapbench.store import records
from gapbench.store.records import Qualification
from gapbench.store.run import Machine, Warning, decode
from gapbench.store.store import Store, timestamp
from gapbench.store.verify import verify
from gapbench.workloads.cases import Case

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RUN = "20260101T000000Z-nogit-0000"


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def other(tmp_path):
    return Store(str(tmp_path / "other"))


def entry(implementation="mean", data=(2e-5, 4e-5, 1e-5), **extra):
    """Return a benchmark as an export has it."""
    batch = {"round": [0, 0, 1], "turn": [0, 1, 0], "calls": [5, 5, 5]}
    info = {"run": RUN, "case": CASE.id, "implementation": implementation, "contender": "this", "clock": "host"}
    return {
        "fullname": f"quick::{implementation}",
        "extra_info": {**info, "batch": batch, "kept": {}, **extra},
        "stats": {"data": list(data)},
    }


def written(tmp_path, *benchmarks, **fields):
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"benchmarks": list(benchmarks), "datetime": "2026-03-01T10:00:00+00:00", **fields}))
    return path


def frames(store, run):
    order = ["case", "implementation", "contender", "clock"]
    samples = store.samples([run]).sort_values([*order, "round", "turn"], ignore_index=True)
    results = store.results([run], status="ok").sort_values(order, ignore_index=True)
    return samples.drop(columns="run"), results.drop(columns="run")


def round_trip(store, other, run, path):
    writing.write(path, writing.document(store.describe(run), store.results([run]), store.samples([run])))
    return importing.import_file(other, path).id


def test_our_own_export_comes_back_whole(store, other, tmp_path):
    git = {"commit": COMMIT, "branch": "main", "subject": "Faster", "dirty": True, "diff_hash": "abc"}
    run = a_run(store, git=git, started="2026-05-06T07:08:09Z", warnings=["the load was 3"])
    back = round_trip(store, other, run, tmp_path / "run.json")
    for before, after in zip(frames(store, run), frames(other, back), strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert back.startswith("20260506T070809Z-0123456-")
    document = other.describe(back)
    assert document.git == Git(**git)
    assert (document.machine, document.versions, document.suites) == (Machine(**CPU | {"gpus": ()}), TORCH, ("quick",))
    assert document.started == "2026-05-06T07:08:09Z"
    assert document.warnings == (Warning(evidence="the load was 3"),)
    assert document.imported.run == run
    assert verify(other) == []
    pd.testing.assert_frame_equal(
        summary.winners(store.results(), store.samples()), summary.winners(other.results(), other.samples())
    )


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
times = st.floats(1e-9, 1e3)
cases = st.builds(
    Case,
    st.lists(st.integers(1, 99), min_size=3, max_size=5).map(tuple),
    st.sampled_from(["float32", "bfloat16"]),
    device=st.sampled_from(["cpu", "cuda", "cuda:1"]),
    pass_=st.sampled_from(["forward", "training"]),
    threads=st.integers(1, 64),
    operation=st.sampled_from(["gap", "classifier_head"]),
    label=words,
    weight=st.integers(1, 20),
)
batches = st.lists(st.tuples(times, st.integers(1, 2**31 - 1), st.none() | st.floats(0, 1)), min_size=1, max_size=3)


@settings(max_examples=25)
@given(cases, st.lists(words, min_size=1, max_size=3, unique=True), st.lists(batches, min_size=1, max_size=4), words)
def test_every_export_keeps_what_was_stored(tmp_path_factory, case, names, rounds, suite):
    folder = tmp_path_factory.mktemp("trip")
    store, other = Store(str(folder / "results")), Store(str(folder / "other"))
    writer = store.create(decode({"run": "20260101T000000Z-nogit-0000", "started": timestamp(), "suites": [suite]}))
    for number, batch in enumerate(rounds):
        for name in names:
            seconds, calls, steal = zip(*batch, strict=True)
            writer.append(
                {
                    "case": case.id,
                    "implementation": name,
                    "contender": "this",
                    "clock": "host",
                    "round": number,
                    "turn": range(len(batch)),
                    "calls": calls,
                    "seconds_per_call": seconds,
                    "steal": pd.Series(steal, dtype=float),
                }
            )
    qualification = Qualification(max_error_ulp=0.5, parameters=2**40, code_path="one and another")
    outcomes = [summary.Outcome(suite, case, name, "host", qualification, None, names[0]) for name in names]
    writer.finish(summary.results(writer.samples(), outcomes))
    back = round_trip(store, other, writer.id, folder / "run.json")
    for before, after in zip(frames(store, writer.id), frames(other, back), strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert verify(other) == []


@pytest.mark.parametrize(
    "benchmarks",
    [
        [],
        [None],
        ["nonsense"],
        [{"fullname": "a.py::test_sort", "stats": {"data": [1.0]}}],
        [entry(run=None)],
        [entry(run="\x1b[2J")],
        [entry(batch=None)],  # as pytest --benchmark-json of our suites
        [entry(), entry("adaptive", run="20260102T000000Z-nogit-0000")],
        [entry(), {"fullname": "a.py::test_sort", "stats": {"data": [1.0]}}],
    ],
)
def test_files_of_others_are_refused_with_the_remedy(other, tmp_path, benchmarks):
    with pytest.raises(GapbenchError, match="file.json is not an export of gapbench; write one with: ") as raised:
        importing.import_file(other, written(tmp_path, *benchmarks))
    assert raised.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(raised.value)
    assert other.ids() == []


def test_what_pytest_benchmark_writes_is_refused(other, pytester):
    pytester.makepyfile(f"""
        def test_mine(benchmark):
            benchmark.extra_info.update(run={RUN!r}, case={CASE.id!r}, implementation="mine", clock="host")
            benchmark.pedantic(sum, args=([1, 2],), rounds=5, iterations=3)
    """)
    pytester.runpytest_subprocess("--benchmark-json=out.json", "-p", "no:cacheprovider").assert_outcomes(passed=1)
    with pytest.raises(GapbenchError, match="out.json is not an export of gapbench"):
        importing.import_file(other, pytester.path / "out.json")


@pytest.mark.parametrize("value", [0, -1e-6, float("nan"), float("inf"), "1e-6", None, True, 10**400, [1e-6]])
def test_times_that_are_none_are_refused_before_anything_is_stored(other, tmp_path, value):
    for stats in ({"data": [1e-6, value, 1e-6]}, {"data": []}, {}, None):
        with pytest.raises(GapbenchError, match=r"file.json: quick::mean: stats.data must be seconds, above 0"):
            importing.import_file(other, written(tmp_path, entry() | {"stats": stats}))
    assert other.ids() == []


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ({"case": 7}, "must give case, implementation, contender and clock"),
        ({"case": "1x2x3-float99-contiguous-cpu-forward-t1"}, "must give case"),
        ({"implementation": "m" * 1000}, "must give case"),
        ({"contender": None}, "must give case"),
        ({"clock": "\x1b[2J"}, "must give case"),
        ({"batch": {}}, "round and turn of its own"),
        ({"batch": {"round": [0, 0, 0]}}, "round and turn of its own"),
        ({"batch": {"round": [0, 0, 0], "turn": [0, 1, 1]}}, "round and turn of its own"),
        ({"batch": {"round": [0, None, 0], "turn": [0, 1, 2]}}, "round and turn of its own"),
        ({"batch": {"round": [None] * 3, "turn": [None] * 3}}, "round and turn of its own"),
        ({"batch": {"round": [0, 0], "turn": [0, 1]}}, "batch.round must be 3 values of int32"),
        ({"batch": {"round": [0, 0, 0], "turn": [0, 1, 2**31]}}, "batch.turn must be 3 values of int32"),
        ({"batch": {"round": [0, 0, 0], "turn": [0, 1, 2.5]}}, "batch.turn must be"),
        ({"batch": {"round": 0, "turn": [0, 1, 2]}}, "batch.round must be"),
        ({"batch": {"round": [0, 0, 0], "turn": [0, 1, 2], "throttle": ["\x1b", "", ""]}}, "batch.throttle must be"),
        ({"kept": {"weight": "heavy"}}, "kept.weight must be of int32"),
        ({"kept": {"suite": 7}}, "kept.suite must be of string"),
        ({"kept": {"peak_extra_bytes": 2**70}}, "kept.peak_extra_bytes must be of int64"),
        ({"kept": {"status": "wrong"}}, "kept.status must be ok"),
    ],
)
def test_a_damaged_export_is_refused_before_anything_is_stored(other, tmp_path, extra, sentence):
    with pytest.raises(GapbenchError, match=sentence) as raised:
        importing.import_file(other, written(tmp_path, entry(**extra)))
    assert "\n" not in str(raised.value)
    assert other.ids() == []


def test_floats_may_be_written_as_long_integers(other, tmp_path):
    batch = {"round": [0, 0, 0], "turn": [0, 1, 2], "steal": [2**70, 0, None]}
    importing.import_file(other, written(tmp_path, entry(batch=batch, kept={"max_error": 2**80})))
    assert other.samples()["steal"].tolist()[:2] == [2.0**70, 0.0]
    assert other.results()["max_error"].tolist() == [2.0**80]


def test_nothing_is_imported_twice(store, other, tmp_path):
    run = a_run(store)
    path = tmp_path / "run.json"
    back = round_trip(store, other, run, path)
    with pytest.raises(GapbenchError, match=f"is of run {run}, which is in .*results already"):
        importing.import_file(store, path)
    with pytest.raises(GapbenchError, match=f"was imported before, as run {back}"):
        importing.import_file(other, path)
    with pytest.raises(GapbenchError, match="file.json is damaged: it has mean on .* by host 2 times"):
        importing.import_file(other, written(tmp_path, entry(), entry()))


def test_a_time_that_is_unknown_stays_unknown(other, tmp_path):
    run = importing.import_file(other, written(tmp_path, entry(), datetime="yesterday"))
    assert run.started is None
    assert run.git is None
    assert other.runs()["complete"].tolist() == [True]


def test_both_conditions_of_memory_come_back(store, other, tmp_path):
    run = a_run(store, memories=("kept", "fresh"))
    back = round_trip(store, other, run, tmp_path / "run.json")
    order = ["memory", "implementation", "round", "turn"]
    for before, after in zip(frames(store, run), frames(other, back), strict=True):
        keys = [name for name in order if name in before]
        pd.testing.assert_frame_equal(
            before.sort_values(keys, ignore_index=True), after.sort_values(keys, ignore_index=True), check_like=True
        )
    assert sorted(other.results([back])["memory"]) == ["fresh", "fresh", "kept", "kept"]
    assert verify(store) == verify(other) == []


def test_two_contenders_come_back_as_two(store, other, tmp_path):
    run = a_run(store)
    samples = pd.concat([store.samples([run]), store.samples([run]).assign(contender="base")])
    results = pd.concat([store.results([run]), store.results([run]).assign(contender="base")])
    path = tmp_path / "both.json"
    writing.write(path, writing.document(store.describe(run), results, samples))
    importing.import_file(other, path)
    assert sorted(other.results()["contender"]) == ["base", "base", "this", "this"]
    assert other.results()["ratio"].notna().all()
    assert records.RESULTS.keys() == set(other.results())
    assert verify(other) == []


def test_what_is_true_or_false_comes_back(store, other, tmp_path):
    run = a_run(store)
    results = store.results([run]).assign(deterministic=True, batch_invariant=False)
    document = writing.document(store.describe(run), results, store.samples([run]))
    kept = document["benchmarks"][0]["extra_info"]["kept"]
    assert (kept["deterministic"], kept["batch_invariant"]) == (True, False)
    kept["deterministic"] = 1  # as exports had it
    writing.write(tmp_path / "run.json", document)
    importing.import_file(other, tmp_path / "run.json")
    assert (other.results()["deterministic"].all(), other.results()["batch_invariant"].any()) == (True, False)
