import subprocess

import pytest

from gapbench import git


@pytest.fixture
def repository(tmp_path):
    def command_line(*arguments):
        command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    command_line("init", "--initial-branch", "trunk")
    (tmp_path / "file").write_text("one\n")
    command_line("add", "file")
    command_line("commit", "--message", "First & <only>")
    return tmp_path, command_line


def test_a_clean_tree_is_described_by_its_commit(repository):
    folder, command_line = repository
    assert git.describe(folder) == git.Git(
        commit=command_line("rev-parse", "HEAD"), branch="trunk", subject="First & <only>", dirty=False
    )


def test_a_dirty_tree_says_so_with_a_hash_of_what_differs(repository):
    folder, _ = repository
    (folder / "file").write_text("two\n")
    first = git.describe(folder)
    assert first.dirty
    (folder / "file").write_text("three\n")
    assert git.describe(folder).diff_hash not in (None, first.diff_hash)
    (folder / "file").write_text("one\n")
    (folder / "untracked").write_text("")
    assert git.describe(folder).dirty


def test_outside_a_repository_there_is_no_git(tmp_path):
    assert git.describe(tmp_path) is None


def test_what_git_cannot_tell_is_nothing(repository, monkeypatch):
    folder, _ = repository
    assert git.ask(folder, "rev-parse", "--verify", "--quiet", "nosuch") is None
    assert git.ask(folder, "cat-file", "--batch-check=%(objecttype)", lines=["HEAD", "nosuch"]) == (
        "commit\nnosuch missing"
    )
    assert git.ask(folder, "rev-parse", "\0") is None
    assert git.ask(folder / "nosuch", "status") is None
    monkeypatch.setenv("PATH", str(folder))
    assert git.ask(folder, "status") is None


def test_nothing_of_a_repository_is_started(repository):
    folder, command_line = repository
    started = folder / "started"
    for hook in ("monitor", "post-checkout"):
        (folder / hook).write_text(f"#!/bin/sh\ntouch {started}\n")
        (folder / hook).chmod(0o755)
    command_line("config", "core.hooksPath", ".")
    command_line("config", "core.fsmonitor", "./monitor")
    git.call(folder, "checkout", "--quiet", "--detach")
    assert git.describe(folder).dirty
    assert not started.exists()
    command_line("status")
    assert started.exists()  # a git that is not asked quietly does start them
