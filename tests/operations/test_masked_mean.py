import pytest
import torch

from gapbench import operations
from gapbench.operations.masked_mean import MASKED_MEAN, lengths
from gapbench.workloads.cases import Case


@pytest.mark.parametrize(
    ("shape", "valid"),
    [((4, 2, 30), [30, 25, 20, 15]), ((1, 2, 30), [30]), ((2, 2, 1), [1, 1]), ((3, 1, 2, 3), [6, 5, 3])],
)
def test_samples_are_valid_from_whole_down_to_half(shape, valid):
    assert lengths(Case(shape, operation="masked_mean")) == valid


@pytest.mark.parametrize("implementation", MASKED_MEAN.implementations, ids=lambda implementation: implementation.name)
def test_padding_does_not_count(implementation):
    case = Case((3, 2, 8), operation="masked_mean")
    if implementation.family == "compiled":
        return  # the same function, and 5 s of compilation
    x = torch.ones(case.shape)
    for n, length in enumerate(lengths(case)):
        x[n, :, length:] = 1000
    assert (implementation.prepare(case)(x) == 1).all()


def test_nan_in_the_padding_spreads_only_where_it_is_multiplied():
    case = Case((2, 1, 4), operation="masked_mean")
    x = torch.ones(case.shape)
    x[1, :, -1] = float("nan")
    spread = {
        name: bool(operations.load(name).prepare(case)(x).isnan().any())
        for name in ("multiply_sum", "fill_sum", "masked_matmul", "slice_mean")
    }
    assert spread == {"multiply_sum": True, "fill_sum": False, "masked_matmul": True, "slice_mean": False}
