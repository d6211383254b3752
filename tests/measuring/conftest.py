"""A bench with a simulated accelerator on it, and a host whose time is simulated too; cases loaded and judged here."""

import socket
import threading
from dataclasses import dataclass, field

import pytest
import torch
from simulated.cache import Cache
from simulated.device import Costs, SimulatedDevice
from simulated.runtime import SimulatedRuntime
from simulated.speed import Speed
from simulated.virtual_time import HostTime

from gapbench.machine.devices import Accelerator, Cpu, Cuda
from gapbench.measuring import cheat_checks, clocks, prepared
from gapbench.measuring.clocks import base
from gapbench.measuring.examiner import Examiner, Paper, examine
from gapbench.measuring.forkserver import CurrentContender
from gapbench.measuring.plan import HERE
from gapbench.measuring.prepared import CaseTask
from gapbench.workloads.cases import Case

MIB = 2**20
LOADED = Case((2, 8, 6, 6))


class SimulatedHostCpu(Cpu):
    """gapbench's CPU, with the simulated cache's size in place of this machine's."""

    @property
    def cache_bytes(self):
        return self.runtime.cpu.cache.nbytes


@dataclass
class Bench:
    """A simulated machine, with gapbench's own device classes in front of it."""

    costs: Costs = field(default_factory=Costs)
    speed: Speed = field(default_factory=Speed)
    family: str = "cuda"
    cache_bytes: int = 40 * MIB
    partitions: int = 1
    scan_resistant: bool = False

    def __post_init__(self):
        self.host = HostTime()
        self.simulated = SimulatedDevice(
            self.host, Cache(self.cache_bytes, self.partitions, self.scan_resistant), self.speed, self.costs
        )
        self.runtime = SimulatedRuntime(self.simulated, self.family)
        kind = Cuda if self.family == "cuda" else Accelerator
        self.accelerator = kind(self.family, self.runtime)
        self.cpu = SimulatedHostCpu(self.runtime)

    def device_of(self, name):
        """Return gapbench's device and the simulated one that a clock called ``name`` measures."""
        if name.startswith(("event", "graph")) or name == "host_call":
            return self.accelerator, self.simulated
        return self.cpu, self.runtime.cpu

    def clock(self, name, case_bytes=MIB, burn_in_seconds=0.0):
        """Return a prepared clock, the inputs that it rotates, and what it found out."""
        clock = clocks.clock(name, self.device_of(name)[0])
        rotations = clock.rotations(case_bytes)
        return clock, rotations, clock.prepare(burn_in_seconds)


@pytest.fixture
def bench(monkeypatch):
    """Return a function that makes a bench and lets gapbench's clocks read its host's time."""

    def make(**parts):
        made = Bench(**parts)
        monkeypatch.setattr(base, "perf_counter_ns", made.host.perf_counter_ns)
        monkeypatch.setattr(cheat_checks, "_GENUINE", {})  # or that would be somebody's cheat
        return made

    return make


@pytest.fixture
def load():
    """Return a function that loads specs in this very process: the case, what is said of it, and the byte."""
    threads = torch.get_num_threads()

    def run(*specs, case=LOADED, seed=3, contenders=None):
        current = CurrentContender.create()
        indices = tuple(range(len(specs))) if contenders is None else contenders
        return *prepared.prepare(CaseTask(case, specs, (HERE,), indices, seed), current), current

    yield run
    torch.set_num_threads(threads)


class Parent:
    """The examiner's channel to its parent, which keeps what comes."""

    def __init__(self):
        self.findings = []

    def send(self, message):
        self.findings.append(message)


@pytest.fixture
def examiner():
    """Return a function that lets a thread examine papers: the worker's side of it, and what the parent is told."""
    ends = []

    def start(*papers):
        worker, own = socket.socketpair()
        parent, duplicate = Parent(), own.detach()
        thread = threading.Thread(target=examine, args=(parent, None, papers, (duplicate,)), daemon=True)
        thread.start()
        ends.append((worker, thread))
        return Examiner(worker.fileno()), parent

    yield start
    for worker, thread in ends:
        worker.shutdown(socket.SHUT_RDWR)
        worker.close()
        thread.join(10)


@pytest.fixture
def begun(examiner):
    """Return a function that begins the paper of a task with seeds."""

    def begin(task, seeds=(0, 1), stressed=True):
        examining, parent = examiner(Paper(task, tuple(seeds), stressed))
        examining.begin(0)
        return examining, parent

    return begin
