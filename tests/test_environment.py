import subprocess

import pytest

from gapbench import environment


@pytest.fixture
def repository(tmp_path):
    def git(*arguments):
        command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--initial-branch", "trunk")
    (tmp_path / "file").write_text("one\n")
    git("add", "file")
    git("commit", "--message", "First & <only>")
    return tmp_path, git


def test_a_clean_tree_is_described_by_its_commit(repository):
    folder, git = repository
    assert environment.git(folder) == {
        "commit": git("rev-parse", "HEAD"),
        "branch": "trunk",
        "subject": "First & <only>",
        "dirty": False,
        "diff_hash": None,
    }


def test_a_dirty_tree_says_so_with_a_hash_of_what_differs(repository):
    folder, _ = repository
    (folder / "file").write_text("two\n")
    first = environment.git(folder)
    assert first["dirty"]
    (folder / "file").write_text("three\n")
    assert environment.git(folder)["diff_hash"] not in (None, first["diff_hash"])
    (folder / "file").write_text("one\n")
    (folder / "untracked").write_text("")
    assert environment.git(folder)["dirty"]


def test_outside_a_repository_there_is_no_git(tmp_path):
    assert environment.git(tmp_path) is None


def test_the_machine_is_described_without_its_name_or_user():
    import getpass
    import socket

    described = environment.describe("cpu")
    assert described["machine"]["memory_bytes"] > 2**28
    assert described["versions"]["gapbench"]
    assert socket.gethostname() not in str(described["machine"])
    assert getpass.getuser() not in str(described["machine"])


def test_a_busy_machine_is_warned_about_with_a_remedy(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert environment.load_warnings([0.5, 0, 0]) == []
    (warning,) = environment.load_warnings([3.0, 0, 0])
    assert "3.0 on 4 cores" in warning
    assert "run again" in warning
