"""Find the commit that made a step, by noisy binary search: readings of commits in, a posterior over commits out.

A reading has a position for each round: the log of the commit's time over the geometric mean of those of good and bad
in that round. Positions are about -step / 2 before the step, and step / 2 after it.
"""

from math import exp, log, log2

import numpy as np

from gapbench.statistics.stats import Floats, walsh_averages

CONFIDENT = 0.99  # the posterior at which the search ends
FEWEST_ROUNDS = 6  # of a reading
CLEAR = 6.0  # the log odds of a reading beyond which more rounds hardly change what it counts
_MISLEADING = 0.02  # the probability that a reading says nothing, so that none multiplies the odds by more than 99
_SCATTER_FLOOR = 0.003  # the least standard deviation of a round's position
_BIAS = 0.001  # the standard deviation of an error that all rounds of a reading share


class Search:
    """The posterior of which commit of 1 to ``commits`` (the bad one) made the ``step``, the log of bad / good.

    ``measured`` are commits with readings, ``skipped`` those that cannot have any.
    """

    def __init__(self, commits: int, step: float = 0.0) -> None:
        self.commits, self.step = commits, step
        self.measured: set[int] = set()
        self.skipped: set[int] = set()
        self._scatters: list[float] = []
        self._log_weights = np.zeros(commits)

    def log_odds(self, positions: Floats) -> float:
        """Return the log odds of after against before the step, by Hodges and Lehmann, as if no round misled."""
        scatter = max(_scatter(positions), float(np.median(self._scatters or [0.0])))
        end = abs(self.step) / 2
        location = float(np.clip(np.median(walsh_averages(positions)), -end, end))
        return location * self.step / (scatter**2 / len(positions) + _BIAS**2)

    def add(self, commit: int, positions: Floats | None) -> None:
        """Add a reading of a commit; None skips it, and the step may still be there."""
        if positions is None:
            self.skipped.add(commit)
            return
        odds = exp(float(np.clip(self.log_odds(positions), -50, 50)))
        misled = _MISLEADING * (1 + odds) / 2
        self._log_weights[:commit] += log((1 - _MISLEADING) * odds + misled)
        self._log_weights[commit:] += log(1 - _MISLEADING + misled)
        self._scatters.append(_scatter(positions))
        self.measured.add(commit)

    def posterior(self) -> Floats:
        """Return the probability of each commit from the first to the last."""
        weights = np.exp(self._log_weights - self._log_weights.max())
        return np.asarray(weights / weights.sum(), dtype=np.float64)

    def best(self) -> tuple[int, int, float]:
        """Return the most probable commit and its probability: first and last of a range where others are skipped."""
        lasts = self._measurable()
        firsts = [1, *(commit + 1 for commit in lasts[:-1])]
        shares = np.add.reduceat(self.posterior(), np.array(firsts) - 1)
        best = int(np.argmax(shares))
        return firsts[best], lasts[best], float(shares[best])

    def next_commit(self) -> int | None:
        """Return the commit at the posterior's median; None if one is sure, or after too many readings."""
        between = self._measurable()[:-1]
        if not between or self.best()[2] >= CONFIDENT or len(self._scatters) >= 15 + 3 * log2(self.commits):
            return None
        before = np.cumsum(self.posterior())
        return min(between, key=lambda commit: abs(float(before[commit - 1]) - 0.5))

    def _measurable(self) -> list[int]:
        return [commit for commit in range(1, self.commits + 1) if commit not in self.skipped]


def _scatter(positions: Floats) -> float:
    return max(_SCATTER_FLOOR, 1.4826 * float(np.median(np.abs(positions - np.median(positions)))))
