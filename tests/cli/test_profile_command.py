"""``gapbench profile`` from the inside; real profiles of small cases on the CPU."""

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest
from factories import CASE, a_run

from gapbench.profiling import profiles as profiling
from gapbench.profiling.split import PARTS
from gapbench.store.store import Store

SMALL = "2x3x4x4-float32-contiguous-cpu-forward-t1"
assert CASE.id == SMALL


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


@pytest.fixture
def no_profiling(monkeypatch):
    monkeypatch.setattr(profiling, "profile", lambda *_, **__: pytest.fail("profiled"))


def digests(folder):
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and "profiles" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_profiles_of_a_stored_run_lie_beside_it_and_its_page_shows_them(gapbench, store, user_file):
    run = a_run(store, plan=[{"case": SMALL, "specs": {"mean": "mean", "adaptive": "adaptive"}}])
    before = digests(store.path(run))
    code, out, err = gapbench("profile", SMALL)
    assert code == 0, err
    assert re.search(r"^mean: \d+ % of the time is \w+; the most expensive operator is aten::\w+$", out, re.MULTILINE)
    assert f"gapbench report {run}" in out
    folder = Path(store.path(run, "profiles", SMALL))
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{ending}" for name in ("mean", "adaptive") for ending in ("json", "trace.json.gz")
    }
    trace = json.loads(gzip.decompress((folder / "mean.trace.json.gz").read_bytes()))
    assert any(event.get("name") == "aten::mean" for event in trace["traceEvents"])
    assert digests(store.path(run)) == before
    assert gapbench("store", "verify")[:2] == (0, "1 run checked, 0 damaged\n")
    code, out, err = gapbench("report", run, "-o", "pages")
    assert code == 0, err
    assert "the most expensive operator is aten::" in Path("pages", f"{run}.{SMALL}.html").read_text()


COMPILED = "import torch\n\ndef mine(x):\n    return x.mean((2, 3), keepdim=True)\n"


def test_without_a_run_profiles_go_to_a_folder_and_json_is_one_document(gapbench, user_file, tmp_path):
    own = user_file("mine", COMPILED)
    options = ["--impl", "mean", "--impl", "compiled_mean", "--impl", "triton", "--impl", own, "-o", "mine", "--json"]
    code, out, err = gapbench("profile", SMALL, *options)
    document = json.loads(out)
    assert code == 0, err
    assert (document["schema"], document["run"], document["case"]) == (1, None, SMALL)
    by_name = {profile["implementation"]: profile for profile in document["profiles"]}
    assert [profile["status"] for profile in by_name.values()] == ["ok", "ok", "unsupported", "ok"]
    assert "need a GPU" in by_name["triton"]["reason"]
    for name in ("mean", "compiled_mean", "mine"):
        profile = by_name[name]
        assert tuple(profile["shares"]) == PARTS
        assert sum(profile["shares"].values()) == pytest.approx(100)
        assert profile["seconds"] > 0
        assert profile["peak_extra_bytes"] >= 2 * 3 * 4  # the output
        assert {counter["name"] for counter in profile["counters"]} >= {"cycles", "page-faults"}
        assert all((counter["value"] is None) == bool(counter["reason"]) for counter in profile["counters"])
    mean = {row["name"]: row for row in by_name["mean"]["operators"]}
    assert mean["aten::mean"]["calls"] == 1
    assert mean["aten::sum"]["bytes"] == 4 * (2 * 3 * 16 + 2 * 3)
    generated = by_name["compiled_mean"]["generated"]
    assert generated["kernels"] == ["cpp_fused_mean_0"]
    assert (generated["fallbacks"], generated["recompilations"]) == ([], 0)
    assert "cpp_fused_mean_0" in (tmp_path / "mine" / SMALL / "compiled_mean.generated.py").read_text()
    assert not (tmp_path / "results").exists()


BROKEN = """
import torch

started = torch.autograd.profiler.profile()

def active(x):
    if not torch._C._autograd._profiler_enabled():
        started.__enter__()
    return x.mean((2, 3), keepdim=True)
"""


@pytest.mark.parametrize(
    ("function", "source", "words"),
    [("active", BROKEN, "left a profiler active"), ("broken", "def broken(x): raise OSError('no')", "OSError: no")],
)
def test_an_implementation_that_fails_exits_with_3_and_says_why(gapbench, user_file, function, source, words):
    code, out, _ = gapbench("profile", SMALL, "--impl", user_file(function, source))
    assert code == 3
    assert f"{function} is failed" in out
    assert words in " ".join(out.split())


def test_a_trace_that_is_too_large_is_stopped_with_a_note(monkeypatch, gapbench):
    small = profiling.profile
    monkeypatch.setattr(profiling, "profile", lambda case, specs: small(case, specs, most_trace_bytes=10_000))
    code, out, _ = gapbench("profile", SMALL, "--impl", "mean", "--json")
    (document,) = json.loads(out)["profiles"]
    assert code == 0
    assert document["files"] == []
    assert document["trace_calls"] == 0
    assert "no trace was kept" in document["notes"][-1]


