"""The processes of one case, for real: who is judged and timed in which, and what becomes of those that misbehave."""

import os
import pickle
import re
import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import acted
import hostile
import numpy as np
import pytest
from msgspec.structs import replace

from gapbench.measuring import case_processes, engine, prepared
from gapbench.measuring.case_processes import CaseProcesses
from gapbench.measuring.events import CaseDone, Qualified, RoundMeasured, SidesSeparated, WorkerLost
from gapbench.measuring.plan import CasePlan, Effort, Plan, Side, Source
from gapbench.measuring.protocol import DEVICE_LOST, Agreement, Batches, Judged, RoundFailure, RoundResult, WorkerExit
from gapbench.measuring.rounds import Assignment
from gapbench.measuring.servers import Servers
from gapbench.measuring.side_sync import LEFT_ALONE
from gapbench.store.records import BASE, HEAD, NULL, THIS, Qualification
from gapbench.workloads.cases import Case

SMALL = Case((1, 16, 8, 8))
HONEST = "def pool(x):\n    return x.mean((2, 3), keepdim=True)\n"
HASTY = Effort(budget=4, rounds=2, patience=20, target=0.9, race=False)


def of(kind, events):
    return [event for event in events if isinstance(event, kind)]


def statuses(events):
    """Return the last word on each contender, by (side, implementation)."""
    return {(event.contender, event.implementation): event.qualification for event in of(Qualified, events)}


# Implementations of one side


def measure(specs, effort=HASTY, case=SMALL):
    case_plan = CasePlan("test", case, {"mean": "mean", **specs})
    return list(engine.measure(Plan((case_plan,), effort)))


def test_a_first_death_in_a_round_is_forgiven_and_told_and_the_round_measured_again(user_file, tmp_path):
    source = f"import gc, os\nfrom pathlib import Path\nKILLED = Path({str(tmp_path / 'killed')!r})\n{HONEST}"
    dies_once = (
        "    if not gc.isenabled() and not KILLED.exists():\n        KILLED.touch()\n        os.kill(os.getpid(), 9)\n"
    )
    events = measure({"pool": user_file("pool", source.replace("    return", f"{dies_once}    return"))})
    (lost,) = of(WorkerLost, events)
    assert (lost.implementation, lost.round) == ("pool", 0)
    assert "SIGKILL" in lost.reason
    assert {result.status for result in statuses(events).values()} == {"ok"}
    rounds = of(RoundMeasured, events)
    assert [measured.round for measured in rounds][:2] == [0, 1]
    assert rounds[0].process == 1


def test_a_second_death_in_rounds_drops_the_row_and_no_other(user_file):
    source = "import gc, os\n" + HONEST.replace("    return", "    if not gc.isenabled(): os.abort()\n    return")
    events = measure({"pool": user_file("pool", source)})
    (lost,) = of(WorkerLost, events)
    assert lost.implementation == "pool"
    results = statuses(events)
    assert (results[THIS, "pool"].status, results[THIS, "mean"].status) == ("failed", "ok")
    assert "SIGABRT" in results[THIS, "pool"].reason
    assert len(of(RoundMeasured, events)) >= 2
    assert all(set(event.by_turn("host")) == {(THIS, "mean")} for event in of(RoundMeasured, events))


@pytest.mark.parametrize(
    ("moment", "condition"), [("loading", "True"), ("judging", "len(calls) > 1 and gc.isenabled()")]
)
def test_a_death_while_loading_or_judging_drops_the_culprit_at_once_and_alone(user_file, moment, condition):
    source = f"""
import gc, os
calls = []
def pool(x):
    calls.append(1)
    if {condition}:
        os.abort()
    return x.mean((2, 3), keepdim=True)
def other(x):
    return x.mean((2, 3), keepdim=True)
"""
    file = user_file("pool", source).rpartition(":")[0]
    events = measure({name: f"{file}:{name}" for name in ("pool", "other")})
    assert not of(WorkerLost, events)
    results = {name: result.status for (_, name), result in statuses(events).items()}
    assert results == {"mean": "ok", "pool": "failed", "other": "ok"}
    assert "SIGABRT" in statuses(events)[THIS, "pool"].reason
    assert {name for _, name in of(RoundMeasured, events)[-1].by_turn("host")} == {"mean", "other"}


