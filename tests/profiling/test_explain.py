"""Test explanations of differences with known causes."""

import math
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories import CASE, a_run
from hypothesis import assume, given
from hypothesis import strategies as st
from profiled import document, operator

from gapbench.analysis.compare import Row
from gapbench.measuring.plan import Source
from gapbench.profiling import explain
from gapbench.profiling.explain import compare
from gapbench.profiling.profiles import Profile
from gapbench.profiling.split import PARTS
from gapbench.statistics.verdicts import Verdict
from gapbench.store import profiles as kept
from gapbench.store.store import Store

SUM = ("aten::sum", ("float32",))
COPY = ("aten::copy_", ("float32", "float32"))


def profile(seconds, rows, faults=0.0, fault_share=0.0, **shares):
    """A profile of ``seconds``; shares in per cent, the rest is the kernel's; ``rows`` are operators' own seconds."""
    whole = {part: shares.get(part, 0.0) for part in PARTS}
    whole["kernel"] = 100.0 - sum(whole.values())
    operators = [operator(name, dtypes, own, calls=calls) for (name, dtypes), (own, calls) in rows.items()]
    return document(
        seconds=seconds, shares=whole, operators=operators, page_faults=faults, page_fault_share=fault_share
    )


def explained(base, head, **facts):
    result = compare(base, head, **facts)
    return result, [item.sentence for item in result.findings]


def test_an_extra_copy_is_named_with_its_part_of_the_difference():
    base = profile(12e-6, {SUM: (12e-6, 1)})
    head = profile(57e-6, {SUM: (16e-6, 1), COPY: (41e-6, 1)})
    result, sentences = explained(base, head, ratio=4.75)
    assert result.sentence == (
        "`mean` takes 4.75× as long when profiled (12.0 µs in base, 57.0 µs in head), 4.75× when compared"  # noqa: RUF001
    )
    assert sentences == [
        "aten::copy_ (float32) is new, and moves 977 KiB: 41.0 µs of the 45.0 µs",
        "aten::sum (float32) takes 1.33× as long (12.0 µs → 16.0 µs): 4.00 µs of the 45.0 µs",  # noqa: RUF001
        "a call dispatches 2 operators, was 1 (in their times above: 0 ns → 0 ns)",
    ]


def test_the_profilers_own_time_belongs_to_no_operator():
    """The profiler adds 1 µs per event; findings have the times without it."""
    base = profile(10e-6, {SUM: (11e-6, 1)})
    head = profile(30e-6, {SUM: (11e-6, 1), COPY: (21e-6, 1)})
    result, _ = explained(base, head)
    assert [(item.kind, item.seconds) for item in result.findings[:1]] == [("operator", pytest.approx(20e-6))]


def test_page_faults_python_waiting_and_what_is_left_are_reported():
    base = profile(10e-6, {SUM: (10e-6, 1)}, faults=1, python=0.0)
    head = profile(
        100e-6, {SUM: (10e-6, 1)}, faults=40, fault_share=40, allocation=50, python=20, gaps=5, unexplained=15
    )
    _, sentences = explained(base, head)
    assert sentences == [
        "page faults (1.00 → 40.0 a call): 40.0 µs of the 90.0 µs",
        "Python outside of operators: 20.0 µs of the 90.0 µs",
        "getting memory: 10.0 µs of the 90.0 µs",
        "waiting: off the core, or idle: 5.00 µs of the 90.0 µs",
        "unexplained: 15.0 µs of the 90.0 µs",
    ]


def test_kernels_of_an_accelerator_are_told_apart_from_their_dispatch():
    rows = [operator("aten::sum", (), 5e-6), operator("reduce_kernel", (), 10e-6, device=True)]
    slow = [operator("aten::sum", (), 5e-6), operator("reduce_kernel", (), 40e-6, device=True)]
    base = profile(20e-6, {}, dispatch=50) | {"operators": rows}
    head = profile(50e-6, {}, dispatch=20) | {"operators": slow}
    _, sentences = explained(base, head)
    assert sentences == ["reduce_kernel takes 4.00× as long (10.0 µs → 40.0 µs): 30.0 µs of the 30.0 µs"]  # noqa: RUF001


