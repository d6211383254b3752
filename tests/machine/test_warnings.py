import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import convert

from gapbench.machine import environment
from gapbench.machine.environment import Snapshot
from gapbench.machine.telemetry import nvml
from gapbench.machine.telemetry.host import CpuTime
from gapbench.store.run import Machine

GIB = 2**30
GPU = {"uuid": "GPU-1", "name": "H200", "mig": False, "mig_pending": False, "ecc": True, "ecc_pending": True}
QUIET = {
    "logical_cores": 4,
    "usable_cores": 4,
    "governor": "performance",
    "smt": False,
    "cgroup_cpus": None,
    "memory_bytes": 16 * GIB,
    "device": "cuda:0",
    "device_uuid": "GPU-1",
    "gpus": [GPU],
}
CALM = Snapshot(load=0.5, cpu_time=CpuTime(1000, 10), memory_available_bytes=12 * GIB)


def warnings(before=CALM, after=CALM, throttles=(), **machine):
    return environment.warnings(before, after, convert(QUIET | machine, Machine), throttles)


def test_a_fit_machine_is_not_warned_about():
    assert warnings(throttles=[None, float("nan"), "none", "applications_clocks_setting"]) == []
    assert warnings(after=None) == []


def test_what_is_not_known_is_not_warned_about():
    assert environment.warnings(Snapshot(), Snapshot(), Machine()) == []
    assert environment.warnings(Snapshot(), None, Machine(), [None]) == []


@pytest.mark.parametrize(
    ("facts", "evidence", "remedy"),
    [
        ({"before": Snapshot(load=3.0)}, "3.0 on 4 cores", "stop other work"),
        ({"governor": "powersave"}, "governor is powersave", "cpupower"),
        ({"governor": "performance,schedutil"}, "performance,schedutil", "cpupower"),
        ({"smt": True}, "SMT is on", "smt/control"),
        ({"cgroup_cpus": 1.5}, "1.5 of 4 cores", "at most 1 thread"),
        ({"cgroup_cpus": 0.2}, "0.2 of 4 cores", "at most 1 thread"),
        ({"after": Snapshot(cpu_time=CpuTime(2000, 35))}, "2.5% of the CPU time", "dedicated cores"),
        ({"after": Snapshot(memory_available_bytes=200 * 2**20)}, "200 MiB of 16,384 MiB", "close other programs"),
        (
            {"before": Snapshot(gpu_processes={"GPU-1": ["41 (train)"]})},
            "1 other process computes on H200, 41 (train): ",
            "nvidia-smi",
        ),
        (
            {"after": Snapshot(gpu_processes={"GPU-1": ["41", "42"]})},
            "2 other processes compute on H200, 41, 42: ",
            "nvidia-smi",
        ),
        ({"gpus": [GPU | {"mig": True, "mig_pending": True}]}, "divided by MIG", "-mig 0"),
        (
            {"gpus": [GPU | {"compute_mode": "exclusive process"}]},
            "compute mode of H200 is exclusive process",
            "--compute-mode=DEFAULT",
        ),
        ({"gpus": [GPU | {"display": True}]}, "H200 drives a display", "another GPU"),
        ({"device_uuid": "1", "gpus": [GPU | {"mig": True, "mig_pending": True}]}, "divided by MIG", "-mig 0"),
        ({"device_uuid": "a slice", "gpus": [GPU | {"mig": True, "mig_pending": True}]}, "divided by MIG", "-mig 0"),
        ({"gpus": [GPU | {"ecc_pending": False}]}, "ECC of H200 is on and will be off", "reset it"),
        ({"gpus": [GPU | {"mig_pending": True}]}, "MIG of H200 is off and will be on", "reset it"),
        ({"throttles": ["sw_power_cap"]}, "throttled in 1 of 1 rounds (sw_power_cap in 1)", "lock"),
    ],
)
def test_each_ill_is_one_warning_with_its_evidence_and_its_remedy(facts, evidence, remedy):
    (warning,) = warnings(**facts)
    assert evidence in warning.evidence
    assert remedy in warning.remedy
    assert warning.topic in environment.TOPICS


def test_throttled_rounds_are_counted_by_their_causes():
    throttles = ["hw_slowdown,sw_power_cap", "none", None, "sw_power_cap,applications_clocks_setting"]
    (warning,) = warnings(throttles=throttles)
    assert "in 2 of 4 rounds (sw_power_cap in 2, hw_slowdown in 1)" in warning.evidence


def test_a_run_on_the_cpu_or_on_another_gpu_is_not_warned_about_this_one():
    busy = Snapshot(gpu_processes={"GPU-1": ["41", "42", "43"]})
    assert warnings(before=busy, device="cpu") == []
    assert warnings(before=busy, device_uuid="GPU-2") == []
    assert len(warnings(before=busy, device_uuid=None)) == 1


def test_a_process_that_computes_before_and_after_a_run_is_one_process():
    before, after = (Snapshot(gpu_processes={"GPU-1": pids}) for pids in (["41", "42"], ["42", "43"]))
    (warning,) = warnings(before=before, after=after)
    assert "3 other processes compute on H200, 41, 42, 43: " in warning.evidence


def test_limits_are_not_yet_ills():
    assert warnings(before=Snapshot(load=2.0)) == []
    assert warnings(cgroup_cpus=4.0) == []
    assert warnings(after=Snapshot(cpu_time=CpuTime(2000, 20))) == []  # exactly 1 %
    assert warnings(before=Snapshot(cpu_time=None), after=Snapshot(cpu_time=CpuTime(2000, 1999))) == []


@given(st.lists(st.none() | st.integers(0, 2**11 - 1)))
def test_any_reason_that_nobody_chose_counts_as_throttling(masks):
    throttles = [None if mask is None else ",".join(nvml.event_reasons(mask)) or "none" for mask in masks]
    chosen = 0x1 | 0x2 | 0x100
    throttled = sum(bool(mask and mask & ~chosen) for mask in masks)
    raised = warnings(throttles=throttles)
    assert len(raised) == bool(throttled)
    if throttled:
        assert f"in {throttled} of {len(masks)} rounds" in raised[0].evidence