@pytest.mark.parametrize(
    ("arguments", "code", "culprit", "remedy"),
    [
        (["2x3x4x4-float32-contigous-cpu-forward-t1"], 2, "contigous", "contiguous"),
        (["8x2048x7x7-float23-contiguous-cpu-forward-t1"], 2, "float23", "closest are: 8x2048x7x7-float32-"),
        (["xyz"], 2, "'xyz'", "8x2048x7x7"),
        ([SMALL, "--impl", "meen"], 2, "'meen'", "mean"),
        ([SMALL, "--impl", "nosuch.py:f"], 2, "nosuch.py", "no file"),
        ([SMALL, "--impl", "global_max"], 2, "global_max", "gapbench list implementations"),
        ([SMALL, "--run", "nosuch"], 2, "nosuch", "the newest are"),
        (["9x3x4x4-float32-contiguous-cpu-forward-t1", "--run", "latest"], 2, "9x3x4x4", SMALL),
        ([SMALL, "-o", "/dev/null/x"], 2, "/dev/null/x", "cannot write"),
        (["2x3x4x4-float32-contiguous-cuda:7-forward-t1"], 2, "'cuda:7'", "there are:"),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_run_as_it_is(
    gapbench, store, no_profiling, arguments, code, culprit, remedy
):
    run = a_run(store)
    before = digests(store.path(run))
    got, out, err = gapbench("profile", *arguments)
    assert (got, out, len(err.splitlines())) == (code, "", 1)
    assert culprit in err
    assert remedy in err
    assert digests(store.path(run)) == before


def test_a_run_that_cannot_be_written_says_so_before_anything_is_profiled(gapbench, store, no_profiling):
    run = a_run(store)
    Path(store.path(run, "profiles")).write_text("in the way")
    code, out, err = gapbench("profile", SMALL)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "cannot write" in err


def test_unsupported_implementations_alone_exit_with_5(gapbench):
    code, out, err = gapbench("profile", SMALL, "--impl", "triton")
    assert (code, err) == (5, "")
    assert "triton is unsupported" in out


INSPECTION = {
    "kernel": "column", "dtype": "float16", "plan": "p", "arch": "sm_90", "registers": 40, "spills": 0,
    "shared_bytes": 0, "load_bytes": 16, "store_bytes": 16, "load_widths": (16,), "occupancy": 0.75,
    "case": "8x512x7x7 contiguous forward", "store_widths": (2, 16), "elements_per_thread": 16.0,
    "instructions": {"memory": 3, "float": 40},
    "bytes_moved": 1000, "bytes_per_element": 2.0, "waves": 0.5, "gbps": 1000, "seconds": 1e-9,
}  # fmt: skip


@pytest.fixture
def inspected(monkeypatch):
    """Compile nothing; return the architectures that were asked for."""
    from gapbench.profiling import static

    asked = []
    inspections = [static.Inspection(**INSPECTION)]
    monkeypatch.setattr(static, "inspect_all", lambda archs, _gbps: asked.extend(archs) or inspections)
    monkeypatch.setenv("COLUMNS", "160")  # for whole cells
    return asked


def test_static_is_a_list_of_kernels_that_a_later_one_is_compared_with(gapbench, inspected, tmp_path):
    code, out, err = gapbench("profile", "--static", "--arch", "sm_90", "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)
    assert {"kernel", "arch", "registers", "spills", "shared_bytes", "load_bytes", "store_bytes", "occupancy"} <= set(
        row
    )
    assert inspected == ["sm_90"]
    baseline = tmp_path / "baseline.json"
    baseline.write_text(out)
    code, out, err = gapbench("profile", "--static", "--baseline", baseline)
    assert code == 0
    for part in ("75%", "2, 16", "0.500", "1.00 ns", "43"):
        assert part in out
    assert "no kernel differs" in err
    baseline.write_text(json.dumps([row | {"spills": -1}]))
    code, _, err = gapbench("profile", "--static", "--baseline", baseline)
    assert code == 1
    assert "worse: column float16 sm_90: spills -1, now 0" in err


@pytest.mark.parametrize(
    ("before", "code", "line"),
    [
        ({}, 0, "no kernel differs from base.json"),
        ({"load_bytes": 32}, 1, "worse: column float16 sm_90: load bytes 32, now 16"),
        ({"registers": 41}, 0, "changed: column float16 sm_90: registers 41, now 40"),
        ({"spills": 9}, 0, "changed: column float16 sm_90: spills 9, now 0"),
    ],
)
def test_a_baseline_names_the_architectures_and_what_differs(gapbench, inspected, tmp_path, before, code, line):
    (tmp_path / "base.json").write_text(json.dumps([INSPECTION | before]))
    ended, _, err = gapbench("profile", "--static", "--baseline", "base.json")
    assert (ended, err) == (code, f"{line}\n")
    assert inspected == ["sm_90"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name a CASE"),
        ([SMALL, "--static"], "takes no CASE"),
        ([SMALL, "--arch", "sm_90"], "need --static"),
        ([SMALL, "--bandwidth", "960"], "need --static"),
        (["--static", "--arch", "h100"], "there are: sm_"),
        (["--static", "--arch", "sm_20"], "LLVM ended its process"),
        (["--static", "--baseline", "nosuch.json"], "cannot read the baseline nosuch.json"),
        (["--static", "--baseline", "list.json"], "list.json is not a baseline; write one with"),
    ],
)
def test_bad_input_to_static_is_one_line(gapbench, inspected, no_profiling, tmp_path, arguments, words):
    (tmp_path / "list.json").write_text("[1]")
    code, out, err = gapbench("profile", *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert words in err


COUNTING = """from pathlib import Path

def pool(x):
    with Path("calls").open("a") as file:
        file.write(".")
    return x.mean((2, 3), keepdim=True)
"""


def test_a_shot_is_one_call_to_warm_up_and_one_more(gapbench, user_file):
    """For profilers that run it: they see nothing of gapbench's own."""
    arguments = ("profile", "1x8x4x4-float32-contiguous-cpu-forward-t1", "--shot")
    assert gapbench(*arguments, "--impl", user_file("pool", COUNTING)) == (0, "", "")
    assert Path("calls").read_text() == ".."
    code, _, err = gapbench(*arguments)
    assert code == 2
    assert "--shot calls one implementation; choose one with --impl: mean, " in err
