"""The suite `quick` on the simulated accelerator, in virtual time: what a minute's budget takes, and what it tells.

Real are the engine, the policy, the clocks, the schedule and the statistics. Simulated are the processes (a context of
0.4 s for each worker, loading, judging), the device, and what every implementation takes, rounds differing a little.
"""

from random import Random
from types import SimpleNamespace

import acted
import numpy as np
import pandas as pd
import pytest
from simulated.cache import Buffer, Cache
from simulated.device import Costs, SimulatedDevice
from simulated.kernels import Kernel
from simulated.runtime import SimulatedRuntime
from simulated.virtual_time import HostTime

from gapbench.analysis import summary
from gapbench.machine.devices import Cuda
from gapbench.measuring import clocks, engine, policies, schedule
from gapbench.measuring.clocks import base
from gapbench.measuring.events import Qualified, Raced, RoundMeasured
from gapbench.measuring.plan import CasePlan, Effort, Plan
from gapbench.measuring.protocol import Batches, RoundResult
from gapbench.measuring.recording import RunCollector
from gapbench.measuring.schedule import Turns
from gapbench.workloads import suites
from gapbench.workloads.cases import DTYPES

CONTEXT, FORK, LOADING, JUDGING = 0.4, 0.03, 0.015, 0.005
"""Seconds of a context and of a fork for each worker, of loading and of judging for each contender."""

KERNELS = {"mean": (3.0e-6, 8e-6), "compiled_mean": (2.4e-6, 12e-6), "triton": (2.2e-6, 20e-6), "einsum": (4e-6, 25e-6)}
OTHERS = (3.4e-6, 10e-6)
"""Seconds beside the reading of the input, and of the host for each call."""


class Machine:
    """The box: the time of its host, and the workers that it forks."""

    def __init__(self, monkeypatch):
        self.host, self.workers = HostTime(), 0
        self._random = np.random.default_rng(0)
        time = SimpleNamespace(monotonic=lambda: self.host.seconds)
        for module in (engine, policies):
            monkeypatch.setattr(module, "time", time)
        monkeypatch.setattr(schedule, "monotonic", time.monotonic)
        monkeypatch.setattr(base, "perf_counter_ns", self.host.perf_counter_ns)
        monkeypatch.setattr(engine, "Servers", lambda *_: self)
        monkeypatch.setattr(engine, "CaseProcesses", lambda case_plan, plan, _servers: Processes(case_plan, plan, self))
        monkeypatch.setattr(engine, "Examination", lambda *_: self)
        self.current = SimpleNamespace(clear=lambda: None, get=lambda: None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """End nothing."""

    def load(self, *_):
        """Stand in for the servers."""

    def checked(self, answer, *_):
        return answer

    def kill(self):
        """Stand in for a worker that ends."""

    def start(self, _forker, _target, tasks, _slot):
        """Fork a worker that measures a round of each case, when it is asked for the next answer."""
        self.workers += 1
        self.host.spend(FORK)
        costs = Costs(launch=5e-6, synchronize=15e-6, event=0.5e-6, resolution=32e-9, context=CONTEXT)
        device = SimulatedDevice(self.host, Cache(50 << 20), costs=costs)
        accelerator = Cuda("cuda", SimulatedRuntime(device))
        rounds = (self._round(accelerator, device, processes, assignment) for processes, assignment in tasks)
        return SimpleNamespace(messages=lambda _deadline: rounds, kill=self.kill)

    def _round(self, accelerator, device, processes, assignment):
        case, names = processes.case, processes.names
        nbytes = case.elements * DTYPES[case.dtype]
        indices = sorted(assignment.contenders)
        self.host.spend(LOADING * len(indices))
        timers = {name: clocks.clock(name, accelerator) for name in assignment.entries}
        rotations = {name: timer.rotations(nbytes) for name, timer in timers.items()}
        calls = {}
        for index in indices:
            seconds, host = KERNELS.get(names[index], OTHERS)
            seconds *= 1 + self._random.normal(0, 0.003)
            calls[index] = [self._call(device, seconds, host, nbytes) for _ in range(max(rotations.values()))]
        result = RoundResult({}, {}, {}, {}, {})
        for number, (name, timer) in enumerate(timers.items()):
            timer.prepare(0.0 if number else 1.0)
            earlier, calibration = assignment.calibration.get(name, {}), {}
            for index in assignment.entries[name]:
                timer.select(index)
                if index not in earlier:
                    timer.verify(calls[index])
                calibration[index] = earlier.get(index) or schedule.calibrate(
                    timer, calls[index][: rotations[name]], assignment.batch_seconds
                )
            turns = Turns.within(
                assignment.slice_seconds / len(timers), calibration, len(names), assignment.most_turns, assignment.once
            )
            steps = schedule.order(turns, 0, turns.count, len(names), Random(assignment.seed))
            batches = Batches()
            lengths = {index: count for index, (count, _) in calibration.items()}
            mine = {index: own[: rotations[name]] for index, own in calls.items()}
            schedule.run_turns(timer, iter(steps), mine, lengths, lambda _: None, batches, lambda *_: None)
            result.batches[name], result.calibration[name] = batches, calibration
        self.host.spend(JUDGING * len(indices))
        return result

    def _call(self, device, seconds, host, nbytes):
        kernel = Kernel(seconds, reads=(Buffer(nbytes),))

        def call():
            device.host.spend(host)
            device.launch(kernel)
            return "output"

        return call


class Processes(acted.Processes):
    """Acts `CaseProcesses` on an accelerator: qualifying takes a worker for each case."""

    def __init__(self, case_plan, plan, machine):
        super().__init__(case_plan, plan, SimpleNamespace(statuses={}, now=0.0, judging=0.0))
        self._host = machine

    def qualify(self):
        self._host.workers += 1
        self._host.host.spend(FORK + CONTEXT + (LOADING + JUDGING) * len(self.names))
        return super().qualify()

    def job(self, _assignment):
        return self._host, self

    def timeout(self, _assignment):
        return 60.0

    def accept(self, _number, _assignment, answer, _current):
        return answer
        yield


@pytest.mark.slow
def test_a_minute_on_an_accelerator_is_spent_measuring(monkeypatch):
    machine = Machine(monkeypatch)
    (suite,) = suites.find("quick")
    by = ("event_cold", "event_warm", "host_call")
    specs = {name: name for name in suite.implementations}
    plans = tuple(CasePlan("quick", case, dict(specs), by) for case in suite.on("cuda:0").cases)
    collector, samples = RunCollector(), []
    for event in engine.measure(Plan(plans, Effort(budget=60.0))):
        match event:
            case RoundMeasured():
                samples.append(collector.add_round(event))
            case Qualified():
                collector.add_verdict(event)
            case Raced(case, name, clock, memory):
                collector.raced.add((case, memory, name, clock))
    wall = machine.host.seconds
    assert wall <= 70
    assert collector.timed_seconds >= 0.1 * wall
    results = summary.results(pd.concat(samples, ignore_index=True), collector.outcomes(plans))
    near = results[results["best_ratio"].between(1, 1.5) & (results["implementation"] != results["best"])]
    width = (near["best_ratio_high"] - near["best_ratio_low"]) / 2 / near["best_ratio"]
    assert len(near) > 50
    assert width.le(0.01).mean() >= 0.75
