import pytest
from factories import CASE, a_run, run_id

from gapbench.analysis import history
from gapbench.analysis.history import find, order, since, trends
from gapbench.errors import GapbenchError
from gapbench.store.store import Store

BEFORE, AFTER = 2e-5, 3e-5


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "results"))


def fill(store, **times):
    """Store a run for each of the times of ``mean``, ``adaptive``, ...; None if a run lacks it."""
    runs = []
    for day, row in enumerate(zip(*times.values(), strict=True)):
        seconds = {name: value for name, value in zip(times, row, strict=True) if value is not None}
        commit = f"{day:040x}"
        git = {"commit": commit, "branch": "main", "dirty": False}
        runs.append(a_run(store, run_id(day, commit), seconds, rounds=2, git=git, noise=0.002, seed=day))
    return runs


def judge(store, run, folder):
    documents = {name: store.describe(name) for name in store.ids()}
    ordered = order(list(documents.values()), folder)
    return since(trends(documents, ordered, store.results()), ordered, run)


def test_what_got_slower_is_sorted_with_its_ratio(store, tmp_path):
    runs = fill(
        store,
        mean=[BEFORE] * 4 + [AFTER] * 4,
        adaptive=[BEFORE] * 4 + [2 * BEFORE] * 4,
        sum_scale=[AFTER] * 4 + [BEFORE] * 4,
        einsum=[BEFORE] * 8,
        late=[None] * 3 + [BEFORE] * 5,
        later=[None] * 2 + [BEFORE] * 2 + [None] * 4,
    )
    result = judge(store, runs[1], tmp_path)
    assert [item.implementation for item in result.slower] == ["adaptive", "mean"]
    assert [item.implementation for item in result.faster] == ["sum_scale"]
    assert (result.unchanged, result.undecided, result.absent) == (1, 0, 2)
    worst = result.slower[0]
    assert worst.ratio_low < 2 < worst.ratio_high
    assert worst.ratio_high / worst.ratio_low < 1.05
    assert (worst.runs_before, worst.runs_after, worst.causes, worst.case) == (4, 4, ["code"], CASE.id)


def test_a_step_before_the_run_is_not_since_it(store, tmp_path):
    runs = fill(store, mean=[BEFORE] * 4 + [AFTER] * 4)
    assert [len(judge(store, run, tmp_path).slower) for run in (runs[0], runs[3], runs[4])] == [1, 1, 0]


def test_only_steps_since_the_run_are_its_causes(store, tmp_path):
    times = [1e-5] * 4 + [2e-5] * 4 + [3e-5] * 4
    for day, seconds in enumerate(times):
        git = {"commit": f"{day:040x}", "branch": "main", "dirty": False}
        versions = {"torch": "2.12" if day < 4 else "2.13"}
        a_run(store, run_id(day), {"mean": seconds}, rounds=2, git=git, noise=0.002, seed=day, versions=versions)
    causes = [judge(store, store.ids()[day], tmp_path).slower[0].causes for day in (1, 5)]
    assert causes == [["environment", "code"], ["code"]]
    assert judge(store, store.ids()[5], tmp_path).slower[0].environment == []


def test_there_and_back_again_is_unchanged(store, tmp_path):
    runs = fill(store, mean=[BEFORE] * 4 + [AFTER] * 4 + [BEFORE] * 4)
    result = judge(store, runs[0], tmp_path)
    assert (result.slower, result.faster, result.unchanged) == ([], [], 1)
    assert len(judge(store, runs[5], tmp_path).faster) == 1


def test_too_few_runs_are_undecided(store, tmp_path):
    runs = fill(store, mean=[BEFORE, BEFORE, AFTER, AFTER])
    assert judge(store, runs[0], tmp_path).undecided == 1


def test_a_run_is_found_as_everywhere_or_by_what_git_knows(store, monkeypatch):
    runs = fill(store, mean=[BEFORE] * 3)
    assert find(store, "latest") == runs[2]
    assert find(store, f"{1:040x}") == runs[1]
    commits = {"v1": f"{1:040x}", "v2": "f" * 40}
    monkeypatch.setattr(history, "commit_of", commits.get)
    assert find(store, "v1") == runs[1]
    with pytest.raises(GapbenchError, match="v2 is commit fffffff, of which .*results has no run; name a run"):
        find(store, "v2")
    with pytest.raises(GapbenchError, match="there is no run 'v3'"):
        find(store, "v3")
