import contextlib
import os
import subprocess
import sys

import pytest

from gapbench.errors import ExitCode, GapbenchError
from gapbench.measuring.revisions import Revision
from gapbench.repository import checkouts


def git(folder, *arguments):
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Two commits of one file; checkouts go to a folder of their own."""
    folder, temporary = tmp_path / "repository", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(checkouts.tempfile, "tempdir", str(temporary))
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(folder))
    for content in ("one", "two"):
        (folder / "file.txt").write_text(content)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", content)
    return folder


def traces(repository):
    """Return what checkouts left: folders, and worktrees that git knows."""
    left = list((repository.parent / "temporary").iterdir())
    return [*left, *git(repository, "worktree", "list").splitlines()[1:]]


def test_each_ref_gets_a_folder_for_as_long_as_it_is_needed(repository):
    with checkouts.checkouts(repository, "HEAD~1", "main") as (base, head):
        assert (base.folder / "file.txt").read_text() == "one"
        assert (head.folder / "file.txt").read_text() == "two"
        assert head.commit == git(repository, "rev-parse", "main")
        assert traces(repository)
    assert traces(repository) == []
    assert git(repository, "status", "--porcelain") == ""


def test_a_dot_is_the_folder_as_it_is(repository):
    (repository / "file.txt").write_text("three")
    (repository / "below").mkdir()
    with checkouts.checkouts(repository / "below", "HEAD", ".") as (base, head):
        assert (base.folder / "file.txt").read_text() == "two"
        assert (head.folder / "file.txt").read_text() == "three"
        assert head.folder == repository
        assert head.commit is None
    assert (repository / "file.txt").read_text() == "three"


def test_two_dots_need_no_repository(tmp_path):
    with checkouts.checkouts(tmp_path, ".", ".") as (base, head):
        assert base.folder == head.folder == tmp_path


@pytest.fixture
def with_submodule(repository, tmp_path):
    """The same with a repository in it that has one itself, each with two commits that the outer one pins."""
    allowed = ["-c", "protocol.file.allow=always"]
    inner, middle = tmp_path / "inner", tmp_path / "middle"
    for folder in (inner, middle):
        git(tmp_path, "init", "--quiet", str(folder))
        (folder / "pool.py").write_text("one")
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", "one")
    git(middle, *allowed, "submodule", "--quiet", "add", str(inner), "deep")
    git(middle, "commit", "--quiet", "--message", "with inner")
    git(repository, *allowed, "submodule", "--quiet", "add", str(middle), "a b/middle")
    git(repository, *allowed, "submodule", "--quiet", "update", "--init", "--recursive")
    git(repository, "commit", "--quiet", "--message", "with middle")
    own = repository / "a b" / "middle"
    (own / "pool.py").write_text("two")
    git(own, "commit", "--quiet", "--all", "--message", "two")
    git(repository, "commit", "--quiet", "--all", "--message", "middle moved")
    return repository


def test_submodules_are_checked_out_as_each_commit_pins_them(with_submodule):
    own = with_submodule / "a b" / "middle"
    with checkouts.checkouts(with_submodule, "HEAD~1", "HEAD") as (base, head):
        pools = [(side.folder / "a b" / "middle" / "pool.py").read_text() for side in (base, head)]
        assert pools == ["one", "two"]
        assert (head.folder / "a b" / "middle" / "deep" / "pool.py").read_text() == "one"
        assert Revision(head).describe("head").git.dirty is False
    assert traces(with_submodule) == []
    for folder in (own, own / "deep"):
        assert len(git(folder, "worktree", "list").splitlines()) == 1
        assert git(folder, "status", "--porcelain") == ""


def test_a_submodule_that_was_never_fetched_is_an_empty_folder(with_submodule):
    git(with_submodule, "submodule", "--quiet", "deinit", "--all")
    with checkouts.checkouts(with_submodule, "HEAD", ".") as (base, _):
        assert list((base.folder / "a b" / "middle").iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_worktrees_go_also_when_something_happens(repository, error):
    with pytest.raises(error), checkouts.checkouts(repository, "HEAD~1", "HEAD"):
        raise error
    assert traces(repository) == []


def test_what_a_killed_process_left_the_next_one_removes(repository):
    code = f"""
import time
from pathlib import Path
from gapbench.repository import checkouts
checkouts.tempfile.tempdir = {str(repository.parent / "temporary")!r}
with checkouts.checkouts(Path({str(repository)!r}), "HEAD~1", "HEAD"):
    print("there", flush=True)
    time.sleep(1000)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    with checkouts.checkouts(repository, "HEAD", "."):
        pass
    assert len(traces(repository)) == 3  # one folder with two worktrees: its owner lives
    process.kill()
    process.communicate()
    with checkouts.checkouts(repository, "HEAD", "."):
        pass
    assert traces(repository) == []