def test_a_worker_that_dies_before_any_contender_runs_is_nobodys_fault_and_ends_the_case_when_it_happens_twice(
    monkeypatch,
):
    def die(self, group, assignment, timeout):
        forker, _ = self._forker(group, assignment)
        forker.current.clear()
        return case_processes.forkserver.last_answer(forker.start(os._exit, 9), timeout), forker.current.get()

    monkeypatch.setattr(CaseProcesses, "_alone", die)
    events = measure({"sum_scale": "sum_scale"})
    (lost,) = of(WorkerLost, events)
    assert lost.implementation == "none of them"
    assert {result.status for result in statuses(events).values()} == {"failed"}
    assert [event.stopped_by for event in of(CaseDone, events)] == ["failed"]


def test_a_case_process_that_dies_between_rounds_is_loaded_again(monkeypatch):
    """The kernel may choose it where memory is short: that is nobody's fault, and costs nobody's rows."""
    alone = CaseProcesses._alone
    killed = []

    def kill_before(self, group, assignment, timeout):
        if len(killed) < 1:
            killed.append(group.branch.worker._pid)
            os.kill(group.branch.worker._pid, signal.SIGKILL)
        return alone(self, group, assignment, timeout)

    monkeypatch.setattr(CaseProcesses, "_alone", kill_before)
    events = measure({"sum_scale": "sum_scale"}, Effort(budget=2, rounds=3, patience=20, target=0.9, race=False))
    assert len(killed) == 1
    (lost,) = of(WorkerLost, events)
    assert (lost.implementation, lost.round) == ("none of them", 0)
    assert {result.status for result in statuses(events).values()} == {"ok"}
    assert [event.round for event in of(RoundMeasured, events)][:3] == [0, 1, 2]


def test_who_kills_the_case_process_in_rounds_costs_at_most_its_own_row(user_file):
    events = measure({"kills_its_parent": user_file("kills_its_parent")})
    assert statuses(events)[THIS, "mean"].status == "ok"
    rounds = of(RoundMeasured, events)
    assert len(rounds) >= 2
    assert all((THIS, "mean") in item.by_turn("host") for item in rounds)


@pytest.mark.parametrize(
    ("specs", "case"),
    [
        ({"leaves_a_thread": "misbehaving"}, SMALL),
        ({"sum_scale": "sum_scale"}, Case((1, 16, 8, 8), threads=2)),
        ({"compiled_mean": "compiled_mean"}, Case((1, 16, 8, 8), threads=2)),
    ],
    ids=["thread left behind", "two threads", "two threads, compiled"],
)
def test_where_the_loaded_process_cannot_be_forked_every_round_loads_by_itself(monkeypatch, user_file, specs, case):
    specs = {name: user_file(name) if spec == "misbehaving" else spec for name, spec in specs.items()}
    tasks = []
    forker = CaseProcesses._forker

    def watched(self, group, assignment):
        chosen = forker(self, group, assignment)
        tasks.append(chosen[1])
        return chosen

    monkeypatch.setattr(CaseProcesses, "_forker", watched)
    events = measure(specs, case=case)
    assert {result.status for result in statuses(events).values()} == {"ok"}
    assert len(of(RoundMeasured, events)) >= 2
    assert all(task is not None for task in tasks)
    assert len({task.seed for task in tasks}) == len(tasks)  # another order and other noise each time


@pytest.mark.parametrize("pass_", ["backward", "training"])
def test_gradients_are_measured_in_forks_of_one_process(user_file, pass_):
    events = measure({"pool": user_file("pool", HONEST)}, case=Case((2, 8, 8, 8), pass_=pass_))
    assert {result.status for result in statuses(events).values()} == {"ok"}
    assert len(of(RoundMeasured, events)) >= 2


