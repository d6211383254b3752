import json
import platform

import pandas as pd
import pytest
from fabricated import CASE, CPU, TORCH, a_run
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench import importing, records, summary
from gapbench.cases import Case
from gapbench.errors import GapbenchError, NothingMatchedError
from gapbench.git import Git
from gapbench.records import Qualification
from gapbench.report import site
from gapbench.run import Machine, Warning
from gapbench.store import Store, timestamp
from gapbench.store.documents import decode
from gapbench.store.pytest_benchmark import writing
from gapbench.store.verify import verify

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def other(tmp_path):
    return Store(str(tmp_path / "other"))


def foreign(implementation="mean", case=CASE.id, data=(2e-5, 4e-5, 1e-5), **extra):
    """Return a benchmark as anybody's pytest-benchmark writes it."""
    stats = {"median": 2e-5, "iterations": 5, "rounds": 3, **({} if data is None else {"data": list(data)})}
    info = {"case": case, "implementation": implementation, **extra}
    return {"name": "test_it", "fullname": f"bench.py::test_it[{implementation}]", "extra_info": info, "stats": stats}


def written(tmp_path, *benchmarks, **fields):
    path = tmp_path / "file.json"
    content = {"benchmarks": list(benchmarks), "datetime": "2026-03-01T10:00:00+00:00", "version": "5.3.1", **fields}
    path.write_text(json.dumps(content))
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
    for number, one in enumerate(rounds):
        for name in names:
            seconds, calls, steal = zip(*one, strict=True)
            writer.append(
                {
                    "case": case.id,
                    "implementation": name,
                    "contender": "this",
                    "clock": "host",
                    "round": number,
                    "turn": range(len(one)),
                    "calls": calls,
                    "seconds_per_call": seconds,
                    "steal": pd.Series(steal, dtype=float),
                }
            )
    found = Qualification(max_error_ulp=0.5, parameters=2**40, code_path="one and another")
    outcomes = [summary.Outcome(suite, case, name, "host", found, None, names[0]) for name in names]
    writer.finish(summary.results(writer.samples(), outcomes))
    back = round_trip(store, other, writer.id, folder / "run.json")
    for before, after in zip(frames(store, writer.id), frames(other, back), strict=True):
        pd.testing.assert_frame_equal(before, after)
    assert verify(other) == []


def test_samples_without_rounds_are_one_round_and_the_run_says_what_that_cannot_support(other, tmp_path):
    path = written(tmp_path, foreign("mean"), foreign("adaptive"), commit_info={"id": COMMIT, "branch": "(unknown)"})
    run = importing.import_file(other, path, tag="theirs")
    samples, results = frames(other, run.id)
    assert samples["seconds_per_call"].tolist() == [2e-5, 4e-5, 1e-5] * 2
    assert samples["calls"].tolist() == [5] * 6
    assert samples["round"].tolist() == [0] * 6
    assert samples["turn"].is_unique  # nothing pairs them: they ran one after the other
    assert samples[["process", "position", "steal"]].isna().all(axis=None)
    assert results["seconds"].tolist() == pytest.approx([2e-5, 2e-5], rel=1e-12)
    assert results["rounds"].tolist() == [1, 1]
    unknown = ["seconds_low", "ratio", "ratio_low", "max_error", "suite", "reference", "stopped_by", "compile_seconds"]
    assert results[unknown].isna().all(axis=None)
    assert set(results["clock"]) == {"pytest-benchmark"}
    assert run.id.startswith("20260301T100000Z-0123456-")
    assert (run.tag, run.git.commit, run.git.branch) == ("theirs", COMMIT, None)
    (warning,) = run.warnings
    assert "2 of its benchmarks" in warning.evidence
    assert "no interval and no ratio" in warning.evidence
    assert verify(other) == []
    (winner,) = summary.winners(other.results(), other.samples()).to_dict("records")
    assert len(winner["ties"]) == 1  # nothing shows one to be slower


def test_a_suite_of_other_people_that_names_its_cases(other, pytester):
    pytester.makepyfile(f"""
        def test_mine(benchmark):
            benchmark.extra_info.update(case={CASE.id!r}, implementation="mine")
            benchmark.pedantic(sum, args=([1, 2],), rounds=5, iterations=3)

        def test_sorting(benchmark):
            benchmark(sorted, [2, 1])
    """)
    pytester.runpytest_subprocess("--benchmark-json=out.json", "-p", "no:cacheprovider").assert_outcomes(passed=2)
    path = pytester.path / "out.json"
    run = importing.import_file(other, path)
    stats = {one["name"]: one["stats"] for one in json.loads(path.read_text())["benchmarks"]}["test_mine"]
    samples, results = frames(other, run.id)
    assert samples["seconds_per_call"].tolist() == stats["data"]
    assert samples["calls"].tolist() == [3] * 5
    assert results["seconds"].tolist() == pytest.approx([stats["median"]], rel=1e-9)  # of an odd number
    assert run.versions["python"] == platform.python_version()
    assert "torch" not in run.versions
    assert run.machine.cpu
    assert any(warning.evidence.startswith("1 of 2 benchmarks were left out") for warning in run.warnings)


