"""The self-test passes on a sound simulated device, and each of its checks fails on one that breaks it."""

import contextlib
import itertools
import json
import os
import sys
from types import SimpleNamespace

import pytest
from simulated import kernels
from simulated.device import Costs
from simulated.speed import Speed

from gapbench import cli
from gapbench.implementations import Implementation
from gapbench.implementations.triton.dispatch import choose
from gapbench.implementations.triton.plans import Chip
from gapbench.machine import environment
from gapbench.machine.devices import Cpu
from gapbench.machine.telemetry import nvml
from gapbench.measuring import ceilings, doctor, engine, schedule, selftest
from gapbench.measuring.clocks import HostCold, base
from gapbench.measuring.clocks.base import Preparation
from gapbench.measuring.clocks.events import BlockingKernel
from gapbench.measuring.protocol import Answer, WorkerExit
from gapbench.measuring.selftest import ON_ACCELERATOR, ON_CPU, Finding
from gapbench.store.ceilings import MEMORY, Ceiling
from gapbench.store.run import Environment, Gpu, Machine
from gapbench.store.store import Store
from gapbench.store.verify import verify

MIB = 2**20
BY_NAME = {check.name: check for check in (*ON_CPU, *ON_ACCELERATOR)}
SKEWED = {"costs": Costs(skew=1.02)}
CLOCKS = ("event_cold", "event_warm", "graph_warm")
COMPUTED = {
    "implementations in each pass",
    "Triton's choice, five times",
    "Triton's plans",
    "Triton's plans, 2^31 elements",
    "split_single_pass, inputs alternating",
}
"""What a simulated device does not compute: seen to pass and fail below, and in Triton's interpreter
(tests/implementations/triton/test_checked_kernels.py)."""


class Weather(Speed):
    """A device whose speed is another one at each moment."""

    def at(self, moment):
        return 0.4 + 0.6 * (moment * 7919.3 % 1)


BROKEN = {
    "start": {"costs": Costs(context=2.0)},
    "events against the host's clock": SKEWED,
    **{f"spins by {name}": {"costs": Costs(between_kernels=4e-6)} for name in ("event_warm", "event_cold")},
    "spins by graph_warm": {"speed": Speed(spells=[(0.405, 9e9, 0.9)])},
    **{f"floor of {name}": {"costs": Costs(event=20e-6)} for name in ("event_cold", "event_warm")},
    "floor of graph_warm": {"costs": Costs(graph=20e-6)},
    "identical code in one process": {"speed": Weather()},
    "batch lengths in 6 orders": {"speed": Speed(spells=[(0.5, 9e9, 0.5)])},
    "launch queue": {"costs": Costs(queue=100)},
    **{f"canary of 1/{share} of the cache": {"partitions": 2 * share} for share in (8, 4, 2)},
    "flush by reading against writing and reading": {"scan_resistant": True},
    "memory after 1,000 calls": {"costs": Costs(leak=512)},
    **{f"{name} beyond the profiler's kernels": SKEWED for name in CLOCKS},
}
"""What breaks each check, as parts of the simulated machine."""


@pytest.fixture(autouse=True)
def own_ceilings():
    """Measure the ceilings of each test's machine: all are called the same."""
    selftest._limits.cache_clear()


@pytest.fixture
def machine(bench, monkeypatch):
    """Return a function that makes a simulated machine whose NVML, data sheet and compiler are sound."""

    def make(**parts):
        made = bench(**{"costs": Costs(resolution=32e-9, context=0.4)} | parts)
        gpu = SimpleNamespace(processes=lambda: [os.getpid()], sm_clock_mhz=lambda: 1700.0)
        monkeypatch.setattr(schedule, "monotonic", lambda: made.host.seconds)
        monkeypatch.setattr(nvml, "opened", lambda *_: contextlib.nullcontext(gpu))
        monkeypatch.setattr(
            ceilings, "_datasheet", lambda device: Ceiling(MEMORY, "datasheet", device.name, gbps=2150.0)
        )
        monkeypatch.setattr(selftest, "no_launcher", lambda: None)
        monkeypatch.setattr(selftest.shutil, "which", lambda _: "/usr/bin/g++")
        return made

    return make


