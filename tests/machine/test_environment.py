from msgspec.structs import asdict, replace

from gapbench.machine import environment
from gapbench.machine.environment import Snapshot
from gapbench.machine.telemetry.host import CpuTime
from gapbench.store.run import Machine


def test_the_machine_is_described_without_its_name_or_user():
    import getpass
    import socket

    described = environment.describe("cpu")
    assert described.machine.memory_bytes > 2**28
    assert described.versions["gapbench"]
    assert socket.gethostname() not in str(described.machine)
    assert getpass.getuser() not in str(described.machine)


def test_a_field_of_the_machine_is_null_only_with_a_reason_or_where_there_is_no_limit():
    machine = asdict(environment.describe("cpu").machine)
    of_accelerators = {"device_uuid", "device_memory_bytes", "device_cache_bytes", "device_processors"}
    limits = {"cgroup_cpus", "cgroup_memory_bytes"} | of_accelerators
    assert {name for name, value in machine.items() if value is None} <= set(machine["unreadable"]) | limits
    assert all(machine["unreadable"].values())
    assert all(machine[name] is None or machine[name] == () for name in machine["unreadable"] if "." not in name)


def test_a_machine_that_tells_nothing_is_described_by_reasons(tmp_path):
    machine = asdict(environment.describe("cpu", root=tmp_path).machine)
    silent = {"smt", "governor", "virtualised", "l2_bytes", "l3_bytes", "cgroup_cpus", "cgroup_memory_bytes"}
    silent |= {"cpu_mhz_min", "cpu_mhz_max", "cpu_mhz_current"}
    assert {name for name in silent if machine[name] is None} == silent
    assert silent <= set(machine["unreadable"])


def test_a_snapshot_of_a_machine_that_tells_nothing_has_its_load(tmp_path):
    snapshot = environment.snapshot(tmp_path)
    assert snapshot.load is not None
    assert snapshot.cpu_time is None


def test_snapshots_and_a_description_become_warnings():
    machine = replace(environment.describe("cpu").machine, governor="powersave", smt=False, cgroup_cpus=None)
    before = Snapshot(cpu_time=CpuTime(0, 0))
    after = Snapshot(cpu_time=CpuTime(100, 20))
    warnings = environment.warnings(before, after, machine, ["hw_slowdown"])
    assert all(
        part in str(warning) for part, warning in zip(("20.0%", "powersave", "1 of 1 rounds"), warnings, strict=True)
    )
    assert str(environment.warnings(before, None, machine)[0]).startswith("the CPU frequency governor")


def test_a_busy_machine_is_warned_about_with_a_remedy():
    machine = Machine(logical_cores=4)
    assert environment.warnings(Snapshot(load=0.5), None, machine) == []
    (warning,) = environment.warnings(Snapshot(load=3.0), None, machine)
    assert "3.0 on 4 cores" in warning.evidence
    assert "run again" in warning.remedy
