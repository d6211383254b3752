"""What to measure, and how much effort to spend on it."""

from dataclasses import dataclass

from gapbench.cases import Case
from gapbench.errors import GapbenchError
from gapbench.records import REFERENCE
from gapbench.stats import FEWEST_ROUNDS


@dataclass(frozen=True, slots=True)
class Contest:
    """The implementations that meet on one case: ``specs`` are names or ``FILE.py:FUNCTION``, by stored name.

    ``clocks`` are the names of those that time them, all in the same rounds; ``reference`` is the implementation that
    ratios are taken against.
    """

    suite: str
    case: Case
    specs: dict[str, str]
    clocks: tuple[str, ...] = ("host",)
    reference: str = REFERENCE


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how well to measure.

    ``budget`` is the wall time in seconds of the whole run, preparation included; ``rounds`` the fewest rounds of
    each case, kept even where they exceed the budget; ``target`` the relative half-width of the 95 % interval of
    every ratio at which a case is done; ``batch_seconds`` the length of one timed batch; ``patience`` the seconds
    after which one worker that does not answer is given up, beyond the time it was told to measure.
    """

    budget: float = 60.0
    rounds: int = FEWEST_ROUNDS
    target: float = 0.01
    seed: int = 0
    batch_seconds: float = 0.5e-3
    patience: float = 60.0

    def __post_init__(self) -> None:
        if self.budget <= 0:
            raise GapbenchError(f"a budget of {self.budget:g} s measures nothing; give seconds above 0, as in 60s")
        if self.rounds < 1:
            raise GapbenchError(f"{self.rounds} rounds measure nothing; give at least 1")
        if not 0 < self.target < 1:
            raise GapbenchError(f"a target of {self.target:.3g} is impossible; give a share between 0 % and 100 %")
