"""From the samples of two runs to the evidence on each row: what is compared with what, round by round.

What holds for runs taken at different times, when the machine may have been in another state:

- An implementation is compared by its time divided by the reference's in the same turns: neighbours in time, in one
  process, so that the machine's state cancels. Times alone would call a warmer machine a regression. The reference is
  compared with the rest of its case: the median of the other implementations.
- A ratio cannot tell which of the two changed. Where the reference moved against the rest by more than the margin, more
  must confirm every verdict in its case: for an implementation its ratio to the median of the others without the
  reference, for the reference (and where there are only two) its own time. So a reference that got faster turns nobody
  red, and one that got slower only itself.

What slows all implementations of a case alike cannot be told from a slower machine by two stored runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gapbench.compare.rows import Key
from gapbench.stats import Floats
from gapbench.summary import log_ratios, log_seconds
from gapbench.verdicts import Evidence, unpaired

_ALONE = "by its time alone, which another state of the machine changes too"


@dataclass(frozen=True, slots=True)
class Weighed:
    """The evidence on a row, and a note where it is of more or other than the ratio to the reference."""

    evidence: Evidence
    note: str = ""


def weigh(
    base: pd.DataFrame, head: pd.DataFrame, references: Mapping[Key, str], margin: float
) -> Iterator[tuple[Key, Weighed]]:
    """Weigh the rows of two runs' samples; ``references`` has the rows, each with its reference's name."""
    sides = [dict(iter(samples.groupby(["case", "clock"]))) for samples in (base, head)]
    contests: dict[tuple[str, str, str], list[str]] = {}
    for (case, name, clock), reference in references.items():
        contests.setdefault((case, clock, reference), []).append(name)
    for (case, clock, reference), names in contests.items():
        turns = [log_seconds(side.get((case, clock), base[:0])).reindex(columns=names) for side in sides]
        for name, weighed in _Contest(turns, names, reference, margin).weigh():
            yield (case, name, clock), weighed


@dataclass(frozen=True, slots=True)
class _Contest:
    """One case by one clock: log seconds of base and head, a row a turn and a column for each of ``names``."""

    sides: Sequence[pd.DataFrame]
    names: Sequence[str]
    reference: str
    margin: float

    def weigh(self) -> Iterator[tuple[str, Weighed]]:
        rest = [name for name in self.names if name != self.reference]
        if not rest or self.reference not in self.names:
            for name in self.names:
                missing = self.reference if rest else "other implementation"
                yield name, Weighed(self._own(name), f"{_ALONE}: no {missing} to compare with")
            return
        against_rest = self._against(self.reference, rest)
        moved = _moved(against_rest)
        why = f"{self.reference} moved against the other implementations"
        for name in self.names:
            ratio = against_rest if name == self.reference else self._ratio(name)
            if not moved:
                yield name, Weighed(ratio)
            elif name == self.reference or len(rest) == 1:
                yield name, Weighed(ratio.confirmed_by(self._own(name)), f"{why}, so its own time must confirm")
            else:
                others = [other for other in rest if other != name]
                confirmed = ratio.confirmed_by(self._against(name, others))
                yield name, Weighed(confirmed, f"{why}, so its ratio to these must confirm")

    def _own(self, name: str) -> Evidence:
        base, head = (turns[name].dropna().groupby("round").median().to_numpy(dtype=float) for turns in self.sides)
        return unpaired(base, head, self.margin)

    def _ratio(self, name: str) -> Evidence:
        base, head = (log_ratios(turns, name, self.reference) for turns in self.sides)
        return unpaired(base, head, self.margin)

    def _against(self, name: str, others: Sequence[str]) -> Evidence:
        """Weigh ``name`` by its ratio to ``others``: in each round the median of the ratios, each from its middle."""
        base, head = (
            turns[[*others]].rsub(turns[name], axis="index").groupby("round").median() for turns in self.sides
        )
        middle = (base.median() + head.median()) / 2
        return unpaired(_medians(base - middle), _medians(head - middle), self.margin)


def _medians(rounds: pd.DataFrame) -> Floats:
    return np.asarray(rounds.median(axis="columns").dropna(), dtype=np.float64)


def _moved(evidence: Evidence) -> bool:
    """Tell whether a change beyond the margin is likely: without an interval, whether it seems so."""
    change = evidence.change
    holds_zero = change.low is not None and change.high is not None and change.low <= 0 <= change.high
    return abs(change.estimate) > evidence.margin and not holds_zero