def test_another_process_takes_over_after_some_rounds(user_file):
    """Where code lies in memory is a process's for life: rounds come from several."""
    source = f"import os\nPARENT = os.getpid()\n{HONEST}".replace(
        "    return", "    print('parent', PARENT)\n    return"
    )
    case_plan = CasePlan("test", SMALL, {"mean": "mean", "pool": user_file("pool", source)})
    plan = Plan((case_plan,), HASTY)
    with Servers() as servers:
        servers.load(plan.plans, plan.sides)
        processes = CaseProcesses(case_plan, plan, servers)
        list(processes.qualify())
        parents = []
        for number in range(2 * case_processes.ROUNDS_PER_PARENT + 1):
            list(processes.measure(number, Assignment({"host": (0, 1)}, number, 0.02, 1e-4, most_turns=4)))
            parents.append(processes._groups[0].branch.worker)
        processes.close()
    counts = Counter(map(id, parents))
    assert sorted(counts.values()) == [1, case_processes.ROUNDS_PER_PARENT, case_processes.ROUNDS_PER_PARENT]


# Hostile code


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_attack_is_one(here):
    pickle.loads(hostile.PICKLE)  # noqa: S301 - what would happen if the parent did
    assert (here / "gapbench-executed").is_dir()


HOSTILE = {
    "pickles": "sent an invalid message",
    "pickles_later": "sent an invalid message",
    "forges_a_judgement": "does not fit the request",
    "judges_with_text": "sent an invalid message",
    "forges_a_round": "does not fit the request",
    "forges_a_failure": "does not fit the request",
    "prepares_the_others": "does not fit the request",
    "agrees_with_itself": "does not fit the request",
}


def test_hostile_code_costs_its_own_rows_and_runs_nothing_here(here):
    events = measure({name: f"{hostile.__file__}:{name}" for name in HOSTILE})
    results = {name: result for (_, name), result in statuses(events).items()}
    assert results.pop("mean").status == "ok"
    assert {name: result.status for name, result in results.items()} == dict.fromkeys(HOSTILE, "failed")
    assert {name: HOSTILE[name] for name, result in results.items() if HOSTILE[name] not in (result.reason or "")} == {}
    rounds = of(RoundMeasured, events)
    assert len(rounds) >= 2
    assert all(set(item.by_turn("host")) == {(THIS, "mean")} for item in rounds)
    assert list(here.iterdir()) == []


def test_who_says_that_all_is_well_before_it_is_drops_out_alone(user_file):
    """It knows how many there are, says that all are loaded, and leaves."""
    source = Path(hostile.__file__).read_text()
    source += """
def pool(x):
    attack(packed("Prepared", first_call={0: 1e-9, 1: 1e-9}, rejected={}, forkable=True))
"""
    events = measure({"pool": user_file("pool", source)})
    results = statuses(events)
    assert (results[THIS, "mean"].status, results[THIS, "pool"].status) == ("ok", "failed")
    assert len(of(RoundMeasured, events)) >= 2


# Sides


@pytest.fixture
def play(tmp_path):
    """Return a function that qualifies sides and plays rounds between them: their events, rounds and processes."""

    def run(
        base, head, names=(BASE, HEAD, NULL), clocks=("host",), case=SMALL, rounds=1, patience=60.0, specs=("pool",)
    ):
        sides = []
        for name, files in zip(names, (base, head, base), strict=False):
            folder = tmp_path / name
            for path, text in ({"mine.py": files} if isinstance(files, str) else files).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
            folder.mkdir(exist_ok=True)
            sides.append(Side(name, Source.of(folder)))
        case_plan = CasePlan("ci", case, {name: f"mine.py:{name}" for name in specs}, clocks)
        plan = Plan((case_plan,), Effort(patience=patience), tuple(sides))
        events = []
        with Servers() as servers:
            servers.load(plan.plans, plan.sides)
            processes = CaseProcesses(case_plan, plan, servers)
            events += processes.qualify()
            for number in range(rounds):
                entries = dict.fromkeys(clocks, processes.contenders)
                assignment = Assignment(entries, number, 0.05, 1e-4, most_turns=6)
                measuring = processes.measure(number, assignment)
                while processes.contenders:
                    try:
                        events.append(next(measuring))
                    except StopIteration as end:
                        if end.value is not None:
                            events.append(RoundMeasured(case, number, number, specs, end.value, names))
                        break
            together = len(processes._groups) == 1
            processes.close()
        return events, together

    return run


