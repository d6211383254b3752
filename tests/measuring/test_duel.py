"""Whole rounds of two sides: real templates, real workers."""

import numpy as np
import pytest

from gapbench.cases import Case
from gapbench.measuring import duel
from gapbench.measuring.duel import Bout, Foul, Side
from gapbench.measuring.rounds import Assignment, RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.measuring.source import Source
from gapbench.measuring.template import Template

CASE = Case((1, 16, 8, 8))
HONEST = "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n"


@pytest.fixture(scope="module")
def template():
    with Template(["gapbench.measuring.preload"]) as template:
        template.wait_ready()
        yield template


@pytest.fixture
def play(template, tmp_path):
    """Return a function that plays a round between two sides with the given code."""

    def run(base, head, names=("base", "head"), clocks=("host",), patience=60.0, case=CASE):
        sides = []
        for name in names:
            folder = tmp_path / name
            folder.mkdir()
            (folder / "mine.py").write_text(base if name == "base" else head)
            sides.append(Side(name, Source.of(folder), template))
        entries = dict.fromkeys(clocks, (0,))
        assignment = Assignment(case, ("mine.py:pool",), entries, 3, 0.05, 1e-4, most_turns=6)
        return duel.measure(assignment, sides, patience)

    return run


def test_every_side_takes_the_same_turns_with_the_same_batches(play):
    results = play(HONEST, HONEST, ("base", "head", "null"), ("host", "host_cold"))
    assert set(results) == {"base", "head", "null"}
    for clock in ("host", "host_cold"):
        one, *others = (result.batches[clock] for result in results.values())
        assert sorted(set(one.turn)) == list(range(6))
        for other in others:
            assert (one.turn, one.calls) == (other.turn, other.calls)
        places = zip(one.position, *(other.position for other in others), strict=True)
        assert all(sorted(positions) == [0, 1, 2] for positions in places)


def test_each_side_runs_its_own_code(play):
    slow = HONEST.replace("    return", "    for _ in range(20000): pass\n    return")
    bout = Bout(CASE, 0, ("pool",), play(HONEST, slow))
    assert bout.log_ratios("host", "head", "base")["pool"] > np.log(3)
    assert bout.log_ratios("host", "null", "base") == {}


def test_a_backward_pass_is_bound_again_on_every_side(play):
    assert set(play(HONEST, HONEST, case=Case((1, 16, 8, 8), pass_="backward"))) == {"base", "head"}


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("import os\ndef pool(x):\n    os.kill(os.getpid(), 9)\n", "failed", "SIGKILL"),
        ("def pool(x):\n    raise ValueError('no good')\n", "failed", "no good"),
        ("def pool(x):\n    return 2 * x.mean((2, 3), keepdim=True)\n", "wrong", "after timing"),
        ("import no_such_module\n", "failed", "no_such_module"),
        ("def other(x):\n    return x\n", "failed", "no function 'pool'"),
    ],
)
@pytest.mark.parametrize("guilty", ["base", "head"])
def test_the_guilty_side_is_named_and_the_other_does_not_wait_for_it(play, code, status, reason, guilty):
    foul = play(*((code, HONEST) if guilty == "base" else (HONEST, code)))
    assert isinstance(foul, Foul)
    assert (foul.side, foul.fault.status, foul.fault.contender) == (guilty, status, 0)
    assert reason in foul.fault.reason


def test_a_side_that_hangs_is_stopped(play):
    foul = play(HONEST, "import time\ndef pool(x):\n    time.sleep(1000)\n", patience=3.0)
    assert foul.fault.status == "timeout"


def test_a_side_without_the_file_fails(template, tmp_path):
    for name in ("base", "head"):
        (tmp_path / name).mkdir()
    (tmp_path / "base" / "mine.py").write_text(HONEST)
    sides = [Side(name, Source.of(tmp_path / name), template) for name in ("base", "head")]
    foul = duel.measure(Assignment(CASE, ("mine.py:pool",), {"host": (0,)}, 3, 0.05, 1e-4), sides, 60.0)
    assert foul.side == "head"
    assert "there is no file" in foul.fault.reason


def test_a_package_of_the_repository_is_that_of_the_side(template, tmp_path):
    """Even where it is installed from elsewhere: the checkout comes first."""
    for name, factor in (("base", 1), ("head", 2)):
        package = tmp_path / name / "src" / "its_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"FACTOR = {factor}\n")
        code = HONEST.replace("x.mean", "FACTOR * x.mean")
        (tmp_path / name / "mine.py").write_text(f"from its_package import FACTOR\n{code}")
    sides = [Side(name, Source.of(tmp_path / name), template) for name in ("base", "head")]
    foul = duel.measure(Assignment(CASE, ("mine.py:pool",), {"host": (0,)}, 3, 0.05, 1e-4), sides, 60.0)
    assert (foul.side, foul.fault.status) == ("head", "wrong")


def test_the_ratio_of_a_round_is_of_neighbours():
    """Both sides slow down fivefold half-way: the ratio does not notice."""
    weather = [1.0, 1.0, 5.0, 5.0]
    results = {
        side: RoundResult({"host": Batches([0] * 4, [0, 1, 2, 3], [0] * 4, [1] * 4, [s * w for w in weather])})
        for side, s in (("base", 1e-6), ("head", 1.1e-6))
    }
    assert Bout(CASE, 0, ("pool",), results).log_ratios("host", "head", "base") == {"pool": pytest.approx(np.log(1.1))}
