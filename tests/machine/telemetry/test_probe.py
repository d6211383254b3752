import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.machine.telemetry import Reading, between, host, nvml, open_probe
from gapbench.machine.telemetry.host import CpuTime
from gapbench.store import records

readings = st.builds(
    Reading,
    cpu_time=st.none() | st.builds(lambda other, steal: CpuTime(other + steal, steal), *[st.integers(0, 10**9)] * 2),
    sm_clock_mhz=st.none() | st.floats(100, 3000),
    temperature_c=st.none() | st.floats(0, 110),
    power_w=st.none() | st.floats(0, 1500),
    event_reasons=st.none() | st.integers(0, 2**12 - 1).map(nvml.event_reasons),
)


def host_files(steal=0, user=100):
    return {
        "proc/stat": f"cpu  0\ncpu0 {user} 0 0 900 0 0 0 {steal} 0 0\ncpu1 {user} 0 0 900 0 0 0 0 0 0\nintr 1 2 3\n"
    }


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch):
    monkeypatch.setattr(host, "usable_cpus", lambda: frozenset({0, 1}))


def test_a_cpu_is_read_without_any_gpu(tree, no_driver):
    with open_probe("cpu", root=tree(host_files(steal=5))) as read:
        assert read() == Reading(cpu_time=CpuTime(205, 5))


def test_time_that_the_hypervisor_takes_is_a_share_of_the_time_with_work(tree):
    with open_probe("cpu", root=tree(host_files(steal=5, user=100))) as read:
        before = read()
        tree(host_files(steal=15, user=120))  # 2 x 20 jiffies of work, 10 stolen
        assert between(before, read())["steal"] == pytest.approx(10 / 50)


def test_what_the_host_does_not_tell_is_null(tmp_path):
    with open_probe("cpu", root=tmp_path) as read:
        assert read() == Reading()
        assert between(read(), read())["steal"] is None


def test_an_accelerator_of_another_make_is_none_of_nvmls(driver, tmp_path):
    driver.count(1)
    with open_probe("xpu:0", root=tmp_path) as read:
        assert read() == Reading()


def test_the_columns_are_those_of_the_samples():
    telemetry = list(records.SAMPLES)[list(records.SAMPLES).index("instructions") + 1 :]
    assert list(between(Reading())) == telemetry


@given(st.lists(readings, min_size=1, max_size=4))
def test_columns_lie_within_what_was_read_and_are_null_only_where_nothing_was(several):
    columns = between(*several)
    for name in ("sm_clock_mhz", "temperature_c", "power_w"):
        read = [getattr(reading, name) for reading in several if getattr(reading, name) is not None]
        assert columns[name] in (read or [None])
    assert columns["steal"] is None or 0 <= columns["steal"] <= 1
    if any(reading.event_reasons is not None for reading in several):
        named = set(columns["throttle"].split(",")) - {"none"}
        assert named == {name for reading in several for name in reading.event_reasons or ()} - {"gpu_idle"}
    else:
        assert columns["throttle"] is None


def clocked(mhz, *reasons):
    return Reading(sm_clock_mhz=mhz, event_reasons=reasons)


def test_an_idle_gpus_clock_is_not_taken_for_a_slow_one():
    assert between(clocked(345.0, "gpu_idle"), clocked(1980.0))["sm_clock_mhz"] == 1980
    assert between(clocked(345.0, "gpu_idle"), clocked(1200.0, "gpu_idle"))["sm_clock_mhz"] == 1200
    assert between(clocked(1980.0), clocked(1500.0), clocked(1980.0))["sm_clock_mhz"] == 1500
    assert between(clocked(345.0, "gpu_idle"))["throttle"] == "none"


def test_an_idle_reading_stands_in_where_the_clock_at_work_could_not_be_read():
    assert between(clocked(345.0, "gpu_idle"), clocked(None))["sm_clock_mhz"] == 345


def test_a_reading_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Reading().power_w = 1.0


def test_this_very_machine_can_be_read():
    with open_probe("cpu") as read:
        before, after = read(), read()
    if Path("/proc/stat").exists():
        assert after.cpu_time.busy >= before.cpu_time.busy > 0


def test_amds_gpus_are_read_through_torch(monkeypatch, no_driver, tmp_path):
    """What amdsmi does not report is 0 in torch, and null here."""
    monkeypatch.setattr("torch.version.hip", "7.0")
    monkeypatch.setattr("torch.cuda.clock_rate", lambda index: 2100 + index)
    monkeypatch.setattr("torch.cuda.temperature", lambda index: 0)

    def broken(index):
        raise RuntimeError("no permission")

    monkeypatch.setattr("torch.cuda.power_draw", broken)
    with open_probe("cuda:1", root=tmp_path) as read:
        assert read() == Reading(sm_clock_mhz=2101.0)