def ratio(measured, clock="host", name="pool"):
    seconds = measured.by_turn(clock)
    return float(np.median(seconds[HEAD, name] / seconds[BASE, name]))


SEPARATE = "import os\nos.environ['OMP_SCHEDULE'] = SIDE\n"
"""What makes a side need a process of its own, where ``SIDE`` is another on each."""


def kept_apart(code):
    return [SEPARATE.replace("SIDE", repr(side)) + code for side in (BASE, HEAD)]


@pytest.mark.parametrize("apart", [False, True])
def test_every_side_takes_the_same_turns_with_the_same_batches(play, apart):
    codes = kept_apart(HONEST) if apart else [HONEST, HONEST]
    cold = Case((4, 64, 28, 28))
    clocks = ("host", "host_cold")
    events, together = play(*codes, case=cold, clocks=clocks)
    if not of(RoundMeasured, events):  # a cache that other machines share may not prove anything cold
        assert {"canary" in result.reason for result in statuses(events).values() if result.reason} == {True}
        clocks = ("host",)
        events, together = play(*codes, case=cold, clocks=clocks)
    assert together is not apart
    (measured,) = of(RoundMeasured, events)
    for clock in clocks:
        batches = measured.result.batches[clock]
        seconds = measured.by_turn(clock)
        assert set(seconds) == {(side, "pool") for side in (BASE, HEAD, NULL)}
        assert all(len(item) == 6 and not np.isnan(item).any() for item in seconds.values())
        assert len(set(batches.calls)) == 1
        places = sorted(zip(batches.turn, batches.position, strict=True))
        assert places == [(turn, position) for turn in range(6) for position in range(3)]
        assert set(measured.result.calibration[clock]) == {0, 1, 2}


@pytest.mark.parametrize("apart", [False, True])
def test_each_side_runs_its_own_code(play, apart):
    slow = HONEST.replace("    return", "    for _ in range(20000): pass\n    return")
    base, head = kept_apart(HONEST) if apart else (HONEST, HONEST)
    events, _ = play(base, head.replace(HONEST, slow))
    (measured,) = of(RoundMeasured, events)
    assert ratio(measured) > 3


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("pass_", ["backward", "training"])
def test_a_backward_pass_is_bound_again_on_every_side(play, apart, pass_):
    codes = kept_apart(HONEST) if apart else [HONEST, HONEST]
    events, _ = play(*codes, case=Case((1, 16, 8, 8), pass_=pass_))
    assert {result.status for result in statuses(events).values()} == {"ok"}
    assert len(of(RoundMeasured, events)) == 1


CONFLICTS = {
    "the number of threads": "import torch\ntorch.set_num_threads(2)\n",
    "the default dtype": "import torch\ntorch.set_default_dtype(torch.float64)\n",
    "the precision of matrix products": "import torch\ntorch.set_float32_matmul_precision('medium')\n",
    "deterministic algorithms": "import torch\ntorch.use_deterministic_algorithms(True)\n",
    "gradient mode": "import torch\ntorch.set_grad_enabled(False)\n",
    "oneDNN": "import torch\ntorch.backends.mkldnn.enabled = False\n",
    "flushing of denormal numbers": "import torch\ntorch.set_flush_denormal(True)\n",
    "environment variables": "import os\nos.environ['OMP_PROC_BIND'] = 'true'\n",
    "torch.mean": "import torch\nmean = torch.mean\ntorch.mean = lambda *a, **k: mean(*a, **k)\n",
}


