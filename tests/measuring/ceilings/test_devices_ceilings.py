"""Ceilings from the parent's side; workers are played by the test."""

from gapbench.measuring import engine
from gapbench.measuring.protocol import Answer, WorkerExit
from gapbench.workloads.cases import Case

CPU, GPU = Case((1, 8, 4, 4)), Case((1, 8, 4, 4), device="cuda:0")


class Job:
    def __init__(self, words):
        self.words = words

    def messages(self, deadline):
        yield from self.words


class Workers:
    """A fork server whose workers say what the test says they do."""

    def __init__(self, answers):
        self.answers = answers

    def start(self, target, *arguments):
        return Job([Answer(self.answers(target, *arguments)), WorkerExit(0)])


def test_ceilings_are_measured_once_a_device_with_all_its_threads():
    cases = [CPU, GPU, Case((2, 8, 4, 4), threads=4), Case((4, 8, 4, 4), threads=4)]

    def answers(target, device, threads):
        return [{"device": device, "threads": threads}]

    results = engine.measure_ceilings(cases, Workers(answers)).ceilings
    assert results == [{"device": "cpu", "threads": (1, 4)}, {"device": "cuda:0", "threads": (1,)}]


def test_a_worker_that_dies_leaves_a_reason():
    class Dead(Workers):
        def start(self, target, *arguments):
            return Job([WorkerExit(-9)])

    (only,) = engine.measure_ceilings([CPU], Dead(None)).ceilings
    assert only["gbps"] is None
    assert "SIGKILL" in only["reason"]
