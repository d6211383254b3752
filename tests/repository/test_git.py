import subprocess

import pytest

from gapbench.repository import git


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


def test_the_variables_of_a_hook_do_not_reach_git(repository, tmp_path_factory, monkeypatch):
    """In a pre-commit hook they name the index of the commit that is being made: a worktree overwrote it."""
    folder, command_line = repository
    other = tmp_path_factory.mktemp("other")
    command_line("clone", "--quiet", str(folder), str(other))
    (folder / "second").write_text("staged\n")
    command_line("add", "second")
    index = folder / ".git" / "index"
    before = index.read_bytes()
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    monkeypatch.setenv("GIT_DIR", str(folder / ".git"))
    assert git.describe(other).dirty is False
    git.call(other, "worktree", "add", "--detach", str(other / "tree"), "HEAD")
    git.call(other / "tree", "rm", "--quiet", "file")
    assert index.read_bytes() == before


def test_a_detached_head_is_no_branch(repository):
    folder, command_line = repository
    command_line("checkout", "--quiet", "--detach")
    described = git.describe(folder)
    assert (described.branch, described.commit) == (None, command_line("rev-parse", "HEAD"))


SETTINGS = {
    "log.showSignature": "true", "color.ui": "always", "color.diff": "always", "color.status": "always",
    "diff.algorithm": "histogram", "diff.context": "9", "diff.renames": "copies",
    "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "diff.relative": "true",
    "status.showUntrackedFiles": "no", "i18n.logOutputEncoding": "latin1", "core.abbrev": "4", "column.ui": "always",
    "log.decorate": "full", "log.date": "relative", "format.pretty": "fuller", "status.branch": "true",
    "status.relativePaths": "true", "core.quotePath": "false", "log.mailmap": "true", "core.pager": "false",
}  # fmt: skip


def test_what_somebody_configured_changes_nothing_that_is_read(repository):
    folder, command_line = repository
    command_line("commit", "--quiet", "--allow-empty", "--message", "Größer & <only>")
    below = folder / "below"
    below.mkdir()

    def read():
        (folder / "file").write_text("one\n")
        clean = git.describe(below)
        (folder / "file").write_text("two\n")
        changed = git.describe(below)
        (folder / "untracked").write_text("")
        all_of_it = clean, changed, git.describe(below), git.tracked(below)
        (folder / "untracked").unlink()
        return all_of_it

    plain = read()
    assert [one.dirty for one in plain[:3]] == [False, True, True]
    assert plain[0].subject == "Größer & <only>"
    for name, value in SETTINGS.items():
        command_line("config", name, value)
    assert read() == plain


def test_why_git_does_not_read_a_repository_is_told_in_its_words(repository, tmp_path_factory):
    folder, _ = repository
    assert git.refusal(folder) is None
    assert git.refusal(tmp_path_factory.mktemp("none")) is None
    (folder / ".git" / "config").write_text("[core\n")
    assert "bad config" in git.refusal(folder)
