import pytest

from gapbench import devices
from gapbench.errors import GapbenchError


def test_the_cpu_is_always_there_and_last():
    assert devices.available()[-1] == devices.Cpu()
    assert devices.device("cpu").clocks == ("host",)


def test_auto_is_the_first_device_that_can_be_measured(monkeypatch):
    monkeypatch.setattr(devices, "available", lambda: [devices.Accelerator("xpu:0"), devices.Cpu()])
    assert devices.device("auto") == devices.Cpu()


def test_a_device_without_a_clock_is_refused_not_guessed(monkeypatch):
    monkeypatch.setattr(devices, "available", lambda: [devices.Accelerator("xpu:0"), devices.Cpu()])
    with pytest.raises(GapbenchError, match=r"xpu:0 cannot be measured yet.*--device cpu"):
        devices.device("xpu")


def test_a_device_that_is_not_there_lists_what_is():
    with pytest.raises(GapbenchError, match="there are: .*cpu"):
        devices.device("tpu")


def test_the_cpu_describes_itself():
    described = devices.Cpu().describe()
    assert described["description"]
    assert described["logical_cores"] >= 1
