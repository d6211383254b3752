"""What to measure, where the code comes from, and how much effort to spend on it."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import gapbench
from gapbench import operations
from gapbench.errors import GapbenchError
from gapbench.statistics.stats import FEWEST_ROUNDS
from gapbench.store.records import REFERENCE, THIS
from gapbench.workloads.cases import Case

CaseKey = tuple[Case, str]  # a case under a memory condition, which has rounds of its own


@dataclass(frozen=True, slots=True)
class CasePlan:
    """The implementations that are compared on one case: ``specs`` are names or ``FILE.py:FUNCTION``, by stored name.

    All ``clocks`` time them in the same rounds; ratios are against ``reference``; ``memory`` is of `records.MEMORY`.
    """

    suite: str
    case: Case
    specs: dict[str, str]
    clocks: tuple[str, ...] = ("host",)
    reference: str = REFERENCE
    memory: str = "kept"

    @property
    def key(self) -> CaseKey:
        """The key that identifies it in its plan."""
        return self.case, self.memory


@dataclass(frozen=True, slots=True)
class Source:
    """A checkout of the repository under test, None for the installed code; ``built_in`` if it is gapbench's own."""

    folder: Path | None = None
    built_in: bool = False

    @classmethod
    def of(cls, folder: Path) -> "Source":
        """Return the source in ``folder``, ``built_in`` if that holds gapbench."""
        return cls(folder, (folder / "gapbench" / "implementations" / "__init__.py").is_file())

    def spec(self, spec: str) -> str:
        """Return a ``FILE.py:FUNCTION`` of the repository with this checkout's folder; names stay as they are."""
        return str(self.folder / spec) if self.folder and operations.is_user_spec(spec) else spec

    def activate(self, operation: str) -> None:
        """Import this checkout's implementations of ``operation``, first in ``sys.path``. Raises what it raises."""
        if self.folder is None:
            return
        sys.path[:0] = [str(folder) for folder in (self.folder, self.folder / "src") if folder.is_dir()]
        if self.built_in:
            operations.load_checkout(self.folder / "gapbench", operation)


HERE = Source()


@dataclass(frozen=True, slots=True)
class Side:
    """A side of a plan: its name in the store, checkout, interpreter, and the folder where that one finds gapbench."""

    name: str = THIS
    source: Source = HERE
    python: str = sys.executable
    harness: Path = Path(gapbench.__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how well to measure.

    ``budget`` is the wall time in seconds of the whole run, preparation included; ``rounds`` the fewest rounds of
    each case, even where they exceed the budget; ``target`` the relative half-width of the 95 % interval of every
    ratio to the fastest at which a case is done; ``batch_seconds`` the length of one timed batch; ``patience`` the
    timeout in seconds of a worker, beyond the time that it measures. With ``race``, implementations that are clearly
    slower than the fastest stop early.
    """

    budget: float = 60.0
    rounds: int = FEWEST_ROUNDS
    target: float = 0.01
    seed: int = 0
    batch_seconds: float = 0.5e-3
    patience: float = 60.0
    race: bool = True

    def __post_init__(self) -> None:
        if self.budget <= 0:
            raise GapbenchError(f"a budget of {self.budget:g} s measures nothing; give seconds above 0, as in 60s")
        if self.rounds < 1:
            raise GapbenchError(f"{self.rounds} rounds measure nothing; give at least 1")
        if not 0 < self.target < 1:
            raise GapbenchError(f"a target of {self.target:.3g} is impossible; give a share between 0 % and 100 %")


@dataclass(frozen=True, slots=True)
class Plan:
    """Cases, the sides that each is measured on, and the effort."""

    plans: tuple[CasePlan, ...]
    effort: Effort = field(default_factory=Effort)
    sides: tuple[Side, ...] = (Side(),)

    @property
    def is_comparison(self) -> bool:
        """Whether sides are compared with each other, and not implementations."""
        return len(self.sides) > 1