def test_code_of_another_runtime_is_outside_of_operators():
    _, sentences = explained(profile(10e-6, {SUM: (1e-6, 1)}), profile(20e-6, {SUM: (1e-6, 1)}))
    assert sentences[0] == "code outside of PyTorch's operators (9.00 µs → 19.0 µs): 10.0 µs of the 10.0 µs"


def test_changed_generated_code_is_shown():
    old, new = (
        document(
            seconds=seconds,
            generated={"kernels": [kernel], "fallbacks": [], "recompilations": again, "graph_breaks": 0},
        )
        for seconds, kernel, again in ((1e-5, "cpp_fused_mean_0", 0), (2e-5, "cpp_fused_mean_sin_0", 1))
    )
    sources = {"generated.py": "a\nb\nc\n"}, {"generated.py": "a\nx\ny\nc\n"}
    result, sentences = explained(old, new, sources=sources)
    assert "Inductor's kernels are cpp_fused_mean_sin_0, were cpp_fused_mean_0" in sentences
    assert "recompilations: 1, were 0" in sentences
    assert "Inductor's generated.py differs: 2 lines more, 1 less" in sentences
    assert result.source_diff["generated.py"].splitlines()[-4:] == ["-b", "+x", "+y", " c"]


def test_long_source_diffs_are_cut_and_counted_in_full():
    sources = {"generated.py": ""}, {"generated.py": "x\n" * 1000}
    result, sentences = explained(document(), document(seconds=2e-5), sources=sources)
    assert "Inductor's generated.py differs: 1000 lines more, 0 less" in sentences
    assert result.source_diff["generated.py"].endswith("… 803 more")


def test_profiles_that_do_not_show_the_regression_say_so():
    base, head = profile(10e-6, {SUM: (10e-6, 1)}), profile(9e-6, {SUM: (9e-6, 1)})
    result, sentences = explained(base, head, ratio=1.3)
    assert "the profiles may not show the cause" in result.sentence
    assert sentences == ["aten::sum (float32) takes 0.90× as long (10.0 µs → 9.00 µs): 1.00 µs less"]  # noqa: RUF001


def test_a_side_that_could_not_be_profiled_explains_nothing_and_says_why():
    result = compare(document(), document(status="failed", reason="no"))
    assert (result.sentence, result.seconds, result.findings) == ("head could not be profiled: no", None, ())


@st.composite
def profiles(draw):
    times = st.floats(1e-7, 1e-3)
    names = st.sampled_from(["aten::sum", "aten::copy_", "aten::empty", "aten::view", "other"])
    dtypes = st.sampled_from([(), ("float32",), ("bfloat16", "float32")])
    rows = draw(st.dictionaries(st.tuples(names, dtypes), st.tuples(times, st.integers(1, 5)), max_size=6))
    parts = draw(st.lists(st.floats(0, 16), min_size=4, max_size=4))
    shares = dict(zip(("python", "dispatch", "allocation", "gaps"), parts, strict=True))
    unexplained = draw(st.floats(-5, 5))
    return profile(
        draw(times), rows, draw(st.floats(0, 9)), shares["allocation"] / 2, **shares, unexplained=unexplained
    )


@given(profiles(), profiles(), st.floats(0.5, 5))
def test_findings_add_up_to_the_difference_and_the_costly_come_first(base, head, ratio):
    result = compare(base, head, ratio)
    timed = [item for item in result.findings if item.seconds is not None]
    assert math.isclose(
        sum(item.seconds for item in timed), head["seconds"] - base["seconds"], abs_tol=1e-8 * head["seconds"] + 1e-12
    )
    main = [item.seconds for item in timed if item.kind not in ("smaller", "unexplained")]
    assert main == sorted(main, reverse=True)
    assert [*asdict(result)["findings"]] == [
        {"kind": item.kind, "sentence": item.sentence, "seconds": item.seconds} for item in result.findings
    ]