@pytest.mark.parametrize(
    "check", [check for check in ON_ACCELERATOR if check.name not in COMPUTED], ids=lambda check: check.name
)
def test_a_sound_device_passes(machine, check):
    finding = check.run(machine().accelerator)
    assert (finding.verdict, finding.remedy) == ("pass", ""), finding.found


def no_cache(monkeypatch, made):
    monkeypatch.setattr(kernels, "CACHE_BANDWIDTH", 1.2 * kernels.MEMORY_BANDWIDTH)


def half_the_memory(monkeypatch, made):
    sheet = Ceiling(MEMORY, "datasheet", "cuda:0", gbps=4300.0)
    monkeypatch.setattr(ceilings, "_datasheet", lambda device: sheet)


def slow_means(monkeypatch, made):
    tensor = type(made.runtime.zeros(1, "cuda:0"))
    monkeypatch.setattr(tensor, "mean", lambda self: (self.sum(), self.sum())[1])


def blind(monkeypatch, made):
    """Clocks that see neither other streams nor waiting."""
    monkeypatch.setattr(BlockingKernel, "_is_stray", lambda self, waited, worked: False)


def another_clock(monkeypatch, made):
    gpu = SimpleNamespace(sm_clock_mhz=lambda: 1980.0)
    monkeypatch.setattr(nvml, "opened", lambda *_: contextlib.nullcontext(gpu))


def no_compiler(monkeypatch, made):
    monkeypatch.setattr(selftest, "no_launcher", lambda: "Triton needs a C compiler")


PATCHED = {
    "compiler": no_compiler,
    "cache against memory": no_cache,
    "memory against its datasheet": half_the_memory,
    "mean of 512 MB by event_cold": slow_means,
    **{f"calls that {name} cannot time": blind for name in CLOCKS},
    "SM clock against NVML": another_clock,
}
"""What breaks the other checks."""


@pytest.mark.parametrize("name", PATCHED)
def test_a_machine_that_breaks_a_check_fails_it(machine, monkeypatch, name):
    made = machine()
    PATCHED[name](monkeypatch, made)
    finding = BY_NAME[name].run(made.accelerator)
    assert finding.verdict == "fail", finding.found
    assert finding.remedy


def test_every_check_of_an_accelerator_was_seen_to_fail():
    never = {"identity"}  # in a container NVML does not know this process by its own number
    assert {check.name for check in ON_ACCELERATOR} == {*BROKEN, *PATCHED, *COMPUTED, *never}


def test_what_cannot_be_told_is_unknown_with_the_reason(bench):
    """Of a backend without cycles, data sheet and NVML."""
    made = bench(family="xpu")
    for name, reason in {
        "spins by event_warm": "no spin of known length",
        "memory against its datasheet": "the peak is unknown: NVML reads NVIDIA GPUs only",
        "cache against memory": "the backend does not report the size of its cache",
        "identity": "NVML reads NVIDIA GPUs only",
        "SM clock against NVML": "NVML reads NVIDIA GPUs only",
    }.items():
        finding = BY_NAME[name].run(made.accelerator)
        assert (finding.verdict, reason in finding.found) == ("unknown", True), finding
        assert finding.remedy


def test_a_profiler_that_records_no_kernel_is_unknown(machine):
    made = machine()
    made.simulated.profiled = Unrecorded()
    finding = BY_NAME["event_warm beyond the profiler's kernels"].run(made.accelerator)
    assert (finding.verdict, "administrators" in finding.found) == ("unknown", True)


class Unrecorded(list):
    """What stays empty."""

    def append(self, _):
        pass


def raises(x):
    raise ValueError("no good")


@pytest.mark.parametrize(
    ("function", "verdict", "why"),
    [
        (lambda x: x.mean((2, 3), keepdim=True), "pass", "0 of 3 rejected"),
        (lambda x: x.sum((2, 3), keepdim=True), "fail", "3 of 3 rejected: own forward: wrong"),
        (raises, "fail", "own forward: ValueError('no good')"),
    ],
)
def test_implementations_that_the_oracle_rejects_are_named(monkeypatch, function, verdict, why):
    own = Implementation("own", "eager", "its summary", "own(x)", lambda case: function)
    other = Implementation("other", "eager", "its summary", "other(x)", raises, unsupported=lambda case: "of a reason")
    monkeypatch.setattr(selftest, "GAP", SimpleNamespace(implementations=[own, other]))
    finding = BY_NAME["implementations in each pass"].run(Cpu())
    assert (finding.verdict, why in finding.found) == (verdict, True), finding.found


