import pytest
from simulated.device import Costs
from simulated.kernels import CACHE_BANDWIDTH, MEMORY_BANDWIDTH

from gapbench.measuring import ceilings

MIB = 2**20


def by(results):
    return {(result.level, result.kind): result for result in results}


@pytest.mark.parametrize("costs", [Costs(), Costs(between_kernels=0.8e-6), Costs(event=4e-6, resolution=0.5e-6)])
def test_the_simulated_truth_is_recovered(bench, costs):
    results = by(ceilings.of_accelerator(bench(costs=costs).accelerator))
    assert results["L2", "read"].gbps == pytest.approx(CACHE_BANDWIDTH / 1e9, rel=0.02)
    assert results["L2", "read"].bytes == 40 * MIB
    assert results["memory", "read"].gbps == pytest.approx(MEMORY_BANDWIDTH / 1e9, rel=0.02)
    assert results["memory", "read"].bytes is None
    assert results["L2", "copy"].gbps == pytest.approx(CACHE_BANDWIDTH / 1e9, rel=0.05)
    assert results["L2", "write"].gbps == pytest.approx(CACHE_BANDWIDTH / 1e9, rel=0.05)


def test_floors_are_what_the_smallest_operation_takes(bench):
    results = by(ceilings.of_accelerator(bench(costs=Costs(between_kernels=0.8e-6)).accelerator))
    assert results[None, "dispatch"].seconds == pytest.approx(6e-6, rel=0.01)
    assert results[None, "kernel"].seconds == pytest.approx(1e-6 + 0.8e-6, rel=0.01)


def test_without_nvml_the_datasheet_is_null_with_the_reason(bench):
    sheet = by(ceilings.of_accelerator(bench(family="xpu").accelerator))["memory", "datasheet"]
    assert sheet.gbps is None
    assert sheet.reason == "NVML reads NVIDIA GPUs only, not xpu"


def test_an_unknown_cache_has_no_ceiling_and_memory_has(bench):
    results = by(ceilings.of_accelerator(bench(family="xpu").accelerator))
    assert results["L2", "read"].gbps is None
    assert "does not report" in results["L2", "read"].reason
    assert results["memory", "read"].gbps == pytest.approx(MEMORY_BANDWIDTH / 1e9, rel=0.02)


def test_data_that_takes_hardly_longer_than_the_smallest_kernel_tells_nothing(bench):
    """On a small L2 the difference of two equal times is noise, and its reciprocal any bandwidth."""
    found = by(ceilings.of_accelerator(bench(cache_bytes=4 * MIB).accelerator))
    assert found["L2", "write"].gbps is None
    assert "hardly longer than the smallest kernel" in found["L2", "write"].reason
