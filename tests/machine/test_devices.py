from contextlib import nullcontext
from functools import cache, partial
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
    assert [device.name for device in devices.available(runtime_of("cuda"))] == ["cuda:0", "cuda:1", "cpu"]
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


@pytest.mark.parametrize(
    ("cuda", "mig", "reason"),
    [
        (None, 0, "this torch was built without CUDA: install a build that has it"),
        ("13.9", 0, "the driver 580.65.06 supports CUDA 13.2 and torch needs 13.9: update the driver"),
        ("13.0", 1, "MIG is on, and no slice is visible: create one, or name its UUID in CUDA_VISIBLE_DEVICES"),
        ("13.0", 0, "look at CUDA_VISIBLE_DEVICES, and at the container's access to GPUs"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_missing_for_a_reason(driver, monkeypatch, cuda, mig, reason):
    driver.modes(0, mig=(mig, mig))
    monkeypatch.setattr("torch.version.cuda", cuda)
    with pytest.raises(GapbenchError) as refused:
        devices.device("cuda:0")
    assert str(refused.value).endswith(f"unknown device 'cuda:0'; there are: cpu; NVML lists 2 GPUs, but {reason}")


def test_without_a_driver_nothing_is_said_of_gpus(no_driver):
    with pytest.raises(GapbenchError) as refused:
        devices.device("cuda")
    assert str(refused.value) == "unknown device 'cuda'; there are: cpu"


@pytest.mark.parametrize(
    ("listed", "expected"), [("0-2,8", {0, 1, 2, 8}), ("5", {5}), (None, set())], ids=["ranges", "one", "untold"]
)
def test_the_cpus_near_a_gpu_are_those_of_its_socket(tree, monkeypatch, listed, expected):
    root = tree({"sys/bus/pci/devices/0000:1b:00.0/local_cpulist": listed} if listed else {"proc/stat": ""})
    monkeypatch.setattr(devices.host, "near_cpus", cache(partial(devices.host.near_cpus.__wrapped__, root=root)))
    runtime = runtime_of("cuda")
    assert devices.Cuda("cuda", runtime).near_cpus() == frozenset()  # this runtime tells no address
    properties = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x1B, pci_device_id=0)
    runtime.cuda.get_device_properties = lambda index: properties
    assert devices.Cuda("cuda", runtime).near_cpus() == expected
    (root / "sys/bus/pci/devices/0000:1b:00.0/local_cpulist").unlink(missing_ok=True)
    assert devices.Cuda("cuda", runtime).near_cpus() == expected  # read once


def test_ranges_are_nvtxs_where_torch_has_it():
    runtime, names = runtime_of("cuda"), []
    with devices.Cuda("cuda", runtime).range("case/mean/event_cold"):
        runtime.cuda.nvtx = SimpleNamespace(range=lambda name: names.append(name) or nullcontext())
    with devices.Cuda("cuda", runtime).range("case/mean/event_cold"):
        pass
    with devices.Accelerator("xpu", runtime).range("unseen"):
        pass
    assert names == ["case/mean/event_cold"]
