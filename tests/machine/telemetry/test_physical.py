"""Which GPU it is, as NVML and a process of its own tell."""

from types import SimpleNamespace

import pytest

from gapbench.machine import device_lock, environment
from gapbench.machine.devices import Accelerator, Cpu, Cuda
from gapbench.store.run import Machine


@pytest.fixture
def asked(monkeypatch):
    """What a process that initialises the device would say, and which devices it was asked about."""
    devices = []
    monkeypatch.setattr(
        device_lock, "facts", lambda device: devices.append(device.name) or {"device_uuid": "GPU-told-by-torch"}
    )
    return devices


def test_the_only_gpu_is_known_without_asking_it(driver, asked):
    driver.count(1)
    assert device_lock.identity(Cuda("cuda")) == "11111111-2222-3333-4444-000000000000"
    assert asked == []


def test_of_several_gpus_the_device_itself_tells(driver, asked):
    assert device_lock.identity(Cuda("cuda:1")) == "told-by-torch"
    assert asked == ["cuda:1"]


def test_of_slices_the_device_itself_tells(driver, asked):
    driver.count(1)
    driver.modes(0, mig=(1, 1))
    assert device_lock.identity(Cuda("cuda")) == "told-by-torch"


def test_who_refuses_to_tell_and_who_is_not_nvidias_is_asked(driver, asked):
    driver.count(1)
    driver.refuse(4, "nvmlDeviceGetUUID")
    assert device_lock.identity(Cuda("cuda")) == device_lock.identity(Accelerator("xpu")) == "told-by-torch"


def test_a_device_that_is_not_there_is_known_by_its_name(no_driver):
    assert device_lock.identity(Cuda("cuda:7")) == "cuda:7"
    assert device_lock.identity(Cpu()) == "cpu"


def test_a_process_is_asked_that_finds_this_gapbench_and_its_answer_counts(monkeypatch):
    tells = device_lock._ASK.replace("device(sys.argv[2]).facts()", "{'device_uuid': device(sys.argv[2]).name + '!'}")
    assert tells != device_lock._ASK
    monkeypatch.setattr(device_lock, "_ASK", tells)
    device_lock.facts.cache_clear()
    assert device_lock.facts(Cpu()) == {"device_uuid": "cpu!"}


def test_a_device_says_what_it_is():
    properties = SimpleNamespace(
        name="H100", uuid="1111", total_memory=80 << 30, L2_cache_size=50 << 20, multi_processor_count=132
    )
    runtime = SimpleNamespace(cuda=SimpleNamespace(get_device_properties=lambda index: properties))
    facts = Cuda("cuda", runtime).facts()
    assert Machine(**facts) == Machine(
        device_description="H100", device_uuid="1111", device_memory_bytes=80 << 30, device_cache_bytes=50 << 20,
        device_processors=132,
    )  # fmt: skip
    assert set(Accelerator("npu", SimpleNamespace()).facts().values()) == {None}


def test_a_run_says_which_gpu_it_measured(monkeypatch):
    """NVML's list cannot tell on a box with two models, and None equals None in a comparison."""
    known = {"device_description": "H100", "device_uuid": "1111", "device_memory_bytes": None}
    monkeypatch.setattr(device_lock, "facts", lambda _device: known)
    monkeypatch.setattr(environment, "device", lambda name: Cpu() if name == "cpu" else Accelerator(name, FAKE))
    machine = environment.describe("xpu:0").machine
    assert (machine.device_description, machine.device_uuid) == ("H100", "1111")


FAKE = SimpleNamespace()
