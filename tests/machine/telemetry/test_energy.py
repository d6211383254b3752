import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.machine.telemetry import energy, nvml
from gapbench.machine.telemetry.unreadable import UnreadableError

FIRST = "GPU-11111111-2222-3333-4444-000000000000"
RANGE = 262_143_328_850
CAP = "sys/class/powercap"


def package(number, microjoules, name=None):
    folder = f"{CAP}/intel-rapl:{number}"
    return {
        f"{folder}/name": f"{name or f'package-{number}'}\n",
        f"{folder}/energy_uj": f"{microjoules}\n",
        f"{folder}/max_energy_range_uj": f"{RANGE}\n",
    }


def test_packages_are_added_and_their_parts_are_not(tree):
    parts = {f"{CAP}/intel-rapl:0:0/name": "core\n", f"{CAP}/intel-rapl:0:0/energy_uj": "5\n"}
    root = tree(package(0, 1_000_000) | package(1, 500_000) | package(2, 9, "psys") | parts)
    with energy.opened("cpu", root=root) as counter:
        assert counter.joules() == 0
        tree(package(0, 3_000_000) | package(1, 1_000_000) | package(2, 10**9, "psys"))
        assert counter.joules() == 2.5
        assert counter.joules() == 2.5
        assert "RAPL" in counter.source


def test_a_counter_that_wraps_around_goes_on(tree):
    root = tree(package(0, RANGE - 1_000_000))
    with energy.opened("cpu", root=root) as counter:
        for microjoules, joules in ((2_000_000, 3), (RANGE - 1, RANGE / 1e6 + 1 - 1e-6), (0, RANGE / 1e6 + 1)):
            tree(package(0, microjoules))
            assert counter.joules() == pytest.approx(joules)


@given(st.lists(st.integers(0, RANGE - 1), min_size=1, max_size=20))
def test_it_never_falls(tmp_path_factory, readings):
    root = tmp_path_factory.mktemp("root")
    folder = root / CAP / "intel-rapl:0"
    folder.mkdir(parents=True)
    for name, content in package(0, 0).items():
        (root / name).write_text(content)
    with energy.opened("cpu", root=root) as counter:
        last = 0.0
        for reading in readings:
            (folder / "energy_uj").write_text(str(reading))
            assert counter.joules() >= last
            last = counter.joules()


def test_a_processor_without_rapl_and_one_that_does_not_let_it_be_read_have_reasons(tree):
    root = tree({})
    with pytest.raises(UnreadableError, match="no RAPL, as in most guests"), energy.opened("cpu", root=root):
        pass
    root = tree(package(0, 1))
    (root / CAP / "intel-rapl:0/energy_uj").unlink()
    with pytest.raises(UnreadableError, match="energy_uj: No such file"), energy.opened("cpu", root=root):
        pass


def test_a_gpu_counts_in_its_driver(driver):
    driver.heat(0, 41, 1, 7_000_500)
    with energy.opened("cuda:0", FIRST) as counter:
        assert counter.joules() == 7000.5
        driver.heat(0, 41, 1, 7_010_500)
        assert counter.joules() == 7010.5
        assert driver.started == 1


def test_what_cannot_be_read_of_a_gpu_is_a_reason_and_nvml_is_shut_down(driver):
    driver.refuse(3, "nvmlDeviceGetFieldValues")
    with pytest.raises(UnreadableError, match="Not Supported"), energy.opened("cuda:0", FIRST):
        pass
    assert driver.started == 0
    with pytest.raises(UnreadableError, match="not xpu"), energy.opened("xpu:0"):
        pass


def test_without_a_driver_there_is_a_reason(no_driver):
    with pytest.raises(UnreadableError, match="no NVIDIA driver"), energy.opened("cuda:0", FIRST):
        pass


def test_the_datasheet_peak_is_clock_by_width_by_two(driver):
    with nvml.opened("cuda:0", FIRST) as gpu:
        assert gpu.memory_peak_gbps() == pytest.approx(2 * 2619e6 * 5120 / 8 / 1e9)
        driver.refuse(3, "nvmlDeviceGetMemoryBusWidth")
        with pytest.raises(UnreadableError, match="Not Supported"):
            gpu.memory_peak_gbps()
