"""The parent believes nothing that does not answer what was asked; hostile code costs its own rows."""

import pickle
from dataclasses import replace
from pathlib import Path

import hostile
import pytest

from gapbench.cases import Case
from gapbench.measuring import credible, duel, engine
from gapbench.measuring.duel import Foul, Side
from gapbench.measuring.plan import Contest, Effort
from gapbench.measuring.rounds import Assignment, Fault, RoundResult
from gapbench.measuring.schedule import Batches
from gapbench.measuring.source import Source
from gapbench.measuring.template import RunningContender, Template
from gapbench.records import Qualification

SMALL = Case((1, 8, 4, 4))
ASSIGNMENT = Assignment(SMALL, ("a", "b"), {"host": (0, 1), "host_cold": (1,)}, 0, 0.1, 1e-3)
BOTH = Batches([0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 1], [2] * 4, [1e-6] * 4)
ONE = Batches([1, 1], [0, 1], [0, 0], [2] * 2, [1e-6] * 2)
GOOD = RoundResult({"host": BOTH, "host_cold": ONE}, {}, {"host": 1.0}, {"steal": 0.0, "throttle": None})


def test_an_answer_to_the_question_is_believed():
    assert credible.result(GOOD, ASSIGNMENT)
    assert credible.fault(Fault(1, "wrong", "x", "host"), ASSIGNMENT)
    assert credible.fault(Fault(None, "oom", "x"), ASSIGNMENT)
    assert credible.calibrated({1: (3, 1e-3)}, ASSIGNMENT)
    assert credible.qualification(Qualification())
    assert credible.qualification(Qualification("oom", "too large"))


@pytest.mark.parametrize(
    "batches",
    [
        replace(BOTH, contender=[0, 1, 1, 2]),
        replace(BOTH, contender=[0, 1, 1, -1]),
        replace(BOTH, contender=[0, 1, 1, 1]),
        replace(BOTH, contender=[0, 0, 0, 0]),
        replace(BOTH, turn=[0, 0, 1]),
        replace(BOTH, turn=[0, 0, 1, 2**31]),
        replace(BOTH, position=[-1, 0, 1, 1]),
        replace(BOTH, calls=[0, 1, 1, 1]),
        replace(BOTH, seconds_per_call=[1e-6, 1e-6, 1e-6, float("nan")]),
        replace(BOTH, seconds_per_call=[1e-6, 1e-6, 1e-6, float("inf")]),
        replace(BOTH, seconds_per_call=[1e-6, 1e-6, 1e-6, -1e-6]),
        Batches(),
    ],
)
def test_batches_that_nobody_asked_for_are_not(batches):
    assert not credible.result(replace(GOOD, batches={**GOOD.batches, "host": batches}), ASSIGNMENT)


@pytest.mark.parametrize(
    "other",
    [
        {"batches": {"host": BOTH}},
        {"batches": {"host": BOTH, "host_cold": ONE, "graph_warm": ONE}},
        {"telemetry": {"case": "another"}},
        {"telemetry": {"power_w": "much"}},
        {"telemetry": {"throttle": 1.0}},
        {"slowdowns": {"host": float("nan")}},
    ],
)
def test_results_with_more_or_less_are_not(other):
    assert not credible.result(replace(GOOD, **other), ASSIGNMENT)


@pytest.mark.parametrize(
    "fault",
    [Fault(2, "oom", "x"), Fault(-1, "oom", "x"), Fault(0, "ok", "x"), Fault(0, "no", "x"), Fault(0, "oom", "x", "s")],
)  # fmt: skip
def test_faults_of_nobody_are_not(fault):
    assert not credible.fault(fault, ASSIGNMENT)


@pytest.mark.parametrize(
    "said",
    ["text", None, {}, {0: (3, 1.0)}, {1: (0, 1.0)}, {1: (1, float("nan"))}, {1: 3}, {"1": (1, 1.0)}, {1: (1, 1.0, 2)}],
)  # fmt: skip
def test_other_batch_sizes_are_not(said):
    assert not credible.calibrated(said, ASSIGNMENT)


@pytest.mark.parametrize("said", [Qualification("splendid"), Qualification("failed"), Qualification("ok", "why?")])
def test_judgements_that_are_none_are_not(said):
    assert not credible.qualification(said)


def test_a_byte_that_names_nobody_is_nobodys():
    running = RunningContender.create()
    running.set(2)
    assert running.one_of(3) == 2
    assert running.one_of(2) is None


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_attack_is_one(here):
    pickle.loads(hostile.PICKLE)  # noqa: S301 - what would happen if the parent did
    assert (here / "gapbench-executed").is_dir()


HOSTILE = {
    "pickles": "sent no message",
    "pickles_later": "sent no message",
    "forges_a_judgement": "not asked",
    "judges_with_text": "not asked",
    "forges_a_round": "not asked",
    "forges_a_fault": "not asked",
}


def test_hostile_code_costs_its_own_rows_and_runs_nothing_here(here):
    specs = {"mean": "mean"} | {name: f"{hostile.__file__}:{name}" for name in HOSTILE}
    effort = Effort(budget=4, rounds=2, patience=20, target=0.9)
    events = list(engine.measure([Contest("test", SMALL, specs)], effort))
    found = {one.implementation: one.qualification for one in events if isinstance(one, engine.Qualified)}
    assert found.pop("mean").status == "ok"
    assert {name: one.status for name, one in found.items()} == dict.fromkeys(HOSTILE, "failed")
    assert all(HOSTILE[name] in (one.reason or "") for name, one in found.items())
    measured = [one for one in events if isinstance(one, engine.RoundMeasured)]
    assert len(measured) >= 2
    assert all(set(one.seconds("host")) == {"mean"} for one in measured)
    assert list(here.iterdir()) == []


@pytest.fixture(scope="module")
def template():
    with Template(["gapbench.measuring.preload"]) as template:
        template.wait_ready()
        yield template


@pytest.mark.parametrize("name", ["pickles", "judges_with_text", "forges_a_round", "forges_a_fault"])
def test_a_hostile_head_loses_its_round_and_base_is_not_blamed(template, here, tmp_path_factory, name):
    code = Path(hostile.__file__).read_text()
    sides = []
    for side, function in (("base", "mean"), ("head", name)):
        folder = tmp_path_factory.mktemp(side)
        (folder / "mine.py").write_text(f"{code}\n\nmine = {function}\n")
        sides.append(Side(side, Source.of(folder), template))
    found = duel.measure(Assignment(SMALL, ("mine.py:mine",), {"host": (0,)}, 3, 0.05, 1e-4, most_turns=6), sides, 60.0)
    assert isinstance(found, Foul)
    assert (found.side, found.fault.status) == ("head", "failed")
    assert HOSTILE[name] in found.fault.reason
    assert list(here.iterdir()) == []


def test_a_side_with_another_number_of_turns_is_told_from_base():
    found = {0: RoundResult({"host": ONE}), 1: RoundResult({"host": BOTH})}
    assert duel._out_of_step(found, 0) == 1
    assert duel._out_of_step(found, 1) == 0
    assert duel._out_of_step(found | {1: found[0]}, 0) is None
