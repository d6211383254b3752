"""`gapbench bisect`: one real search in a small repository; what it says of others is given."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from factories import git

from gapbench.analysis.compare import Row
from gapbench.measuring import bisection
from gapbench.statistics.verdicts import Verdict
from gapbench.store.store import Store

HONEST = "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n"
SLOW = "def pool(x):\n    for _ in range(3000): pass\n    return x.mean((2, 3), keepdim=True)\n"
SMALL = ["--shape", "1x16x8x8", "--dtype", "float32", "--layout", "contiguous", "--pass", "forward", "--budget", "2s"]
POOL = ["--impl", "pool.py:pool", *SMALL]


def commit(message, content):
    Path("pool.py").write_text(content)
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message)


@pytest.fixture
def repository(gapbench, tmp_path):
    """Six commits of which the third fails and the fifth is slower; return the command line."""
    git("init", "--quiet", "--initial-branch=main")
    (tmp_path / ".gitignore").write_text("results/\n")
    for number, content in enumerate([HONEST, HONEST, "import no_such_module\n", HONEST, SLOW, SLOW]):
        commit(f"commit {number}", content)
    return gapbench


def test_a_commit_that_made_it_slower_is_named(repository):
    code, out, err = repository("bisect", "HEAD~5", "HEAD", *POOL, "--json")
    assert code == 0, err
    answer = json.loads(out)
    assert answer["schema"] == 1
    assert answer["culprit"] == git("rev-parse", "HEAD~1")
    assert answer["ratio"] > answer["ratio_low"] > 3
    assert answer["posterior"] >= 0.99
    assert 2 <= answer["measured"] <= 3
    assert answer["skipped"] <= 1
    assert "commit 4" in err
    store = Store("results")
    assert sorted(answer["runs"]) == sorted(store.ids())
    runs = [store.describe(run) for run in answer["runs"]]
    assert all(run.ended and run.tag == "bisect" for run in runs)
    assert [side.name for side in runs[1].sides] == ["base", "head", "bad"]
    assert len({run.seed for run in runs}) == len(runs)
    assert repository("store", "verify")[0] == 0
    assert repository("diff", answer["runs"][0])[0] == 1
    assert repository("report", answer["runs"][1], "-o", "pages")[0] == 0
    assert len(git("worktree", "list").splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere", "HEAD"], "there is no commit 'nowhere'"),
        (["HEAD", "main"], "GOOD (HEAD) is BAD; choose an older commit of: git log --first-parent main"),
        (["HEAD", "HEAD~1"], "GOOD (HEAD) is not before BAD (HEAD~1) on its line of first parents; choose an older"),
        (["HEAD", "."], ". is no commit; commit the changes, or compare them with: gapbench ab HEAD ."),
        (["HEAD~1", "HEAD", *POOL, "--budget", "0"], "a budget of 0 s measures nothing"),
        (["HEAD~1", "HEAD"], "none of these implementations comes from this repository, so its commits cannot differ"),
        (["HEAD~1", "HEAD", "--impl", "pool.py:no"], "--impl 'pool.py:no': no version has this function"),
        (["HEAD~1"], "name two commits, GOOD and BAD, or interpreters in order: repeat --python PYTHON"),
    ],
)
def test_bad_input_is_one_line(repository, arguments, line):
    code, out, err = repository("bisect", *arguments, *([] if "--budget" in arguments else SMALL))
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert line in err
    assert not Path("results").exists()
    assert len(git("worktree", "list").splitlines()) == 1


def test_no_repository_is_one_line(gapbench):
    code, _, err = gapbench("bisect", "main", "HEAD", *POOL)
    assert code == 2
    assert "is in no git repository" in err


def row(ratio, verdict=Verdict.REGRESSED, reason=""):
    return Row(
        "ci", "1x16x8x8", "pool", "host", "pool", verdict, reason, ratio, ratio and ratio * 0.99, ratio and ratio * 1.01
    )


def given(monkeypatch, *rows, skipped=(), error=None):
    """Let a search find ``rows`` at its ends, skip commits, and end with ``error``."""

    def search_of(search, *_):
        search.step = 0.1
        for number in skipped:
            search.add(number, None)
        if error:
            raise error
        difference = SimpleNamespace(rows=rows, summary={row.verdict: 1 for row in rows}, notes=("a note",))
        return bisection.Answer(difference, next((row for row in rows if row.verdict is Verdict.REGRESSED), None))

    monkeypatch.setattr(bisection, "bisect", search_of)


@pytest.mark.parametrize(
    ("rows", "code", "line"),
    [
        ([row(1.0, Verdict.EQUIVALENT)], 5, "GOOD and BAD do not differ: nothing to find"),
        ([row(1.0, Verdict.EQUIVALENT), row(1.0, Verdict.INCONCLUSIVE)], 5, "are not shown to differ: nothing to find"),
        (
            [row(None, Verdict.FAILED_BASE, "no file")],
            3,
            "GOOD cannot be measured, so there is nothing to search: no file",
        ),
        ([row(None, Verdict.FAILED_HEAD, "wrong")], 3, "BAD cannot be measured, so there is nothing to search: wrong"),
    ],
)
def test_without_a_difference_nothing_is_searched(repository, monkeypatch, rows, code, line):
    given(monkeypatch, *rows)
    answered, out, err = repository("bisect", "HEAD~5", "HEAD", *POOL)
    assert (answered, err) == (code, "")
    assert line in out
    answered, out, err = repository("bisect", "HEAD~5", "HEAD", *POOL, "--json")
    assert answered == code
    assert json.loads(out)["culprit"] is json.loads(out)["posterior"] is None
    assert line in err


def test_skipped_commits_share_the_blame(repository, monkeypatch):
    given(monkeypatch, row(1.1), skipped=(1, 2, 3, 4))
    code, out, _ = repository("bisect", "HEAD~5", "HEAD", *POOL)
    assert code == 3
    assert out.startswith("one of these made it slower; all but the last one fail:\n")
    assert [f"commit {number}" in out for number in range(6)] == [False] + [True] * 5
    assert "skipped 4" in out
    answer = json.loads(repository("bisect", "HEAD~5", "HEAD", *POOL, "--json")[1])
    assert (answer["culprit"], answer["ratio"], answer["skipped"]) == (None, None, 4)
    assert answer["candidates"] == git("rev-list", "--reverse", "HEAD~5..HEAD").splitlines()


def test_an_undecided_search_blames_nobody(repository, monkeypatch):
    given(monkeypatch, row(1.1))
    code, out, _ = repository("bisect", "HEAD~5", "HEAD", *POOL)
    assert code == 5
    assert "no single commit is shown to have made it slower; give a larger --budget" in out
    assert "(posterior 20.00%)" in out


def test_ctrl_c_says_what_is_known(repository, monkeypatch):
    given(monkeypatch, row(1.1), skipped=(1, 2), error=KeyboardInterrupt)
    code, out, err = repository("bisect", "HEAD~5", "HEAD", *POOL, "--json")
    assert (code, out) == (130, "")
    assert "interrupted; most probable: " in err
    assert "skipped 2; finished rounds are kept in results" in err
    assert len(git("worktree", "list").splitlines()) == 1


@pytest.fixture
def interpreters(tmp_path):
    """Return the words for this interpreter under three names."""
    (tmp_path / "links").mkdir()
    links = [tmp_path / "links" / f"python-{name}" for name in "abc"]
    for link in links:
        link.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        link.chmod(0o755)
    return [str(link) for link in links]


def test_interpreters_are_searched_in_their_order(repository, interpreters, monkeypatch):
    """Levels are given; the versions that are measured, their words and the sentences are real."""
    seen = []

    def bisect(search, prepare, plans, record):
        with prepare(0, search.commits) as pair, prepare(1) as (middle,):
            seen.extend([*pair, middle])
        search.step = 0.1
        search.add(1, np.full(8, -0.05))
        search.add(1, np.full(8, -0.05))
        row = Row("ci", "case", "pool", "host", "pool", Verdict.REGRESSED, "", 1.1, 1.09, 1.11)
        return bisection.Answer(SimpleNamespace(rows=[row], summary={}, notes=()), row, row)

    monkeypatch.setattr(bisection, "bisect", bisect)
    words = [word for python in interpreters for word in ("--python", python)]
    code, out, _ = repository("bisect", *words, *POOL)
    assert code == 0
    assert [revision.python for revision in seen] == [interpreters[0], interpreters[2], interpreters[1]]
    assert {revision.checkout.commit for revision in seen} == {None}
    first, second, *_ = out.splitlines()
    assert (first, second.endswith(f"the time of {interpreters[1]}")) == (interpreters[2], True)
    assert json.loads(repository("bisect", *words, *POOL, "--json")[1])["culprit"] == interpreters[2]


def test_equal_interpreters_have_nothing_to_find(repository, interpreters):
    words = [word for python in interpreters[:2] for word in ("--python", python)]
    code, out, err = repository("bisect", *words, *POOL, "--margin", "90%")
    assert code == 5, err
    assert "nothing to find" in out
    (run,) = Store("results").ids()
    comparison = Store("results").describe(run).comparison
    assert comparison.command == (".", ".", "--base-python", interpreters[0], "--head-python", interpreters[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--python", "python3"], "interpreters to search are two or more, each once"),
        (["--python", "a", "--python", "a"], "interpreters to search are two or more, each once"),
        ([], "name two commits, GOOD and BAD, or interpreters in order"),
        (["--python", "/no/python", "--python", "python3"], "does not run as a Python interpreter"),
    ],
)
def test_interpreters_that_cannot_be_searched_are_named(repository, words, message):
    code, _, err = repository("bisect", *words, *POOL)
    assert code == 2
    assert message in err