@pytest.mark.parametrize("what", CONFLICTS)
def test_a_side_that_changes_the_whole_process_gets_one_of_its_own_and_that_is_said(play, what):
    case = Case((1, 16, 8, 8), threads=2) if what == "the number of threads" else SMALL
    change = CONFLICTS[what].replace("set_num_threads(2)", "set_num_threads(1)")
    events, together = play(HONEST, change + HONEST, case=case)
    (reported,) = of(SidesSeparated, events)
    assert re.fullmatch(f"it changes (.*, )?{what}(, .*)? for the whole process", reported.reason)
    assert not together
    assert {result.status for result in statuses(events).values()} == {"ok"}
    assert len(of(RoundMeasured, events)) == 1


REGISTERS = """
import torch
library = torch.library.Library("gapbench_test", "DEF")
library.define("pool(Tensor x) -> Tensor")
library.impl("pool", lambda x: x.mean((2, 3), keepdim=True), "CPU")
def pool(x):
    return torch.ops.gapbench_test.pool(x)
"""


def test_an_operator_that_both_sides_register_separates_them_and_both_are_measured(play):
    events, together = play(REGISTERS, REGISTERS)
    (reported,) = of(SidesSeparated, events)
    assert "gapbench_test" in reported.reason
    assert not together
    assert {result.status for result in statuses(events).values()} == {"ok"}
    (measured,) = of(RoundMeasured, events)
    assert set(measured.by_turn("host")) == {(side, "pool") for side in (BASE, HEAD, NULL)}


@pytest.mark.parametrize("on", [BASE, HEAD])
def test_a_function_that_one_side_does_not_have_is_that_sides_failure_and_separates_nobody(play, on):
    both = HONEST + HONEST.replace("pool", "other")
    codes = (HONEST, both) if on == HEAD else (both, HONEST)
    events, together = play(*codes, specs=("pool", "other"))
    assert together
    assert not of(SidesSeparated, events)
    results = statuses(events)
    missing = BASE if on == HEAD else HEAD
    assert "no function 'other'" in results.pop((missing, "other")).reason
    assert {result.status for result in results.values()} == {"ok"}
    (measured,) = of(RoundMeasured, events)
    assert {(BASE, "pool"), (HEAD, "pool"), (on, "other")} <= set(measured.by_turn("host"))


BROKEN = {
    "dies": ("import os\ndef pool(x):\n    os.kill(os.getpid(), 9)\n", "failed", "SIGKILL"),
    "raises": ("def pool(x):\n    raise ValueError('no good')\n", "failed", "no good"),
    "wrong": ("def pool(x):\n    return 2 * x.mean((2, 3), keepdim=True)\n", "wrong", "wrong at"),
    "does not import": ("import no_such_module\n", "failed", "no_such_module"),
    "has another": ("def other(x):\n    return x\n", "failed", "no function 'pool'"),
    "has no file": ({}, "failed", "there is no file"),
    "hangs": ("import time\ndef pool(x):\n    time.sleep(1000)\n", "timeout", "did not finish within 5 s"),
}


@pytest.mark.parametrize("guilty", [BASE, HEAD])
@pytest.mark.parametrize("how", BROKEN)
def test_the_guilty_side_is_named_and_the_other_is_ok(play, how, guilty):
    code, status, reason = BROKEN[how]
    codes = (code, HONEST) if guilty == BASE else (HONEST, code)
    events, together = play(*codes, names=(BASE, HEAD), patience=5.0, rounds=0)
    assert together
    results = statuses(events)
    other = HEAD if guilty == BASE else BASE
    assert (results[guilty, "pool"].status, results[other, "pool"].status) == (status, "ok"), results
    assert re.search(reason, results[guilty, "pool"].reason)