@pytest.fixture
def hostile(repository):
    """The same, where the user's configuration names programs in the work tree; each leaves a line in ``ran``."""
    programs = repository / ".husky"
    programs.mkdir()
    ran = repository.parent / "ran"
    names = ["post-checkout", "post-index-change", "reference-transaction", "fsmonitor", "smudge", "process", "conv"]
    for name in names:
        program = programs / name
        program.write_text(
            f"#!/bin/sh\necho {name} >> {ran}\n" + {"smudge": "cat\n", "conv": 'cat "$1"\n'}.get(name, "")
        )
        program.chmod(0o755)
    (repository / ".gitattributes").write_text("*.txt filter=theirs diff=theirs\n*.bin filter=talks\n")
    (repository / "a.bin").write_text("b")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "three")
    settings = {
        "core.hooksPath": ".husky",
        "core.fsmonitor": ".husky/fsmonitor",
        "filter.theirs.smudge": ".husky/smudge",
    }
    settings |= {
        "filter.theirs.required": "true",
        "diff.theirs.textconv": ".husky/conv",
        "filter.talks.process": ".husky/process",
    }
    for name, value in settings.items():
        git(repository, "config", name, value)
    ran.unlink(missing_ok=True)
    return repository, ran


def test_no_program_of_a_commit_runs_when_it_is_checked_out_and_described(hostile):
    repository, ran = hostile
    with checkouts.checkouts(repository, "HEAD", "HEAD~1") as sides:
        assert (sides[0].folder / "file.txt").read_text() == "two"
        described = [Revision(side).describe("base").git for side in sides]
        assert [side.commit for side in described] == [side.commit for side in sides]
        assert [side.dirty for side in described] == [False, False]
    assert not ran.exists(), ran.read_text()


def test_no_hook_and_no_monitor_runs_in_the_folder_itself(hostile):
    repository, ran = hostile
    git(repository, "config", "--remove-section", "filter.talks")  # in the user's own folder their filters do run
    (repository / "file.txt").write_text("three")
    ran.unlink(missing_ok=True)
    with checkouts.checkouts(repository, ".", ".") as (side, _):
        assert Revision(side).describe("base").git.dirty is True
    assert not ran.exists(), ran.read_text()


def test_those_programs_would_run_otherwise(hostile):
    repository, ran = hostile
    with contextlib.suppress(subprocess.CalledProcessError):
        git(repository, "worktree", "add", "--quiet", "--detach", str(repository.parent / "plain"), "HEAD")
    (repository / "file.txt").write_text("three")
    with contextlib.suppress(subprocess.CalledProcessError):  # a filter is asked only if the index is younger
        git(repository, "status", "--porcelain")
    git(repository, "config", "--remove-section", "filter.talks")  # it does not talk as git asks it to
    git(repository, "config", "filter.theirs.required", "false")
    git(repository, "status", "--porcelain")
    git(repository, "diff", "HEAD")
    assert {"smudge", "process", "fsmonitor", "post-index-change", "conv"} <= set(ran.read_text().split())


def test_large_files_are_still_fetched(repository):
    for name in ("lfs", "other"):
        git(repository, "config", f"filter.{name}.smudge", "cat")
    assert [one for one in checkouts._no_filters(repository) if one != "-c"] == [
        "filter.other.smudge=",
        "filter.other.process=",
        "filter.other.required=false",
    ]


@pytest.mark.parametrize("ref", ["nowhere", "--help", "-h", "HEAD~9", "HEAD:file.txt", ""])
def test_a_ref_that_names_no_commit_is_one_line(repository, ref):
    with pytest.raises(GapbenchError, match="there is no commit") as caught, checkouts.checkouts(repository, ref, "."):
        pass
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)
    assert traces(repository) == []


def test_a_shallow_clone_is_told_what_to_fetch(repository, tmp_path):
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{repository}", "shallow")
    with (
        pytest.raises(GapbenchError, match="git fetch --unshallow"),
        checkouts.checkouts(tmp_path / "shallow", "HEAD~1", "HEAD"),
    ):
        pass


def test_a_folder_without_a_repository_is_told(tmp_path):
    with pytest.raises(GapbenchError, match="is in no git repository"), checkouts.checkouts(tmp_path, "HEAD", "."):
        pass


def test_the_harness_is_alone_in_its_folder():
    with checkouts.harness() as folder:
        assert os.listdir(folder) == ["gapbench"]  # noqa: PTH208
        assert (folder / "gapbench" / "repository" / "checkouts.py").samefile(checkouts.__file__)
    assert not folder.exists()


def test_the_line_of_first_parents_counts_a_merge_as_one_commit(repository):
    first, second = git(repository, "rev-list", "--reverse", "HEAD").splitlines()
    git(repository, "checkout", "--quiet", "-b", "branch", "HEAD~1")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "on the branch")
    git(repository, "checkout", "--quiet", "main")
    git(repository, "merge", "--quiet", "--no-ff", "--no-edit", "branch")
    merge = git(repository, "rev-parse", "HEAD")
    assert checkouts.first_parents(repository, "HEAD~2", "main") == [first, second, merge]
    for good in ("branch", "main", merge):
        with pytest.raises(GapbenchError, match="choose an older commit of: git log --first-parent main"):
            checkouts.first_parents(repository, good, "main")
    for ends in ((".", "main"), ("main", ".")):
        with pytest.raises(GapbenchError, match="is no commit; commit the changes"):
            checkouts.first_parents(repository, *ends)