def test_a_file_of_the_plugin_does_not_claim_its_replay_as_calls(other, tmp_path):
    entry = foreign(run="20260101T000000Z-nogit-0000", clock="host")
    run = importing.import_file(other, written(tmp_path, entry))
    samples, _ = frames(other, run.id)
    assert samples["calls"].isna().all()
    assert set(samples["clock"]) == {"host"}


def test_a_file_without_data_has_no_samples_and_says_so(other, tmp_path):
    run = importing.import_file(other, written(tmp_path, foreign(data=None), foreign("adaptive")))
    samples, results = frames(other, run.id)
    assert set(samples["implementation"]) == {"adaptive"}
    row = results[results["implementation"] == "mean"].iloc[0]
    assert row["seconds"] == 2e-5
    assert pd.isna(row["samples"])
    assert pd.isna(row["rounds"])
    assert any("1 benchmarks of file.json have a median and no samples" in warning.evidence for warning in run.warnings)
    assert verify(other) == []
    winners = summary.winners(other.results(), other.samples())
    assert len(winners) == 1


def test_a_run_of_nothing_but_medians_can_be_ranked_and_reported(other, tmp_path):
    path = written(tmp_path, foreign(data=None), foreign("adaptive", data=None))
    run = importing.import_file(other, path)
    assert other.samples().empty
    winners = summary.winners(other.results(), other.samples())
    assert winners["ties"].map(len).tolist() == [1]
    (page,) = site.write(other, [run.id], tmp_path / "pages")
    assert "have a median and no samples" in page.read_text(encoding="utf-8")


def test_benchmarks_that_are_no_cases_are_left_out_and_counted(other, tmp_path):
    strangers = [
        {"fullname": "a.py::test_sort", "stats": {"median": 1.0}},
        foreign(case="small"),
        foreign(case="1x2x3-float99-contiguous-cpu-forward-t1"),
        foreign(case=7),
        foreign(implementation="\x1b[2Jmean"),
        foreign(implementation=""),
        foreign(implementation="m" * 1000),
        {"extra_info": [], "name": None},
        "nonsense",
        None,
    ]
    run = importing.import_file(other, written(tmp_path, *strangers, foreign()))
    assert len(other.results()) == 1
    assert any(
        w.evidence.startswith("10 of 11 benchmarks were left out")
        and "a.py::test_sort" in w.evidence
        and "benchmark 8" not in w.evidence
        for w in run.warnings
    )
    assert all(str(warning).isprintable() for warning in run.warnings)
    with pytest.raises(NothingMatchedError, match=r"^none of the 10 benchmarks of .*file.json is a case: extra_info"):
        importing.import_file(other, written(tmp_path, *strangers))
    with pytest.raises(NothingMatchedError, match="none of the 0 benchmarks"):
        importing.import_file(other, written(tmp_path))


@pytest.mark.parametrize("value", [0, -1e-6, float("nan"), float("inf"), "1e-6", None, True, 10**400, [1e-6]])
def test_times_that_are_none_are_refused_before_anything_is_stored(other, tmp_path, value):
    for entry in (foreign(data=[1e-6, value]), foreign() | {"stats": {"median": value}}):
        with pytest.raises(GapbenchError, match=r"^bench.py::test_it\[mean\]: stats.median and stats.data must be"):
            importing.import_file(other, written(tmp_path, entry))
    assert other.ids() == []


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
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
def test_what_claims_to_be_ours_and_is_not_is_refused(other, tmp_path, extra, sentence):
    with pytest.raises(GapbenchError, match=sentence) as raised:
        importing.import_file(other, written(tmp_path, foreign(**extra)))
    assert "\n" not in str(raised.value)
    assert other.ids() == []


def test_floats_may_be_written_as_long_integers(other, tmp_path):
    batch = {"round": [0, 0, 0], "turn": [0, 1, 2], "steal": [2**70, 0, None]}
    importing.import_file(other, written(tmp_path, foreign(batch=batch, kept={"max_error": 2**80})))
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
    with pytest.raises(GapbenchError, match="has mean on .* by pytest-benchmark 2 times"):
        importing.import_file(other, written(tmp_path, foreign(), foreign()))


def test_a_time_that_is_unknown_stays_unknown(other, tmp_path):
    run = importing.import_file(other, written(tmp_path, foreign(), datetime="yesterday"))
    assert run.started is None
    assert run.git is None
    assert other.runs()["complete"].tolist() == [True]


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
