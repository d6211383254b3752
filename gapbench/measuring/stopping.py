"""When a case has been measured enough."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gapbench import stats


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """Stop after at least ``fewest_rounds`` once every ratio is known to ``target`` (0.01 is 1 %)."""

    fewest_rounds: int
    target: float

    def reached(self, log_ratios: Iterable[Sequence[float]]) -> bool:
        """Tell whether the 95 % interval of each contender's ratio, over rounds, is narrow enough.

        ``log_ratios`` holds one sequence of per-round log ratios to the reference for each contender.
        """
        return all(
            len(rounds) >= self.fewest_rounds and stats.location(np.asarray(rounds)).half_width <= self.target
            for rounds in log_ratios
        )
