"""Test the order of runs by the commits of real repositories."""

import subprocess

import pytest

from gapbench.analysis import history
from gapbench.analysis.history import order
from gapbench.repository.git import Git
from gapbench.store.run import Run

AUTHOR = ["-c", "user.name=a", "-c", "user.email=a@b"]


class Repository:
    """A git repository whose commits have the given times, in any order."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments, date="2026-01-01T00:00:00Z"):
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        command = ["git", *AUTHOR, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=dates, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, day=1):
        self.git("commit", "-q", "--allow-empty", "-m", f"day {day}", date=f"2026-01-{day:02}T00:00:00Z")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return Repository(tmp_path / "repository")


def documents(*commits):
    """Return the run.json of runs of these commits, started in this order."""
    runs = [f"202601{number:02}T000000Z-x-0000" for number in range(1, len(commits) + 1)]
    return [Run(id=run, git=commit and Git(commit=commit)) for run, commit in zip(runs, commits, strict=True)]


def places(result):
    """Return the positions by start time in the resulting order."""
    return [int(run[6:8]) for run in result.runs]


def test_runs_are_in_the_order_of_commits_however_late_they_were_measured(repository):
    first, second, third = (repository.commit(day) for day in (9, 5, 7))  # clocks differ between machines
    result = order(documents(third, first, second, first), repository.folder)
    assert places(result) == [2, 4, 3, 1]
    assert (result.by, result.phrase) == ("commit", "in the order of their commits")


def test_a_branch_is_kept_together_and_comes_before_its_merge(repository):
    base = repository.commit(1)
    repository.git("checkout", "-q", "-b", "side")
    side = [repository.commit(day) for day in (2, 4)]
    repository.git("checkout", "-q", "main")
    main = [repository.commit(day) for day in (3, 5)]
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "side", date="2026-01-06T00:00:00Z")
    merge = repository.git("rev-parse", "HEAD")
    result = places(order(documents(base, side[0], main[0], side[1], main[1], merge), repository.folder))
    assert result in ([1, 2, 4, 3, 5, 6], [1, 3, 5, 2, 4, 6])


def test_a_commit_on_a_branch_that_is_not_checked_out_counts_too(repository):
    base = repository.commit(1)
    repository.git("checkout", "-q", "-b", "side")
    side = repository.commit(2)
    repository.git("checkout", "-q", "main")
    assert places(order(documents(side, base), repository.folder)) == [2, 1]


def test_where_one_commit_is_not_known_all_go_by_time(repository):
    first, second = repository.commit(1), repository.commit(2)
    for stranger in ("f" * 40, None, "--all", "nogit", "$(id)", "a\nb"):
        result = order(documents(second, stranger, first), repository.folder)
        assert places(result) == [1, 2, 3]
        assert result.by == "start"
        assert result.phrase == "by start time, as this repository lacks the commits of 1 of 3 runs"


def test_what_is_no_commit_is_not_taken_for_one(repository):
    repository.commit()
    tree = repository.git("rev-parse", "HEAD^{tree}")
    assert history.positions_of([tree, "f" * 40], repository.folder) == {}


def test_outside_of_repositories_runs_go_by_time(tmp_path):
    result = order(documents("a" * 40, "b" * 40), tmp_path)
    assert (places(result), result.by) == ([1, 2], "start")
    assert result.phrase == "by start time, as this folder is not in a git repository"


def test_an_empty_repository_knows_no_commit(repository):
    assert order(documents("a" * 40), repository.folder).phrase.endswith("lacks the commits of 1 of 1 runs")


def test_a_shallow_clone_orders_what_it_has(repository, tmp_path):
    first, second, third = (repository.commit(day) for day in (1, 2, 3))
    clone = tmp_path / "clone"
    repository.git("clone", "-q", "--depth", "2", repository.folder.as_uri(), str(clone))
    assert places(order(documents(third, second), clone)) == [2, 1]
    assert order(documents(third, first), clone).by == "start"
