import os
import re
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.machine import environment
from gapbench.machine.telemetry import Reading, between, nvml, open_probe
from gapbench.machine.telemetry.unreadable import Reasons, UnreadableError

FIRST = "11111111-2222-3333-4444-000000000000"
SECOND = "11111111-2222-3333-4444-000000000001"
SLICE = "99999999-2222-3333-4444-000000000001"
FIELDS = ("sm_clock_mhz", "temperature_c", "power_w", "event_reasons")
NOT_SUPPORTED, NO_PERMISSION, GPU_IS_LOST, DRIVER_NOT_LOADED = 3, 4, 15, 9


def described():
    reasons = Reasons()
    with nvml.every_gpu(reasons) as gpus:
        return [gpu.describe(reasons, f"{index}.") for index, gpu in enumerate(gpus)], reasons.unreadable


def test_a_reading_is_what_nvml_says_in_our_units(driver):
    driver.clocks(0, 1755, 2600)
    driver.heat(0, 63, 512_345)
    with open_probe("cuda:0", FIRST) as read:
        reading = read()
    assert (reading.sm_clock_mhz, reading.temperature_c, reading.power_w) == (1755, 63, 512.345)
    assert between(reading)["throttle"] == "none"


def test_a_clock_that_drops_during_a_round_is_seen_with_its_reasons(driver):
    with open_probe("cuda:0", FIRST) as read:
        before = read()
        driver.clocks(0, 1200)
        driver.reasons(0, 0x4 | 0x20)
        driver.heat(0, 91, 699_000)
        after = read()
    assert between(before, before)["throttle"] == "none"
    columns = between(before, after)
    assert columns["sm_clock_mhz"] == 1200
    assert columns["throttle"] == "sw_power_cap,sw_thermal_slowdown"
    assert (columns["temperature_c"], columns["power_w"]) == (91, 699)


def test_the_gpu_is_found_by_its_uuid_not_by_its_index(driver):
    driver.clocks(1, 345)
    for uuid, clock in {FIRST: 1980, SECOND: 345, f"GPU-{SECOND}": 345}.items():
        with open_probe("cuda:0", uuid) as read:
            assert read().sm_clock_mhz == clock


@pytest.mark.parametrize("uuid", [SLICE, f"MIG-{SLICE}"])
def test_of_a_slice_the_whole_gpu_is_read(driver, uuid):
    driver.clocks(1, 345)
    with open_probe("cuda:0", uuid) as read:
        assert read().sm_clock_mhz == 345


def test_without_a_uuid_the_only_gpu_is_meant_and_of_several_none_is_guessed(driver):
    with open_probe("cuda:0") as read:
        assert read().sm_clock_mhz is None
    with pytest.raises(UnreadableError, match="2 GPUs, and no UUID"), nvml.opened("cuda:0", None):
        pass
    driver.count(1)
    with open_probe("cuda:0") as read:
        assert read().sm_clock_mhz == 1980


def test_an_unknown_uuid_is_a_reason(driver):
    with pytest.raises(UnreadableError, match="GPU-0"), nvml.opened("cuda:0", "GPU-0"):
        pass
    assert driver.started == 0
    with open_probe("cuda:0", "GPU-0") as read:
        assert between(read(), read())["throttle"] is None


@pytest.mark.parametrize(("code", "answer"), [(NOT_SUPPORTED, "Not Supported"), (NO_PERMISSION, "Insufficient Perm")])
def test_what_is_refused_is_null_with_the_answer_as_its_reason(driver, code, answer):
    driver.refuse(code)
    with open_probe("cuda:0", FIRST) as read:
        reading = read()
    assert reading == Reading(cpu_time=reading.cpu_time)
    assert between(reading, reading) | {"steal": None} == dict.fromkeys(between(reading))
    gpus, reasons = described()
    assert len(gpus) == 2
    for field, value in gpus[1].items():
        assert value is None, field
        assert answer in reasons[f"1.{field.removesuffix('_pending').replace('_used', '')}"]


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        ("nvmlDeviceGetTemperatureV", {"temperature_c"}),
        ("nvmlDeviceGetCurrentClocksEventReasons", {"event_reasons"}),
        ("nvmlDeviceGetFieldValues", {"power_w"}),
        ("nvmlDeviceGetClockInfo", {"sm_clock_mhz"}),
    ],
)
def test_one_refused_call_costs_its_own_fields_only(driver, call, fields):
    driver.refuse(NO_PERMISSION, call)
    with open_probe("cuda:0", FIRST) as read:
        reading = read()
    assert {name for name in FIELDS if getattr(reading, name) is None} == fields


def test_a_gpu_that_is_lost_during_a_round_leaves_what_was_read_before(driver):
    with open_probe("cuda:0", FIRST) as read:
        before = read()
        driver.refuse(GPU_IS_LOST)
        after = read()
    assert between(before, after)["sm_clock_mhz"] == 1980


def test_an_older_driver_still_tells_the_temperature(old_driver):
    with open_probe("cuda:0", FIRST) as read:
        reading = read()
    assert reading.temperature_c == 41
    assert reading.event_reasons is None


