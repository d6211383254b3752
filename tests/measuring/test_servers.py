"""Which processes are started, and which of them load what workers need."""

import sys

import pytest

from gapbench.measuring import servers
from gapbench.measuring.plan import CasePlan, Side
from gapbench.measuring.servers import SERVERS, Servers
from gapbench.workloads.cases import Case

CASE = Case((1, 8, 4, 4))


class Stub:
    """A fork server that starts no process."""

    def __init__(self, preload, python, variables, wait_for_load, **_):
        self.python, self.tunables, self.loaded, self.ended = python, variables["GLIBC_TUNABLES"], None, False
        self.ready = False
        Stub.started.append(self)

    def load(self, modules):
        assert self.loaded is None
        self.loaded = list(modules)

    def wait_ready(self):
        self.ready = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ended = True


@pytest.fixture
def started(monkeypatch):
    Stub.started = []
    monkeypatch.setattr(servers, "ForkServer", Stub)
    return Stub.started


def case_plan(memory="kept", device="cpu", name="mean"):
    return CasePlan("test", Case(CASE.shape, device=device), {name: name}, memory=memory)


def test_those_that_start_early_load_nothing_before_the_plan_is_known_and_all_end(started):
    with Servers(["kept"]) as early:
        assert [server.loaded for server in started] == [None] * SERVERS
        early.load([case_plan(name="compiled_mean")], [Side()])
        assert len(started) == SERVERS
        assert all(server.loaded[0] == "gapbench.measuring.preload_compiler" and server.ready for server in started)
        assert early.of("kept", sys.executable, SERVERS) is started[0]
        assert early.any in started
    assert all(server.ended for server in started)


def test_early_ones_that_the_plan_has_no_use_for_load_nothing_and_serve_nobody(started):
    """Another condition of memory, as of a run that is resumed, or an accelerator, for which one is enough."""
    with Servers(["kept"]) as early:
        early.load([case_plan("fresh")], [Side()])
        unused, used = started[:SERVERS], started[SERVERS:]
        assert [server.loaded for server in unused] == [None] * SERVERS
        assert len(used) == SERVERS
        assert early.any in used
    assert all(server.ended for server in started)
    started.clear()
    with Servers(["kept"]) as early:
        early.load([case_plan(device="cuda:0")], [Side()])
        assert [server.ready for server in started] == [True] + [False] * (SERVERS - 1)
        assert early.of("kept", sys.executable, 1) is started[0]


def test_every_interpreter_has_its_own(started):
    with Servers(["kept"]) as early:
        early.load([case_plan()], [Side("base"), Side("head", python="/other/python")])
        assert {server.python for server in started if server.ready} == {sys.executable, "/other/python"}
        assert early.of("kept", "/other/python", 0).python == "/other/python"


def test_another_plan_loads_nothing_again(started):
    with Servers(["kept"]) as early:
        for _ in range(2):
            early.load([case_plan()], [Side()])
        assert len(started) == SERVERS
        assert all(server.ready for server in started)
