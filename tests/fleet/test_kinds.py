"""A fleet of two kinds of devices, whose workers measure in this very process: no Ray, and all else for real."""

import contextlib
import json
from dataclasses import replace
from functools import partial

import pytest
from msgspec import structs

from gapbench import cli
from gapbench.cli import fleet
from gapbench.fleet import cluster
from gapbench.fleet.cluster import DeviceSlot, DeviceWorker, Worker
from gapbench.store.run import FleetDevice
from gapbench.store.store import Store
from gapbench.store.verify import verify

OPTIONS = ["--budget", "2s", "--rounds", "1", "-k", "1x64 and adaptive", "--json"]


def a_member(number, **machine):
    worker = Worker("cpu", lock=lambda _device: None)
    described = worker.describe()
    here = described.environment
    here = structs.replace(here, machine=structs.replace(here.machine, **machine))
    slot = DeviceSlot(f"node{number}", f"10.0.0.{number}", "cpu", 0, {"num_cpus": 2.0})
    return DeviceWorker(number, slot, replace(described, environment=here), worker)


@pytest.fixture
def gapbench(monkeypatch, tmp_path, capsys):
    """Run ``gapbench`` in an empty folder, with ``members`` as the cluster's devices."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "connected", lambda on: contextlib.nullcontext())
    monkeypatch.setattr(
        cluster, "ask", lambda member, method, *arguments: partial(getattr(member.handle, method), *arguments)
    )
    monkeypatch.setattr(cluster, "first", lambda answers: answers[0])
    monkeypatch.setattr(cluster, "take", lambda answer: answer())

    def run(*arguments, members=()):
        monkeypatch.setattr(fleet, "_acquired", lambda device: list(members))
        monkeypatch.setattr("sys.argv", ["gapbench", *arguments])
        code = cli._exit_code()
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_members_are_equal_if_their_numbers_may_stand_in_one_run():
    first, other, xeon = a_member(1), a_member(2, cpu_mhz_current=1.0), a_member(3, cpu="Xeon")
    here = first.described.environment
    here = structs.replace(here, versions={**here.versions, "torch": "9.9"})
    newer = replace(first, described=replace(first.described, environment=here))
    assert cluster.equal([first, other, xeon, newer]) == [[first, other], [xeon], [newer]]


def test_each_kind_has_a_run_of_its_own_in_one_sweep(gapbench, tmp_path):
    members = [a_member(1), a_member(2, cpu="Xeon", usable_cores=64)]
    code, out, err = gapbench("run", "quick", *OPTIONS, "--on", "ray", members=members)
    assert code == 0, err
    document = json.loads(out)
    store = Store(str(tmp_path / "results"))
    assert sorted(run["run"] for run in document["runs"]) == store.ids()
    runs = [store.describe(run["run"]) for run in document["runs"]]
    assert {run.sweep for run in runs} == {document["sweep"]}
    assert [run.machine.cpu for run in runs] == [member.described.environment.machine.cpu for member in members]
    assert runs[1].machine.usable_cores == 64
    assert [run.fleet for run in runs] == [(FleetDevice(n, f"10.0.0.{n}", "cpu"),) for n in (1, 2)]
    assert all(run.ceilings for run in runs)
    assert verify(store) == []
    assert set(store.results()["status"]) == {"ok"}

    code, _, err = gapbench("run", "--resume", runs[0].id)
    assert (code, "is complete; see it with: gapbench report" in err) == (2, True)


def test_a_run_is_resumed_on_equal_devices_only(gapbench, tmp_path):
    member = a_member(1)

    def lose(*_):
        raise cluster.LostError("ActorDiedError")

    begin, member.handle.begin = member.handle.begin, lose
    code, _, err = gapbench("run", "quick", *OPTIONS, "--on", "ray", members=[member])
    assert code == 2
    assert "all devices of the fleet are lost; all earlier rounds are kept" in err
    (run,) = Store(str(tmp_path / "results")).ids()
    resume = "run", "--resume", run, "--json"
    code, _, err = gapbench(*resume)
    assert (code, "was measured on a fleet; add --on ray" in err) == (2, True)
    code, _, err = gapbench(*resume, "--on", "ray", members=[a_member(1, cpu="Xeon")])
    assert (code, "was begun on other devices than there are now: cpu is Xeon" in err) == (4, True)
    member.handle.begin = begin
    code, out, err = gapbench(*resume, "--on", "ray", members=[a_member(2, cpu="Xeon"), member])
    assert (code, json.loads(out)["run"]) == (0, run), err
    assert Store(str(tmp_path / "results")).describe(run).ended


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--on", "spark"], "malformed --on 'spark': write ray"),
        (["run", "--on", "ray", "--shard", "1/2"], "--shard works on one machine only"),
        (["run", "--on", "ray", "--dry-run"], "--dry-run works on one machine only"),
        (["run", "--on", "ray:/"], "malformed --on"),
    ],
)
def test_what_means_nothing_on_a_cluster_is_refused(gapbench, arguments, sentence):
    code, out, err = gapbench(*arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert sentence in err