LATE = {
    "dies": ("    if not gc.isenabled(): os.kill(os.getpid(), 9)\n", "failed", "SIGKILL"),
    "raises": ("    if not gc.isenabled(): raise ValueError('worn out')\n", "failed", "worn out"),
    "wrong": ("    if not gc.isenabled(): return 2 * x.mean((2, 3), keepdim=True)\n", "wrong", "after timing"),
    "hangs": ("    if not gc.isenabled(): time.sleep(1000)\n", "timeout", "did not finish"),
}


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("guilty", [BASE, HEAD])
@pytest.mark.parametrize("how", LATE)
def test_who_prevents_a_round_is_named_and_the_other_side_does_not_wait_for_it(play, how, guilty, apart):
    line, status, reason = LATE[how]
    late = f"import gc, os, time\n{HONEST}".replace("    return x", f"{line}    return x")
    codes = kept_apart(HONEST) if apart else [HONEST, HONEST]
    index = 0 if guilty == BASE else 1
    codes[index] = codes[index].replace(HONEST, late)
    events, _ = play(*codes, names=(BASE, HEAD), patience=5.0, rounds=2)
    assert len(of(WorkerLost, events)) == (how == "dies")
    results = statuses(events)
    other = HEAD if guilty == BASE else BASE
    assert (results[guilty, "pool"].status, results[other, "pool"].status) == (status, "ok"), results
    assert reason in results[guilty, "pool"].reason


@pytest.mark.parametrize("name", ["pickles_later", "forges_a_round", "forges_a_failure", "agrees_with_itself"])
def test_a_hostile_head_in_a_process_of_its_own_loses_its_row_and_base_is_not_blamed(play, here, name):
    code = Path(hostile.__file__).read_text()
    base, head = (f"{SEPARATE.replace('SIDE', repr(side))}{code}\n\npool = {function}\n"
                  for side, function in ((BASE, "mean"), (HEAD, name)))  # fmt: skip
    before = sorted(here.iterdir())
    events, together = play(base, head, names=(BASE, HEAD), rounds=2)
    assert not together
    results = statuses(events)
    assert (results[BASE, "pool"].status, results[HEAD, "pool"].status) == ("ok", "failed")
    assert HOSTILE[name] in results[HEAD, "pool"].reason
    assert [path for path in here.iterdir() if path.name == "gapbench-executed"] == []
    assert before == []


# What several processes say of one round


class Listener:
    """A worker that is only told."""

    def __init__(self):
        self.sent, self.killed = [], False

    def send(self, message):
        self.sent.append(message)

    def kill(self):
        self.killed = True


HALF = {0: (3, 1e-3)}, {1: (5, 2e-3)}
KILLED, QUIET, ALONE = WorkerExit(-9), WorkerExit(0), WorkerExit(LEFT_ALONE)


def half(contender):
    columns = [[contender], [0], [contender], [1], [1e-6], [None]]
    return RoundResult({"host": Batches(*columns)}, {"host": dict(HALF[contender])})


def converse(monkeypatch, messages):
    """Return what comes of two workers, each with one contender, that say this."""
    workers = [Listener(), Listener()]
    monkeypatch.setattr(case_processes.forkserver, "conversation", lambda *_: iter(messages))
    assignment = Assignment({"host": (0, 1)}, 0, 0.1, 1e-3, processes={0: 0, 1: 1})
    results = case_processes._converse(workers, assignment, 1, 1.0)
    assert all(worker.killed for worker in workers)
    return results, workers


AGREED = [(0, Agreement(HALF[0])), (1, Agreement(HALF[1]))]
DONE = [(0, half(0)), (1, half(1)), (1, QUIET), (0, QUIET)]


def test_two_that_agree_and_finish_make_one_round(monkeypatch):
    (answer, _), workers = converse(monkeypatch, [*AGREED, *DONE])
    (agreement,) = {id(worker.sent[0]): worker.sent[0] for worker in workers}.values()
    assert agreement.calibration == {0: (5, pytest.approx(5e-3 / 3)), 1: (5, 2e-3)}
    assert answer.batches["host"].contender == [0, 1]
    assert answer.calibration["host"] == HALF[0] | HALF[1]


