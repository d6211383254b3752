"""Energy and ceilings from the parent's side; workers are played by the test."""

import pytest

from gapbench.measuring import limits, worker
from gapbench.measuring.plan import CasePlan, Effort
from gapbench.measuring.protocol import Answer, WorkerExit
from gapbench.workloads.cases import Case

CPU, GPU = Case((1, 8, 4, 4)), Case((1, 8, 4, 4), device="cuda:0")
CONTESTS = [CasePlan("test", case, {"mean": "mean", "fast": "mine.py:fast"}) for case in (CPU, GPU)]


class Job:
    def __init__(self, words):
        self.words = words

    def messages(self, deadline):
        yield from self.words


class Workers:
    """A fork server whose workers say what the test says they do."""

    def __init__(self, answers):
        self.answers, self.started = answers, []

    def start(self, target, *arguments):
        self.started.append((target, *arguments))
        return Job([Answer(self.answers(target, *arguments)), WorkerExit(0)])


def test_energy_is_measured_one_by_one_and_only_where_something_counts():
    def answers(target, *arguments):
        if target is worker.energy_source:
            return (None, "no RAPL") if arguments[0] == "cpu" else ("NVML", None)
        return 0.25 if arguments[1] == "mean" else "UnreadableError: it stood still"

    workers = Workers(answers)
    energy = limits.Energy(CONTESTS, Effort(), workers)
    assert 0 < energy.seconds < 3
    results = energy.measure(
        [(case_plan.case, name, spec) for case_plan in CONTESTS for name, spec in case_plan.specs.items()]
    )
    assert results.joules == {(GPU, "mean"): 0.25}
    assert [result["reason"] for result in results.sources] == [
        "no RAPL",
        f"not of fast on {GPU.id}: UnreadableError: it stood still",
    ]
    asked = [arguments[0] for target, *arguments in workers.started if target is worker.measure_energy]
    assert asked == [GPU, GPU]


def test_where_nothing_counts_it_takes_no_time():
    energy = limits.Energy(CONTESTS, Effort(), Workers(lambda *_: (None, "no counter")))
    assert energy.seconds == 0
    assert energy.measure([(CPU, "mean", "mean")]).joules == {}


def test_energy_takes_no_more_than_its_share_of_the_budget():
    many = [CasePlan("test", CPU, {f"one {number}": "mean" for number in range(1000)})]
    energy = limits.Energy(many, Effort(budget=60), Workers(lambda *_: ("RAPL", None)))
    assert energy.seconds == pytest.approx(12)


def test_ceilings_are_measured_once_a_device_with_all_its_threads():
    cases = [CPU, GPU, Case((2, 8, 4, 4), threads=4), Case((4, 8, 4, 4), threads=4)]

    def answers(target, device, threads):
        return [{"device": device, "threads": threads}]

    results = limits.ceilings(cases, Workers(answers)).ceilings
    assert results == [{"device": "cpu", "threads": (1, 4)}, {"device": "cuda:0", "threads": (1,)}]


def test_a_worker_that_dies_leaves_a_reason():
    class Dead(Workers):
        def start(self, target, *arguments):
            return Job([WorkerExit(-9)])

    (only,) = limits.ceilings([CPU], Dead(None)).ceilings
    assert only["gbps"] is None
    assert "SIGKILL" in only["reason"]
    results = limits.Energy(CONTESTS[:1], Effort(), Dead(None)).measure([])
    assert "SIGKILL" in results.sources[0]["reason"]
