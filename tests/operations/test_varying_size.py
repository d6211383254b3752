import pytest
import torch
from torch import nn

from gapbench import operations
from gapbench.measuring import probes
from gapbench.operations.varying_size import sizes
from gapbench.workloads import inputs
from gapbench.workloads.cases import Case

CASE = Case((2, 8, 10, 10), operation="varying_size")


def test_sizes_are_those_of_feature_maps_at_160_to_320_pixels():
    assert sizes(CASE) == [(5, 5), (7, 7), (9, 9), (10, 10)]
    assert sizes(Case((1, 1, 20, 20), operation="varying_size")) == [(10, 10), (14, 14), (18, 18), (20, 20)]


def test_each_size_is_pooled_on_its_own():
    x = inputs.sample(CASE, 0)
    y = operations.load("varying_mean").prepare(CASE)(x)
    for place, (height, width) in enumerate(sizes(CASE)):
        part = x.reshape(-1)[: 2 * 8 * height * width].view(2, 8, height, width)
        torch.testing.assert_close(y[:, :, place], part.mean((2, 3))[..., None])


@pytest.mark.parametrize(
    ("name", "recompilations"),
    [("varying_compiled_static", 3), ("varying_compiled_auto", 1), ("varying_compiled_dynamic", 0)],
)
def test_compiled_code_is_compiled_again_as_often_as_its_mode_says(name, recompilations):
    torch.compiler.reset()
    operations.load(name).prepare(CASE)(inputs.sample(CASE, 0))
    assert probes.compilation().recompilations == recompilations


def test_a_flattened_head_takes_one_size_only_as_its_reason_says():
    head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 10 * 10, 4))
    head(torch.ones(2, 8, 10, 10))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        head(torch.ones(2, 8, 7, 7))
    assert "raises on every size but its own" in operations.unsupported_reason("varying_flatten", CASE)


def test_adaptive_pooling_to_7x7_takes_every_size():
    assert operations.load("varying_adaptive_7x7").prepare(CASE)(inputs.sample(CASE, 0)).shape == (2, 8, 28, 7)