@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        (lambda: itertools.cycle([3.0, 1.0, 2.0]), "pass"),
        (lambda: iter([3.0, 1.0, 1.01, 3.0, 1.01, 1.0] * 3), "pass"),  # others, but as fast
        (lambda: iter([3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 1.0, 3.0, 2.0, 3.0, 1.0, 2.0]), "fail"),
    ],
    ids=["one plan", "equal plans", "a slow one"],
)
def test_five_choices_are_one_plan_or_equally_fast(monkeypatch, times, verdict):
    scripted = times()
    kernels = SimpleNamespace(chip_of=lambda name: Chip(), milliseconds=lambda call: next(scripted), choose=choose)
    monkeypatch.setattr(selftest, "_kernels", lambda device, poison: (kernels, SimpleNamespace(gap=print)))
    monkeypatch.setattr(selftest, "forward_plans", lambda geometry, chip: ["one", "two", "three"])
    finding = BY_NAME["Triton's choice, five times"].run(Cpu())
    assert finding.verdict == verdict, finding.found


def test_kernels_are_unknown_where_nothing_runs_them():
    for name in ("Triton's plans", "split_single_pass, inputs alternating", "Triton's choice, five times"):
        finding = BY_NAME[name].run(Cpu())
        assert (finding.verdict, finding.found) == ("unknown", "Triton's kernels need a GPU, or its interpreter")


FIT = {"uuid": "GPU-1", "name": "H200", "persistence": True, "compute_mode": "default", "mig": False, "display": False}


@pytest.mark.parametrize(
    ("gpu", "others", "variable", "named"),
    [
        ({}, [], None, ""),
        ({}, ["41 (train)"], None, "1 other process computes on H200, 41 (train)"),
        ({"persistence": False}, [], None, "persistence mode of H200 is off"),
        ({"compute_mode": "exclusive process"}, [], None, "the compute mode of H200 is exclusive process"),
        ({"mig": True, "uuid": "GPU-2"}, [], None, "H200 is divided by MIG"),
        ({"display": True}, [], None, "H200 drives a display"),
        ({}, [], "CUDA_LAUNCH_BLOCKING", "CUDA_LAUNCH_BLOCKING is set: every launch waits"),
    ],
    ids=["fit", "other process", "persistence", "compute mode", "a slice", "display", "variable"],
)
def test_what_changes_times_is_named_before_a_worker_starts(monkeypatch, gpu, others, variable, named):
    """Torch tells the UUID without a prefix."""
    machine = Machine(device="cuda:0", device_uuid="1", gpus=(Gpu(**FIT | gpu),))
    monkeypatch.setattr(environment, "describe", lambda device: Environment(machine))
    monkeypatch.setattr(environment, "snapshot", lambda: environment.Snapshot(gpu_processes={"GPU-1": others}))
    if variable:
        monkeypatch.setenv(variable, "1")
    finding = doctor.preflight("cuda:0")
    assert (finding.verdict, bool(finding.remedy)) == ("fail" if named else "pass", bool(named)), finding.found
    assert named in finding.found


def test_what_nvml_does_not_tell_is_unknown(monkeypatch):
    machine = Machine(device="cuda:0", unreadable={"gpus": "no NVIDIA driver is installed"})
    monkeypatch.setattr(environment, "describe", lambda device: Environment(machine))
    finding = doctor.preflight("cuda:0")
    assert (finding.verdict, finding.found) == ("unknown", "no NVIDIA driver is installed")


class Clock:
    """A host whose two clocks pass by 50 ns at each reading, one of them ``skew`` times as fast."""

    def __init__(self, skew=1.0):
        self.readings, self.skew = 0, skew

    def perf_counter_ns(self):
        self.readings += 1
        return 50 * self.readings

    def clock_gettime(self, _):
        self.readings += 1
        return 50e-9 * self.readings * self.skew


@pytest.mark.parametrize(("skew", "verdict"), [(1.0, "pass"), (1.02, "fail")])
def test_the_hosts_clock_is_held_to_another_one(monkeypatch, skew, verdict):
    host = Clock(skew)
    monkeypatch.setattr(base, "perf_counter_ns", host.perf_counter_ns)
    monkeypatch.setattr(selftest.time, "clock_gettime", host.clock_gettime)
    finding = BY_NAME["spins by host"].run(Cpu())
    assert finding.verdict == verdict, finding.found


