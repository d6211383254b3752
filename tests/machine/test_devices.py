from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from simulated.device import SimulatedDevice
from simulated.runtime import SimulatedRuntime
from simulated.virtual_time import HostTime

from gapbench.errors import GapbenchError
from gapbench.machine import devices
from gapbench.machine.telemetry import host
from gapbench.machine.telemetry.unreadable import UnreadableError
from gapbench.measuring import clocks

MIB = 2**20


def runtime_of(family):
    return SimulatedRuntime(SimulatedDevice(HostTime()), family)


def test_the_cpu_is_always_there_and_last():
    assert devices.available()[-1] == devices.Cpu()
    assert devices.device("cpu").clocks == ("host",)


def test_accelerators_come_first_by_family_and_number():
    assert [one.name for one in devices.available(runtime_of("cuda"))] == ["cuda:0", "cuda:1", "cpu"]
    assert type(devices.available(runtime_of("cuda"))[0]) is devices.Cuda
    assert type(devices.available(runtime_of("npu"))[0]) is devices.Accelerator


def test_auto_is_the_first_device_that_can_be_measured(monkeypatch):
    there = [devices.Accelerator("mps", clocks=()), devices.Accelerator("xpu:1"), devices.Cpu()]
    monkeypatch.setattr(devices, "available", lambda: there)
    assert devices.device("auto").name == "xpu:1"


def test_a_device_without_a_clock_is_refused_not_guessed(monkeypatch):
    monkeypatch.setattr(devices, "available", lambda: [devices.Accelerator("xpu:0", clocks=()), devices.Cpu()])
    with pytest.raises(GapbenchError, match=r"xpu:0 cannot be measured yet.*--device cpu"):
        devices.device("xpu")


def test_a_device_that_is_not_there_lists_what_is():
    with pytest.raises(GapbenchError, match="there are: .*cpu"):
        devices.device("tpu")


def test_a_device_with_and_without_its_number_is_one(monkeypatch):
    assert devices.Accelerator("xpu") == devices.Accelerator("xpu:0")
    monkeypatch.setattr(devices, "available", lambda: [devices.Cuda("cuda:0"), devices.Cpu()])
    assert devices.device("cuda") == devices.device("cuda:0")


def test_the_cpu_describes_itself():
    described = devices.Cpu().describe()
    assert described["description"]
    assert described["logical_cores"] >= 1


@pytest.mark.parametrize(("sizes", "expected"), [({2: MIB, 3: 32 * MIB}, 32 * MIB), ({2: MIB}, MIB), ({}, None)])
def test_the_last_level_cache_is_the_largest_level_that_there_is(monkeypatch, sizes, expected):
    def cache_bytes(level):
        if level not in sizes:
            raise UnreadableError("no such level")
        return sizes[level]

    monkeypatch.setattr(host, "cache_bytes", cache_bytes)
    assert devices.Cpu().cache_bytes == expected


def test_a_backend_may_lack_everything_but_streams_and_events():
    npu = devices.Accelerator("npu", runtime_of("npu"))
    assert npu.describe() == {"description": None}
    assert npu.cache_bytes is None
    assert not npu.has_graphs
    assert clocks.selectable(npu) == npu.clocks


@pytest.mark.parametrize("initialized", [True, False])
def test_a_backend_is_not_initialised_to_be_described(initialized):
    module = SimpleNamespace(is_initialized=lambda: initialized, get_device_name=lambda index: f"Model {index}")
    runtime = runtime_of("npu")
    runtime.npu = module
    assert devices.Accelerator("npu:1", runtime).describe()["description"] == ("Model 1" if initialized else None)


@pytest.mark.parametrize(("names", "expected"), [(["Model", "Model"], "Model"), (["Model", "Other"], None), ([], None)])
def test_nvml_names_a_gpu_where_all_are_of_a_kind(monkeypatch, names, expected):
    gpus = [SimpleNamespace(describe=lambda reasons, prefix, name=name: {"name": name}) for name in names]
    monkeypatch.setattr(devices.nvml, "every_gpu", lambda reasons: nullcontext(gpus))
    assert devices.Cuda("cuda", runtime_of("cuda")).describe() == {"description": expected}


def test_an_event_is_waited_for_before_it_is_read():
    device = devices.Cuda("cuda", runtime_of("cuda"))
    before, after = device.event(), device.event()
    device.delay(1e-3)
    before.record()
    device.delay(1e-3)
    after.record()
    assert before.seconds_until(after) == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("family", ["cuda", "npu"])
@pytest.mark.parametrize("seconds", [0.3e-3, 2e-3])
def test_a_delay_keeps_the_device_busy_for_about_that_long(family, seconds):
    runtime = runtime_of(family)
    device = devices.available(runtime)[0]
    device.delay(seconds)  # calibrates
    device.synchronize()
    before, after = device.event(), device.event()
    before.record()
    device.delay(seconds)
    after.record()
    assert before.seconds_until(after) == pytest.approx(seconds, rel=0.2)


def test_work_goes_to_the_device_with_the_given_number():
    runtime = runtime_of("cuda")
    devices.Cuda("cuda:1", runtime).synchronize()
    assert runtime.current_index == 1


def test_torch_before_2_8_selects_a_device_by_another_name():
    chosen = []
    runtime = SimpleNamespace(accelerator=SimpleNamespace(set_device_idx=chosen.append))
    devices.Accelerator("npu:3", runtime).make_current()
    assert chosen == [3]


def test_the_cache_behind_the_l2_cache_counts():
    runtime = runtime_of("cuda")
    properties = SimpleNamespace(L2_cache_size=4 * MIB, gcnArchName="gfx942:sramecc+:xnack-")
    runtime.cuda.get_device_properties = lambda index: properties
    assert devices.Cuda("cuda", runtime).cache_bytes == devices.INFINITY_CACHE["gfx942"]
    properties.gcnArchName = "gfx90a"
    assert devices.Cuda("cuda", runtime).cache_bytes == 4 * MIB


def test_a_gpu_is_identified_by_its_uuid_and_other_devices_by_none():
    properties = SimpleNamespace(uuid="e6b2...")
    runtime = SimpleNamespace(cuda=SimpleNamespace(get_device_properties=lambda index: properties))
    assert devices.Cuda("cuda:1", runtime).uuid == "e6b2..."
    assert devices.Cpu().uuid is None
    assert devices.Accelerator("xpu:0", runtime).uuid is None
