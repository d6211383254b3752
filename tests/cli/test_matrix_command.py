"""`gapbench matrix` as users run it: real commits and interpreters, real measurements (short ones of large changes)."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from factories import git
from stored import a_matrix, keep

from gapbench.store.store import Store

HONEST = "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n"
SLOW = "def pool(x):\n    for _ in range(3000): pass\n    return x.mean((2, 3), keepdim=True)\n"
SMALL = ["--shape", "1x16x8x8", "--dtype", "float32", "--layout", "contiguous", "--pass", "forward"]
POOL = ["--impl", "pool.py:pool", *SMALL, "--budget", "4s"]


@pytest.fixture
def repository(gapbench, tmp_path):
    """A repository in the current folder with the tags v1, v2 and v3, the last of them slower; return the command."""
    git("init", "--quiet", "--initial-branch=main")
    (tmp_path / ".gitignore").write_text("results/\nreports/\nlinks/\n")
    for tag, content in (("v1", HONEST), ("v2", HONEST + "# same\n"), ("v3", SLOW)):
        Path("pool.py").write_text(content)
        git("add", "--all")
        git("commit", "--quiet", "--message", tag)
        git("tag", tag)
    return gapbench


def refs(*names):
    return [word for name in names for word in ("--ref", name)]


def test_a_slower_version_is_put_down_to_its_step_and_stored(repository):
    Path("pool.py").write_text(SLOW + "# uncommitted\n")
    code, out, err = repository("matrix", *refs("v1", "v2", "v3", "."), *POOL, "--json", "--tag", "versions")
    assert code == 1, err
    document = json.loads(out)
    steps = {row["contender"]: row["step"] and row["step"]["verdict"] for row in document["rows"]}
    assert (steps["v1"], steps["v3"]) == (None, "regressed")
    assert steps["v2"] in ("equivalent", "inconclusive")
    assert document["rows"][3]["ratio"] > 3
    assert [version["dirty"] for version in document["versions"]] == [False, False, False, True]
    assert len(git("worktree", "list").splitlines()) == 1
    store = Store("results")
    (run,) = store.ids()
    assert document["run"] == run
    assert set(store.samples([run])["contender"]) == {"v1", "v2", "v3", "."}
    assert repository("store", "verify")[0] == 0
    code, again, _ = repository("diff", "versions", "--format", "json")
    assert (code, json.loads(again)) == (1, document)


def test_interpreters_are_versions_too(repository, tmp_path):
    links = [tmp_path / "links" / name for name in ("python-a", "python-b")]
    links[0].parent.mkdir()
    for link in links:
        link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        link.chmod(0o755)
    pythons = [word for path in (sys.executable, *links) for word in ("--python", str(path))]
    code, out, err = repository("matrix", *pythons, *POOL, "--fail-on", "none", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert [version["name"] for version in document["versions"]] == [sys.executable, *map(str, links)]
    assert all(row["status"] == "ok" and row["seconds"] for row in document["rows"])
    assert all(row["step"]["rounds"] for row in document["rows"][1:])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "a matrix has two versions or more: repeat either --ref COMMIT or --python PYTHON"),
        (["--ref", "v1"], "two versions or more"),
        (["--ref", "v1", "--python", sys.executable], "repeat either --ref COMMIT or --python"),
        ([*refs("v1", "v2", "v1")], "'v1' is given twice; leave one of them out"),
        ([*refs("v1", "nowhere")], "there is no commit 'nowhere'"),
        ([*refs("v1", "base")], "'base' cannot name a version in the store"),
        (["--python", sys.executable, "--python", "/no/such/python"], "does not run as a Python interpreter"),
        ([*refs("v1", "v2"), "--impl", "pool.py:nothing"], "no version has this function"),
    ],
)
def test_bad_input_is_one_line(repository, arguments, line):
    given = [] if "--impl" in arguments else ["--impl", "pool.py:pool"]
    code, out, err = repository("matrix", *arguments, *given, *SMALL)
    assert (code, out) == (2, "")
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert len(git("worktree", "list").splitlines()) == 1
    assert Store("results").ids() == []


def test_where_only_the_first_version_works_it_is_not_green(repository):
    for tag in ("broken", "broken-too"):
        Path("pool.py").write_text(f"import no_such_module  # {tag}\n")
        git("commit", "--quiet", "--all", "--message", tag)
        git("tag", tag)
    arguments = [*refs("v1", "broken", "broken-too"), *POOL]
    code, out, err = repository("matrix", *arguments, "--fail-on", "regressed")
    assert code == 3, out + err
    assert "nothing of broken or broken-too could be measured" in err
    assert "failed_head" in out
    assert repository("matrix", *arguments, "--fail-on", "failed")[0] == 1


def test_ctrl_c_keeps_what_was_measured_and_resume_completes_it(repository, measuring):
    process, store = measuring("matrix", *refs("v1", "v2", "v3"), *POOL, "--budget", "8s")
    (run,) = store.ids()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert f"resume with: gapbench run --resume {run}" in err
    kept = store.samples([run])
    assert "gapbench run --resume" in repository("diff", run)[2]
    code, out, err = repository("run", "--resume", run)
    assert code == 1, err
    assert "v3: regressed" in out
    samples = store.samples([run])
    keys = ["contender", "round", "process", "turn", "position", "seconds_per_call"]
    assert len(samples.merge(kept, on=keys)) == len(kept)
    assert repository("store", "verify")[0] == 0


def test_other_commands_say_what_a_stored_matrix_is(gapbench):
    run = keep(Store("results"), a_matrix({}, {}, {"fast": 1.05}, rounds=20))
    code, out, _ = gapbench("list", "runs")
    assert code == 0
    assert run in out
    code, out, _ = gapbench("diff", run)
    assert code == 1
    assert "v3: regressed" in out
    assert gapbench("diff", run, "--fail-on", "none")[0] == 0
    for arguments, line in (
        (("diff", run, "--format", "markdown"), "cannot show a matrix of versions; use table or json"),
        (("diff", run, run), "measured all its sides; see what changed with: gapbench diff"),
        (("report", run), f"is a matrix of versions, which has no page; see it with: gapbench diff {run}"),
        (("profile", "8x64x7x7-float32-contiguous-cpu-forward-t1", "--run", run), "compared its sides"),
    ):
        code, out, err = gapbench(*arguments)
        assert (code, out) == (2, ""), arguments
        assert line in err
        assert len(err.strip().splitlines()) == 1
    assert gapbench("which", "--shape", "8x64x7x7", "--dtype", "float32")[0] == 5
    assert "no run" in "".join(gapbench("history")[1:]).lower()
