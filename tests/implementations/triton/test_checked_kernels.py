"""The self-test's checks of kernels pass in Triton's interpreter, and fail where a kernel is broken."""

import checking
import pytest


@pytest.mark.parametrize(
    ("broken", "plans", "single"),
    [
        ("nothing", True, True),
        ("single pass", False, False),
        ("two pass", False, False),
        ("backward", False, True),
        ("one bit", False, False),
    ],
)
def test_the_self_test_finds_kernels_that_are_wrong(interpreted, broken, plans, single):
    (_, plans_passed), (_, single_passed) = results = interpreted(checking.check, broken)
    assert (plans_passed, single_passed) == (plans, single), results
