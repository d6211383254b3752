"""A recorded pool: rounds of every case and level, as arrays, to draw whole diffs from.

A level is how much more real work the head version of an implementation does than its base version, in percent; the
implementation is called ``pool_<level>`` (see `subject`). Level 0 is identical code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from gapbench.statistics import stats
from gapbench.statistics.stats import Floats

PREFIX = "pool_"
CLOCK = "host"
SECONDS_PER_ROUND = "seconds_per_round"
"""Key of the frame's attributes: wall seconds that one round of one case and implementation took when recorded."""
START_SECONDS, SLICE_SECONDS, OVERHEADS = "start_seconds", "slice_seconds", "overheads"
"""Keys of wall seconds: before the first round, of a round's turns at most, and by case what a round took beside."""

SHARES = 8
"""A round that was given less time than the recorded one has so many eighths of its turns, evenly spread."""


@dataclass(frozen=True, eq=False)
class Row:
    """All rounds of one case at one level: seconds per call, (rounds, turns), nan where a round had fewer turns.

    In a turn the batches of both sides were neighbours in time. ``null`` is the same with the hidden copy of base for
    head, in the rounds that had one; None where none had. A round took ``overhead`` seconds beside its turns, and
    these ``slice_seconds`` at most.
    """

    case: str
    level: int
    base: Floats
    head: Floats
    null: "Row | None" = None
    overhead: float = 0.1
    slice_seconds: float = 0.05

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return len(self.base)

    @cached_property
    def log_ratios(self) -> Floats:
        """The value of each round, of all its turns."""
        return log_ratios(self, SHARES)

    def turns(self, share: int) -> tuple[Floats, Floats]:
        """Return base and head with ``share`` eighths of each round's turns."""
        kept = [turn for turn in range(self.base.shape[1]) if turn * share % SHARES < share]
        return self.base[:, kept], self.head[:, kept]


@cache
def log_ratios(row: Row, share: int) -> Floats:
    """Return the value of each round, as the engine has it: `stats.round_log_ratio` of its turns."""
    return np.array([stats.round_log_ratio(head, base) for base, head in zip(*row.turns(share), strict=True)])


@dataclass(frozen=True)
class Pool:
    """All rows by case and level, and what is known about the recording (``attributes``)."""

    rows: Mapping[tuple[str, int], Row]
    turn_seconds: float = np.nan
    attributes: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def cases(self) -> list[str]:
        """The cases, in a fixed order."""
        return sorted({case for case, _ in self.rows})

    @cached_property
    def levels(self) -> list[int]:
        """The levels, 0 first."""
        return sorted({level for _, level in self.rows})

    @cached_property
    def rounds(self) -> int:
        """The rounds that every row has."""
        return min(row.rounds for row in self.rows.values())

    def diff(self, level: int, changed: Sequence[str]) -> list[Row]:
        """Return one row a case: at ``level`` where it is ``changed``, else of identical code."""
        return [self.rows[case, level if case in changed else 0] for case in self.cases]

    def seconds_per_round(self, implementations: int) -> float:
        """Return what a round of one case would take with so many implementations.

        One was recorded; each more adds its batches, and nothing else. nan where the recording does not say.
        """
        recorded = self.attributes.get(SECONDS_PER_ROUND)
        if not isinstance(recorded, float):
            return np.nan
        return recorded + (implementations - 1) * self.turn_seconds


def read(path: Path) -> Pool:
    """Read a pool that `collect` wrote."""
    return from_samples(pd.read_parquet(path))


def from_samples(samples: pd.DataFrame) -> Pool:
    """Lay samples (columns of `store.records.SAMPLES`) out as rows. Raises ValueError where nothing is a pool."""
    chosen = samples[(samples["clock"] == CLOCK) & samples["implementation"].str.startswith(PREFIX)]
    rows = {}
    overheads, slice_seconds = samples.attrs.get(OVERHEADS, {}), samples.attrs.get(SLICE_SECONDS, Row.slice_seconds)
    for (case, name), frame in chosen.groupby(["case", "implementation"]):
        wide = frame.pivot(index=["round", "turn"], columns="contender", values="seconds_per_call")
        level = int(name.removeprefix(PREFIX))
        null = Row(case, 0, *_sides(wide, "null")) if "null" in wide and wide["null"].notna().any() else None
        overhead = overheads.get(case, Row.overhead)
        rows[case, level] = Row(case, level, *_sides(wide, "head"), null, overhead, slice_seconds)
    cases = {case for case, _ in rows}
    if not rows or len(rows) != len(cases) * len({level for _, level in rows}):
        raise ValueError(f"the samples are no pool: {len(rows)} rows of {len(cases)} cases named {PREFIX}<level>")
    timed = chosen["seconds_per_call"] * chosen["calls"]
    measured = chosen.groupby(["case", "implementation", "round"]).ngroups
    return Pool(rows, float(timed.sum()) / measured, samples.attrs)


def _sides(wide: pd.DataFrame, head: str) -> tuple[Floats, Floats]:
    """Return base and ``head`` as (rounds, turns) each; turns that a shorter round lacks are nan."""
    both = wide[["base", head]].dropna()
    base, other = (both[side].unstack("turn").to_numpy(dtype=np.float64) for side in ("base", head))
    return base, other