@given(profiles())
def test_a_profile_does_not_differ_from_itself(item):
    assert compare(item, item).findings == ()


@given(profiles(), st.floats(1e-6, 1e-3))
def test_a_new_operator_explains_what_it_takes(base, extra):
    assume("new" not in [row["name"] for row in base["operators"]])
    seconds = base["seconds"]
    shares = {part: share * seconds / (seconds + extra) for part, share in base["shares"].items()}
    shares["kernel"] += 100 * extra / (seconds + extra)
    fault_share = base["page_fault_share"] * seconds / (seconds + extra)
    # operators that a profiler does not slow: their own times are all there is
    paid = {"operators": [], "page_fault_share": base["page_fault_share"]}
    head = base | {"seconds": seconds + extra, "shares": shares, "page_fault_share": fault_share}
    head |= {"operators": [operator("new", (), extra)]}
    result = compare(base | paid, head)
    assert result.findings[0].sentence.startswith("new is new")
    assert result.findings[0].seconds == pytest.approx(extra)


BASE, HEAD = Source(Path("/base")), Source(Path("/head"))


def row(name="pool", clock="host", **changes):
    return Row("ci", CASE.id, name, clock, f"{name}.py:{name}", Verdict.REGRESSED, **{"ratio": 2.0, **changes})


@pytest.fixture
def profiling(monkeypatch):
    """Return documents in the order of the requests of each side; collect the requests."""
    given, asked = {BASE: [], HEAD: []}, []

    def item(_server, name, request):
        asked.append((name, request.source, request.spec))
        result = given[request.source].pop(0)
        return Profile(result | {"implementation": name}, {"generated.py": result["sentence"].encode()})

    server = SimpleNamespace(wait_ready=lambda: None)
    monkeypatch.setattr(explain, "ForkServer", lambda *_, **__: nullcontext(server))
    monkeypatch.setattr(explain, "profile_one", item)
    return SimpleNamespace(given=given, asked=asked)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


def of(seconds):
    return document(seconds=seconds, sentence=f"{seconds}")


def test_the_middle_of_three_processes_of_each_side_is_compared_and_kept(profiling, store):
    run = a_run(store)
    profiling.given[BASE] = [of(3e-5), of(1e-5), of(2e-5)]
    profiling.given[HEAD] = [of(6e-5), of(4e-5), of(9e-5)]
    assert list(explain.explain(store, run, [row(), row(clock="host_cold")], BASE, HEAD)) == [row()]
    assert profiling.asked == [("pool", source, "pool.py:pool") for _ in range(3) for source in (BASE, HEAD)]
    base, head = kept.read(store, run)[CASE.id]
    assert (base["side"], base["seconds"], base.get("explanation")) == ("base", 2e-5, None)
    assert (head["side"], head["seconds"]) == ("head", 6e-5)
    assert head["explanation"]["seconds"] == pytest.approx(4e-5)
    assert "2.00" in head["explanation"]["sentence"]  # the ratio of the comparison
    assert "+6e-05" in head["explanation"]["source_diff"]["generated.py"]
    assert Path(store.path(run, "profiles", CASE.id, "pool.base.generated.py")).read_bytes() == b"2e-05"


def test_a_process_that_failed_explains_nothing_and_the_next_row_is_explained(profiling, store):
    run = a_run(store)
    failed = document(status="failed", reason="its process was killed", sentence="")
    profiling.given[BASE] = [of(1e-5) for _ in range(6)]
    profiling.given[HEAD] = [of(2e-5), failed, of(2e-5), *(of(2e-5) for _ in range(3))]
    assert len(list(explain.explain(store, run, [row(), row("other")], BASE, HEAD))) == 2
    result = {(item["implementation"], item["side"]): item for item in kept.read(store, run)[CASE.id]}
    assert result["pool", "head"]["explanation"]["sentence"] == "head could not be profiled: its process was killed"
    assert result["other", "head"]["explanation"]["seconds"] == pytest.approx(1e-5)
