import os
import subprocess
import sys

import pytest

from gapbench import checkouts
from gapbench.errors import ExitCode, GapbenchError


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


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_worktrees_go_also_when_something_happens(repository, error):
    with pytest.raises(error), checkouts.checkouts(repository, "HEAD~1", "HEAD"):
        raise error
    assert traces(repository) == []


def test_what_a_killed_process_left_the_next_one_removes(repository):
    code = f"""
import time
from pathlib import Path
from gapbench import checkouts
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


def test_no_hook_of_the_repository_runs(repository):
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {repository.parent}/ran\n")
    hook.chmod(0o755)
    with checkouts.checkouts(repository, "HEAD", "."):
        pass
    assert not (repository.parent / "ran").exists()


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
        assert (folder / "gapbench" / "checkouts.py").samefile(checkouts.__file__)
    assert not folder.exists()
