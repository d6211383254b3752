"""All steps of a matrix as one family: how often any is false, whichever look ends the rounds."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from gapbench.statistics.stats import location
from gapbench.statistics.verdicts import STEP_LEVEL, STEP_LOOKS, Verdict, judge, paired

CHANGED = (Verdict.REGRESSED, Verdict.IMPROVED)
VERSIONS, MATRICES, SPREAD = 5, 200, 0.005
LOOKS = (12, 24, 30)


def logs(rng, factors):
    """Return the log times of versions in as many rounds as the last look has; steps scatter by `SPREAD`."""
    return np.log(factors)[:, None] + rng.normal(0, SPREAD / 2**0.5, (VERSIONS, LOOKS[-1]))


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_in_five_percent_of_matrices_is_any_step_false_at_any_look(margin):
    """Each version is as much slower than the one before as the margin allows, where errors are most frequent."""
    rng = np.random.default_rng(7)
    factors = (1 + margin) ** np.arange(VERSIONS)
    false = missed = 0
    level = STEP_LEVEL / (VERSIONS - 1)
    confidence = 1 - 0.05 / STEP_LOOKS / (2 * VERSIONS - 3)
    for _ in range(MATRICES):
        times = logs(rng, factors)
        steps = [after - before for before, after in pairwise(times)]
        ratios = [*steps, *(times[number] - times[0] for number in range(2, VERSIONS))]
        truths = [*[np.log1p(margin)] * (VERSIONS - 1), *np.log(factors[2:])]
        judged = [judge([paired(step[:look], margin)], level)[0] for look in LOOKS for step in steps]
        false += any(each.verdict in CHANGED for each in judged)
        intervals = [
            (location(ratio[:look], confidence), truth)
            for look in LOOKS
            for ratio, truth in zip(ratios, truths, strict=True)
        ]
        missed += not all(interval.low <= truth <= interval.high for interval, truth in intervals)
    most = binom.ppf(0.999, MATRICES, 0.05)
    assert false <= most
    assert missed <= most


@pytest.mark.parametrize("step", range(1, VERSIONS))
def test_two_percent_are_found_at_the_second_look(step):
    rng = np.random.default_rng(step)
    factors = np.where(np.arange(VERSIONS) >= step, 1.02, 1.0)
    right = 0
    for _ in range(20):
        steps = [after - before for before, after in pairwise(logs(rng, factors)[:, : LOOKS[1]])]
        verdicts = [judge([paired(each, 0.01)], STEP_LEVEL / (VERSIONS - 1))[0].verdict for each in steps]
        right += [verdict in CHANGED for verdict in verdicts] == [number == step for number in range(1, VERSIONS)]
    assert right >= 19
