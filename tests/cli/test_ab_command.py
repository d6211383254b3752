"""`gapbench ab` as users run it: real commits, real measurements (short ones: what they find is large)."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from factories import git

from gapbench.store.store import Store

HONEST = "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n"
SLOW = "def pool(x):\n    for _ in range(3000): pass\n    return x.mean((2, 3), keepdim=True)\n"
SLOWER_MEAN = """
from dataclasses import replace


def _slower(case):
    function = _mean.prepare(case)

    def slower(x):
        for _ in range(3000):
            pass
        return function(x)

    return slower


EAGER = tuple(replace(one, prepare=_slower) if one.name == "mean" else one for one in EAGER)
"""
SMALL = ["--shape", "1x16x8x8", "--dtype", "float32", "--layout", "contiguous", "--pass", "forward"]
POOL = ["--impl", "pool.py:pool", *SMALL, "--budget", "3s"]


def commit(message, **files):
    for name, content in files.items():
        Path(f"{name}.py").write_text(content)
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message)


@pytest.fixture
def repository(gapbench, tmp_path):
    """A repository in the current folder, with an honest function; return the command line."""
    git("init", "--quiet", "--initial-branch=main")
    (tmp_path / ".gitignore").write_text("results/\n")
    commit("honest", pool=HONEST)
    return gapbench


def document(repository, *arguments):
    code, out, err = repository("ab", *arguments, "--format", "json")
    return code, json.loads(out), err


def test_a_commit_that_is_slower_is_red_and_leaves_no_trace(repository, tmp_path):
    commit("slower", pool=SLOW)
    code, diff, err = document(repository, "main~1", "HEAD", *POOL)
    assert code == 1, err
    (row,) = diff["cases"]
    assert row["verdict"] == "regressed"
    assert row["ratio"] > 3
    assert diff["base"]["commit"] == git("rev-parse", "main~1")
    assert len(git("worktree", "list").splitlines()) == 1
    store = Store("results")
    (run,) = store.ids()
    assert set(store.samples([run])["contender"]) == {"base", "head", "null"}
    assert set(store.results([run])["contender"]) == {"base", "head", "null"}
    assert repository("store", "verify")[0] == 0
    assert repository("which", "--shape", "1x16x8x8", "--dtype", "float32")[0] == 5
    assert store.describe(run).ended
    assert str(tmp_path) not in str(store.describe(run).sides)


COPYING = "def pool(x):\n    return x.clone().mean((2, 3), keepdim=True)\n"


def test_what_made_a_commit_slower_is_explained_and_kept(repository, tmp_path):
    commit("copies first", pool=COPYING)
    larger = [*POOL, "--shape", "4x64x32x32"]
    larger[larger.index("1x16x8x8") - 1 : larger.index("1x16x8x8") + 1] = []
    code, diff, err = document(repository, "main~1", "HEAD", *larger, "--explain")
    assert code == 1, err
    (row,) = diff["cases"]
    why = row["explanation"]
    costly = why["findings"][0]
    assert costly["sentence"].startswith("aten::copy_ (float32) is new, and moves 2.00 MiB")
    assert costly["seconds"] > 0.5 * why["seconds"] > 0
    timed = [finding["seconds"] for finding in why["findings"] if finding["seconds"] is not None]
    assert sum(timed) == pytest.approx(why["seconds"], abs=1e-10)
    (run,) = Store("results").ids()
    kept = tmp_path / "results" / run / "profiles" / row["case"]
    assert {path.name for path in kept.iterdir()} == {
        f"pool.{side}.{ending}" for side in ("base", "head") for ending in ("json", "trace.json.gz")
    }
    names = {side: [operator["name"] for operator in json.loads((kept / f"pool.{side}.json").read_text())["operators"]]
             for side in ("base", "head")}  # fmt: skip
    assert "aten::clone" in names["head"]
    assert "aten::clone" not in names["base"]
    assert repository("store", "verify")[0] == 0
    assert costly["sentence"] in repository("diff", run)[1]
    assert json.loads(repository("diff", run, "--format", "json")[1])["cases"] == [row]
    assert repository("report", run, "-o", "pages")[0] == 0
    page = (tmp_path / "pages" / f"{run}.html").read_text()
    assert costly["sentence"] in page
    assert f'href="{run}.{row["case"]}.html"' in page
    profiled = (tmp_path / "pages" / f"{run}.{row['case']}.html").read_text()
    assert "pool, base" in profiled
    assert "pool.head.trace.json.gz" in profiled


def test_the_same_run_is_read_again_by_diff(repository):
    commit("slower", pool=SLOW)
    repository("ab", "main~1", "HEAD", *POOL, "--tag", "gate")
    code, out, err = repository("diff", "gate", "--format", "markdown")
    assert code == 1, err
    assert "regressed" in out
    assert "gapbench ab " in out


def test_the_cases_of_a_network_are_compared_as_a_list(repository, tmp_path):
    cases = [{"shape": "1x16x8x8", "count": 3}, {"shape": "1x16x4x4", "layout": "channels_last"}]
    (tmp_path / "pooling.json").write_text(json.dumps({"schema": 1, "cases": cases}))
    commit("slower", pool=SLOW)
    code, diff, err = document(repository, "main~1", "HEAD", "pooling.json", *POOL[:2], "--budget", "6s")
    assert code == 1, err
    assert [(row["case"], row["verdict"]) for row in diff["cases"]] == [
        ("1x16x8x8-float32-contiguous-cpu-forward-t1", "regressed"),
        ("1x16x4x4-float32-channels_last-cpu-forward-t1", "regressed"),
    ]
    results = Store("results").results()
    assert dict(zip(results["shape"], results["weight"], strict=True)) == {"1x16x8x8": 3, "1x16x4x4": 1}


def test_uncommitted_changes_are_measured_as_a_dot(repository, tmp_path):
    (tmp_path / "pool.py").write_text(SLOW)
    code, diff, _ = document(repository, "HEAD", ".", *POOL)
    assert code == 1
    assert diff["head"]["dirty"] is True
    code, out, _ = repository("ab", "HEAD", "HEAD", *POOL)
    assert code == 0
    assert "regressed" not in out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import no_such_module\n", "no_such_module"),
        ("def pool(x):\n    return 2 * x.mean((2, 3), keepdim=True)\n", "wrong"),
        ("import os\ndef pool(x):\n    os.abort()\n", "SIGABRT"),
    ],
)
def test_a_head_that_is_broken_is_told_and_the_rest_compared(repository, content, reason):
    commit("broken", pool=content, other=HONEST.replace("pool", "other"))
    commit("base has the other", other=HONEST.replace("pool", "other"))
    git("branch", "broken")
    git("checkout", "--quiet", "-b", "fine", "main~2")
    commit("the other", other=HONEST.replace("pool", "other"))
    code, diff, err = document(repository, "fine", "broken", *POOL, "--impl", "other.py:other")
    assert code == 1, err
    rows = {row["implementation"]: row for row in diff["cases"]}
    assert rows["pool"]["verdict"] == "failed_head"
    assert reason in rows["pool"]["reason"]
    assert rows["other"]["verdict"] in ("equivalent", "inconclusive")


def test_a_base_without_the_file_is_failed_base_and_not_red(repository):
    commit("another", other=HONEST.replace("pool", "other"))
    code, diff, _ = document(repository, "main~1", "main", "--impl", "other.py:other", *SMALL, "--budget", "2s")
    assert code == 0
    (row,) = diff["cases"]
    assert row["verdict"] == "failed_base"
    assert row["reason"] == "failed: there is no file 'other.py' here"
    arguments = ["main~1", "main", "--impl", "other.py:other", *SMALL, "--budget", "2s", "--fail-on", "failed"]
    assert document(repository, *arguments)[0] == 1


def test_where_nothing_of_head_could_be_measured_it_is_not_green(repository):
    commit("broken", pool="import no_such_module as pool\n")
    code, diff, err = document(repository, "HEAD", "HEAD", "--impl", "pool.py:pool", *SMALL, "--budget", "2s")
    assert code == 3
    assert {row["verdict"] for row in diff["cases"]} == {"failed_base"}
    assert "nothing of HEAD could be measured" in err


def test_a_file_beside_an_implementation_is_each_commits_own(repository, tmp_path):
    (tmp_path / "kernels").mkdir()
    calling = "import sibling\ndef pool(x):\n    return sibling.pool(x)\n"
    commit("two files", **{"kernels/calling": calling, "kernels/sibling": HONEST})
    commit("the sibling is slower", **{"kernels/sibling": SLOW})
    code, diff, err = document(
        repository, "HEAD~1", "HEAD", "--impl", "kernels/calling.py:pool", *SMALL, "--budget", "3s"
    )
    assert code == 1, err
    assert [row["verdict"] for row in diff["cases"]] == ["regressed"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere", "HEAD", *POOL], "there is no commit 'nowhere'"),
        (["HEAD", "HEAD", *SMALL], "none of these implementations comes from this repository"),
        (["HEAD", "HEAD", "--impl", "../outside.py:pool", *SMALL], "outside"),
        (["HEAD", "HEAD", "--impl", "pool.py:pol", *SMALL], "--impl 'pool.py:pol': no version has this"),
        (["HEAD", ".", "--impl", "nosuch.py:pool", *SMALL], "--impl 'nosuch.py:pool': no version has this"),
        (["HEAD", "HEAD", "--impl", "pool.py", *SMALL], "write FILE.py:FUNCTION"),
        (["HEAD", "HEAD", "--impl", "pool.py:mean", *SMALL], "there is an implementation 'mean' already"),
        (["HEAD", "HEAD", *POOL, "--impl", "other.py:pool"], "there is an implementation 'pool' already"),
        (["HEAD", ".", *POOL, "--head-python", "/no/such/python"], "does not run as a Python interpreter"),
        (["HEAD", ".", *POOL, "--explain", "--head-python", "python3"], "leave out --explain, or --base-python"),
        (["HEAD"], "Missing argument 'HEAD'"),
    ],
)
def test_bad_input_is_one_line(repository, arguments, line):
    code, out, err = repository("ab", *arguments)
    assert (code, out) == (2, "")
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert len(git("worktree", "list").splitlines()) == 1


def test_no_repository_is_one_line(gapbench):
    code, _, err = gapbench("ab", "main", "HEAD", *POOL)
    assert code == 2
    assert "is in no git repository" in err


def test_nothing_matched_is_5(repository):
    assert repository("ab", "HEAD", "HEAD", "-k", "no_such_thing", *POOL)[0] == 5


def interrupt(process):
    """Press Ctrl-C; nothing is printed but how to go on."""
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert out == ""
    return err


@pytest.mark.parametrize("stage", ["screening", "confirming"])
def test_ctrl_c_keeps_what_was_measured_and_resume_completes_it(repository, measuring, stage):
    commit("slower", pool=SLOW)
    process, store = measuring("ab", "main~1", "main", *POOL, "--budget", "8s")
    (run,) = store.ids()
    while stage == "confirming" and not store.describe(run).comparison.flagged:
        assert process.poll() is None
        time.sleep(0.02)
    assert f"resume with: gapbench run --resume {run}" in interrupt(process)
    assert store.describe(run).ended is None
    assert len(git("worktree", "list").splitlines()) == 1
    kept, flagged = store.samples([run]), store.describe(run).comparison.flagged
    assert not kept.empty
    assert bool(flagged) == (stage == "confirming")

    code, out, err = repository("run", "--resume", run)
    assert code == 1, err
    assert "regressed" in out
    document = store.describe(run)
    assert document.ended
    (row,) = document.comparison.flagged
    assert flagged in (None, (row,))
    samples = store.samples([run])
    assert not samples.duplicated(["case", "contender", "implementation", "round", "turn"]).any()
    again = samples.merge(kept, on=["contender", "round", "process", "turn", "position", "seconds_per_call"])
    assert len(again) == len(kept)
    numbers = sorted(samples["round"].unique())
    assert numbers == list(range(len(numbers)))
    assert len(numbers) - row.round >= 7
    assert len(git("worktree", "list").splitlines()) == 1
    assert repository("store", "verify")[0] == 0


def test_a_comparison_with_the_folder_is_resumed_with_the_very_code_only(repository, measuring, tmp_path):
    (tmp_path / "pool.py").write_text(SLOW)
    process, store = measuring("ab", "HEAD", ".", *POOL, "--budget", "5s")
    interrupt(process)
    (run,) = store.ids()
    (tmp_path / "pool.py").write_text(SLOW + "\n# better")
    kept = len(store.samples([run]))
    for _ in range(2):  # and the run that could not go on is not kept from others
        code, out, err = repository("run", "--resume", run)
        assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
        assert "head (.) is no longer the code that was measured; restore it, or start again with: gapbench ab" in err
    assert len(store.samples([run])) == kept
    (tmp_path / "pool.py").write_text(SLOW)
    code, out, err = repository("run", "--resume", run)
    assert code == 1, err
    assert "regressed" in out


def test_another_interpreter_measures_with_this_harness(repository, tmp_path):
    """A second interpreter that finds the same packages by a path of its own, and not this gapbench by itself."""
    link = tmp_path / "python-of-head"
    link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    link.chmod(0o755)
    code, diff, err = document(repository, "HEAD", "HEAD", *POOL, "--head-python", str(link))
    assert code in (0, 1), err  # two parents may differ by more than the margin: docs/diff.md
    assert diff["cases"][0]["ratio"] is not None
    (run,) = Store("results").ids()
    assert Store("results").describe(run).sides[1].versions["torch"]


def test_gapbenchs_own_implementations_come_from_each_side(gapbench, tmp_path):
    """In gapbench's own repository: the harness is the caller's, the code under test the commits'."""
    import shutil

    import gapbench as package

    shutil.copytree(Path(package.__file__).parent, "gapbench", ignore=shutil.ignore_patterns("__pycache__"))
    git("init", "--quiet")
    commit("as it is")
    eager = tmp_path / "gapbench" / "implementations" / "eager.py"
    eager.write_text(eager.read_text() + SLOWER_MEAN)
    (tmp_path / "gapbench" / "oracle.py").write_text("raise RuntimeError('not the harness that measures')\n")
    commit("mean is slower")
    code, out, err = gapbench(
        "ab", "HEAD~1", "HEAD", "--impl", "mean", "--impl", "sum_scale", *SMALL, "--budget", "4s", "--format", "json"
    )
    assert code == 1, err
    verdicts = {row["implementation"]: row["verdict"] for row in json.loads(out)["cases"]}
    assert verdicts["mean"] == "regressed"
    assert verdicts["sum_scale"] in ("equivalent", "inconclusive")