@pytest.mark.parametrize(
    ("rates", "verdict"), [((500, 200, 40), "pass"), ((500, 30, 40), "fail"), ((500, None, 40), "unknown")]
)
def test_no_level_of_memory_is_slower_than_the_next(monkeypatch, rates, verdict):
    levels = [
        Ceiling(name, "read", "cpu", 1, gbps=rate, reason=None if rate else "other work was running")
        for name, rate in zip(("L1", "L2", MEMORY), rates, strict=True)
    ]
    monkeypatch.setattr(ceilings.cpu, "measure", lambda threads: levels)
    assert BY_NAME["ceilings"].run(Cpu()).verdict == verdict


@pytest.mark.parametrize(("cold", "verdict"), [(3e-3, "pass"), (1.2e-3, "fail")])
def test_a_cache_that_cannot_be_emptied_is_told(monkeypatch, cold, verdict):
    def prepare(self, _):
        return Preparation(warm_canary_seconds=1e-3, cold_canary_seconds=cold)

    monkeypatch.setattr(HostCold, "prepare", prepare)
    assert BY_NAME["cold cache by host_cold"].run(Cpu()).verdict == verdict


@pytest.mark.parametrize(("faults", "verdict"), [(0, "pass"), (2000, "fail")])
def test_temporaries_that_fault_are_told(monkeypatch, faults, verdict):
    count = iter(range(0, 10**9, 20 * faults or 1)) if faults else iter([0] * 9)
    monkeypatch.setattr(selftest.memory, "page_faults", lambda: next(count))
    assert BY_NAME["kept memory"].run(Cpu()).verdict == verdict


def findings(monkeypatch, *verdicts):
    def run(device):
        for number, verdict in enumerate(verdicts):
            yield Finding(f"check {number}", "this", "that", verdict, "" if verdict == "pass" else "mend it")

    monkeypatch.setattr(doctor, "selftest", lambda device, seconds: run(device))


@pytest.mark.parametrize(("verdicts", "code"), [(("pass", "unknown"), 0), (("pass", "fail"), 4)])
def test_the_command_keeps_the_findings_and_strict_exits_with_4(monkeypatch, capsys, tmp_path, verdicts, code):
    findings(monkeypatch, *verdicts)
    words = ["doctor", "--selftest", "--strict", "--json", "--store", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gapbench", *words])
    assert cli._exit_code() == code
    rows = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in rows] == list(verdicts)
    assert set(rows[0]) == {"check", "expected", "found", "verdict", "remedy"}
    (kept,) = tmp_path.glob("selftest-*.json")
    assert json.loads(kept.read_text()) == {"schema": 1, "device": "cpu", "findings": rows}
    assert Store(str(tmp_path)).ids() == []
    assert list(verify(Store(str(tmp_path)))) == []


def test_a_worker_that_dies_costs_only_what_it_had_not_found(monkeypatch):
    """Findings come one by one."""
    monkeypatch.setattr(engine, "measure", lambda plan: iter(()))
    sent = {"check": "compiler", "expected": "one", "found": "one", "verdict": "pass", "remedy": ""}
    job = SimpleNamespace(messages=lambda deadline: iter([Answer(sent), WorkerExit(-9)]))
    server = SimpleNamespace(wait_ready=lambda: None, start=lambda *_: job)
    monkeypatch.setattr(doctor, "ForkServer", lambda *_, **__: contextlib.nullcontext(server))
    first, dead, floor = doctor.selftest("cpu", 1.0)
    assert (first.check, first.verdict) == ("compiler", "pass")
    assert (dead.check, dead.verdict) == ("all checks done", "fail")
    assert "SIGKILL" in dead.found
    assert (floor.check, floor.verdict) == ("identical code in the engine", "unknown")


@pytest.mark.parametrize("name", BROKEN)
def test_a_device_that_breaks_a_check_fails_it(machine, name):
    finding = BY_NAME[name].run(machine(**BROKEN[name]).accelerator)
    assert finding.verdict == "fail", finding.found
    assert finding.remedy
