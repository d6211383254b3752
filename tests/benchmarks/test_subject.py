"""The repository whose head does more: right by the oracle, honest by the cheat checks, its work where it is timed."""

import json
from itertools import repeat

import pytest
import subject
import torch
from click.testing import CliRunner

from gapbench.implementations import user
from gapbench.measuring import cheat_checks
from gapbench.workloads import inputs, oracle
from gapbench.workloads.passes import make_call

CALIBRATION = dict.fromkeys(subject.CASES, (1e-5, 5e-9))
FORWARD, BACKWARD = (
    next(one for one in subject.CASES.values() if one.pass_ == pass_) for pass_ in ("forward", "backward")
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    subject.make(folder, CALIBRATION)
    return folder


@pytest.fixture(scope="module")
def namespaces(repository):
    found = []
    for commit in ("HEAD~1", "HEAD"):
        found.append({})
        exec(subject.git(repository, "show", f"{commit}:{subject.FILE}"), found[-1])  # noqa: S102 - written by `subject`
    return found


def test_there_are_two_commits_that_differ_in_the_table_alone(repository):
    assert len(subject.git(repository, "log", "--format=%H").splitlines()) == 2
    assert subject.git(repository, "status", "--porcelain") == ""
    changed = [line for line in subject.git(repository, "diff", "HEAD~1").splitlines() if line[0] in "+-"][2:]
    assert len(changed) == 2 * len(subject.CASES)
    assert all("torch." in line and "ward'): (0, " in line for line in changed)


def test_the_extra_work_is_the_level_s_share_of_what_base_takes(namespaces):
    base, head = (one["TURNS"] for one in namespaces)
    assert set(base.values()) == {(0,) * len(subject.LEVELS)}
    assert set(head.values()) == {(0, 20, 40, 60, 100, 200)}  # 1 % of 10 µs is 20 turns of 5 ns
    assert len(base) == len(head) == len(subject.CASES) == 12


@pytest.mark.parametrize("case", subject.CASES.values(), ids=lambda case: case.id)
def test_it_is_right(repository, case):
    implementation = user.load(f"{repository / subject.FILE}:pool_10")
    assert oracle.examine(case, implementation.prepare(case), seed=3).reason is None


@pytest.mark.parametrize("case", [FORWARD, BACKWARD], ids=lambda case: case.pass_)
def test_it_works_in_the_calling_thread(repository, case):
    torch.set_num_threads(1)
    function = user.load(f"{repository / subject.FILE}:pool_10").prepare(case)
    call = make_call(case, function, inputs.sample(case, 0), inputs.upstream(case, 0, case.averaged))
    assert cheat_checks.off_thread_work(call, case) is None


@pytest.mark.parametrize("case", [FORWARD, BACKWARD], ids=lambda case: case.pass_)
def test_every_timed_call_loops_once_and_what_is_not_timed_never(namespaces, case, monkeypatch):
    looped = []

    def counting(_, turns):
        looped.append(turns)
        return repeat(None, turns)

    monkeypatch.setitem(namespaces[1], "repeat", counting)
    for level, turns in zip(subject.LEVELS, (0, 20, 40, 60, 100, 200), strict=True):
        function = namespaces[1][f"pool_{level}"]
        looped.clear()
        call = make_call(case, function, inputs.sample(case, 0), inputs.upstream(case, 0, case.averaged))
        assert looped == []  # the graph of a backward case was recorded, and nothing was done for it
        call()
        call()
        assert looped == [turns, turns]


def test_the_command_makes_it_in_a_new_folder_only(tmp_path):
    calibration = tmp_path / "calibration.json"
    calibration.write_text(json.dumps(CALIBRATION))
    arguments = ["make", str(tmp_path / "new"), str(calibration)]
    done = CliRunner().invoke(subject.main, arguments, catch_exceptions=False)
    assert done.output.split() == subject.git(tmp_path / "new", "log", "--reverse", "--format=%H").splitlines()
    again = CliRunner().invoke(subject.main, arguments)
    assert again.exit_code == 2
    assert "is not empty; name a new folder" in again.output
