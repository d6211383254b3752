import numpy as np
import pytest

from gapbench.measuring.stopping import StoppingRule

TIGHT = list(np.linspace(-0.004, 0.004, 8))
WIDE = list(np.linspace(-0.1, 0.1, 8))


def test_stops_when_every_ratio_is_known_to_the_target():
    assert StoppingRule(6, 0.01).reached([TIGHT, TIGHT])


def test_goes_on_while_one_ratio_is_not():
    assert not StoppingRule(6, 0.01).reached([TIGHT, WIDE])


def test_never_stops_before_the_fewest_rounds():
    assert not StoppingRule(9, 0.01).reached([TIGHT])


@pytest.mark.parametrize("rounds", range(2, 6))
def test_rounds_that_allow_no_interval_never_reach_a_target(rounds):
    assert not StoppingRule(2, 0.5).reached([[0.0] * rounds])