def test_older_bindings_still_tell_the_temperature(old_driver, monkeypatch):
    monkeypatch.delattr(pynvml, "nvmlDeviceGetTemperatureV")
    with open_probe("cuda:0", FIRST) as read:
        assert read().temperature_c == 41


def test_without_a_driver_everything_is_null_for_one_reason(no_driver):
    with open_probe("cuda:0", FIRST) as read:
        assert read().power_w is None
    gpus, reasons = described()
    assert gpus == []
    assert "no NVIDIA driver" in reasons["gpus"]


def test_a_library_without_its_kernel_module_is_a_reason(driver):
    driver.refuse(DRIVER_NOT_LOADED, "nvmlInitWithFlags")
    with pytest.raises(UnreadableError, match="Driver Not Loaded"), nvml.opened("cuda:0", FIRST):
        pass
    assert described()[0] == []


def test_a_gpu_is_described_by_facts_that_outlast_a_run(driver):
    driver.modes(1, mig=(1, 0), ecc=(0, 1))
    gpus, reasons = described()
    assert reasons == {}
    assert gpus[0] == {
        "uuid": f"GPU-{FIRST}",
        "name": "NVIDIA Stand-in",
        "driver": "580.65.06",
        "cuda": "13.2",
        "sm_clock_max_mhz": 1980,
        "memory_clock_max_mhz": 2619,
        "memory_bytes": 150754820096,
        "memory_used_bytes": 754820096,
        "pcie_gen": 5,
        "pcie_gen_max": 5,
        "pcie_width": 8,
        "pcie_width_max": 16,
        "mig": False,
        "mig_pending": False,
        "ecc": True,
        "ecc_pending": True,
        "power_limit_w": 700.0,
        "persistence": False,
        "compute_mode": "default",
        "display": False,
        "other_processes": 0,
    }
    assert [gpus[1][mode] for mode in ("mig", "mig_pending", "ecc", "ecc_pending", "display")] == [
        True,
        False,
        False,
        True,
        True,
    ]


def test_other_processes_do_not_include_this_one(driver):
    for pid in (os.getpid(), 1, 2):
        driver.process(0, pid)
    assert [gpu["other_processes"] for gpu in described()[0]] == [2, 0]


def test_the_environment_has_the_gpus_and_who_else_computes_on_them(driver):
    driver.process(1, os.getppid())
    driver.process(1, 2**22 + 1)  # above the most that Linux has
    driver.refuse(NO_PERMISSION, "nvmlDeviceGetEccMode")
    machine = environment.describe("cpu", device_uuid=f"GPU-{SECOND}").machine
    assert [gpu.uuid for gpu in machine.gpus] == [f"GPU-{FIRST}", f"GPU-{SECOND}"]
    assert machine.device_uuid == f"GPU-{SECOND}"
    assert "Insufficient Permissions" in machine.unreadable["gpus.1.ecc"]
    parent = f"{os.getppid()} ({Path(f'/proc/{os.getppid()}/comm').read_text().strip()})"
    assert environment.snapshot().gpu_processes == {f"GPU-{FIRST}": [], f"GPU-{SECOND}": [parent, str(2**22 + 1)]}
    driver.refuse(NO_PERMISSION, "nvmlDeviceGetComputeRunningProcesses_v3")
    assert environment.snapshot().gpu_processes == {}


@given(st.integers(0, 2**64 - 1))
def test_every_bit_of_the_event_reasons_is_named(mask):
    names = nvml.event_reasons(mask)
    values = {name: bit for bit, name in nvml.EVENT_REASONS.items()}
    assert sum(values[name] if name in values else int(name, 16) for name in names) == mask
    assert len(set(names)) == len(names)


def test_the_names_of_the_event_reasons_are_those_of_the_bindings():
    for bit, name in nvml.EVENT_REASONS.items():
        assert getattr(pynvml, f"nvmlClocksEventReason{name.title().replace('_', '')}") == bit


def test_no_deprecated_call_is_made_but_the_one_for_old_drivers():
    bindings = Path(pynvml.__file__).read_text(encoding="utf-8")
    deprecated = set(re.findall(r"# DEPRECATED.*\n(?:@.*\n)?def (\w+)", bindings))
    assert len(deprecated) > 10
    used = set(re.findall(r'"(nvml\w+)"', Path(nvml.__file__).read_text(encoding="utf-8")))
    assert used & deprecated == {"nvmlDeviceGetTemperature"}
    assert used <= set(dir(pynvml))


def test_the_systems_loader_finds_the_library_and_torch_is_not_needed(builds):
    code = f"""
import ctypes, sys
from gapbench.machine.telemetry import between, open_probe
with open_probe("cuda:1", {SECOND!r}) as read:
    before = read()
    ctypes.CDLL("libnvidia-ml.so.1").standin_clocks(1, 990, 2619)
    print(between(before, read())["sm_clock_mhz"], "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"LD_LIBRARY_PATH": str(builds["new"])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["990.0", "False"]