@pytest.mark.parametrize(
    ("messages", "answer", "guilty"),
    [
        ([(1, half(1))], None, 1),  # before it agreed
        ([AGREED[0], (1, Agreement(HALF[0]))], None, 1),  # on another's batches
        ([AGREED[0], (0, Agreement(HALF[0]))], None, 0),  # twice
        ([*AGREED, (1, Agreement(HALF[1])), DONE[0], (0, half(0))], None, 0),  # two results
        ([*AGREED, (1, half(1)), (1, QUIET), (0, ALONE)], None, 1),  # with the token in its pocket
        ([*AGREED, (0, ALONE), (1, KILLED)], KILLED, 1),
        ([*AGREED, (1, KILLED), (0, ALONE)], KILLED, 1),
        ([*AGREED, (0, ALONE), (1, ALONE)], None, 0),
        ([*AGREED, (1, QUIET)], QUIET, 1),
        ([*AGREED, (0, RoundFailure(0, "wrong", "x"))], RoundFailure(0, "wrong", "x"), 0),
        ([AGREED[0], (1, Judged(1, Qualification()))], None, 1),
    ],
)
def test_who_breaks_the_conversation_is_told_from_who_waits(monkeypatch, messages, answer, guilty):
    (result, number), _ = converse(monkeypatch, messages)
    assert (result, number) == (answer, guilty)


@pytest.fixture
def accepting():
    """Return a function that lets the processes of two contenders take in a round's answer, for the events."""
    case_plan = CasePlan("ci", SMALL, {"pool": "mean", "other": "sum_scale"}, ("host", "host_cold"))
    processes = CaseProcesses(case_plan, Plan((case_plan,), Effort()), None)
    processes.qualifications = {index: Qualification() for index in (0, 1)}
    assignment = Assignment({"host": (0, 1)}, 0, 0.05, 1e-4)

    def accept(answer):
        taking_in, events = processes.accept(3, assignment, answer, None), []
        while True:
            try:
                events.append(next(taking_in))
            except StopIteration as end:
                return end.value, events

    return processes, accept


def a_round():
    return acted.result({0: 1e-5, 1: 1e-5})


REFUSED = RoundFailure(1, "failed", "works on other streams", "host")


def test_the_first_refusal_of_what_was_timed_before_costs_a_round_and_no_row(accepting):
    processes, accept = accepting
    assert accept(a_round())[0] is not None
    result, (lost,) = accept(REFUSED)
    assert result is None
    assert (lost.implementation, lost.reason) == ("other", "works on other streams")
    assert not processes.refused
    _, (dropped,) = accept(REFUSED)
    assert (dropped.implementation, dropped.clock, dropped.qualification.status) == ("other", "host", "failed")
    assert processes.refused == {("host", 1)}


def test_what_was_never_timed_is_refused_at_once_and_each_with_its_own_reason(accepting):
    processes, accept = accepting
    _, events = accept(replace(REFUSED, more=[RoundFailure(0, "unsupported", "no graphs", "host")]))
    assert [(one.implementation, one.qualification.reason) for one in events] == [
        ("other", "works on other streams"), ("pool", "no graphs"),
    ]  # fmt: skip
    assert processes.refused == {("host", 0), ("host", 1)}


def test_a_wrong_answer_is_not_forgiven(accepting):
    _, accept = accepting
    accept(a_round())
    _, (dropped,) = accept(RoundFailure(1, "wrong", "off by 3"))
    assert dropped.qualification.status == "wrong"


def test_the_process_of_a_lost_device_ends_with_a_status_that_says_so(monkeypatch):
    def lost():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    ends = []
    monkeypatch.setattr(prepared, "device", lambda _name: SimpleNamespace(synchronize=lost))
    monkeypatch.setattr(prepared.os, "_exit", ends.append)
    prepared.end_if_lost(SMALL)
    assert ends == [DEVICE_LOST]
    assert "compute-sanitizer" in WorkerExit(DEVICE_LOST).sentence


def test_the_process_of_a_device_that_answers_goes_on(monkeypatch):
    monkeypatch.setattr(prepared.os, "_exit", lambda _status: pytest.fail("ended"))
    prepared.end_if_lost(SMALL)
