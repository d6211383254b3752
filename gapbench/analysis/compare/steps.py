"""Compare the versions of a run of ``gapbench matrix``, each with the first one and with the one before it.

All steps are one family: `STEP_LEVEL` is divided among them (Bonferroni), and among a step's rows by Holm's method.
With 95 % probability every ratio of the table lies in its interval (Bonferroni). Both allow for each interim look.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from gapbench.analysis.compare.interleaved import array, interleaved, log_ratios
from gapbench.analysis.compare.rows import Diff, Key, Result, Row, Side, rows_of
from gapbench.statistics.stats import Interval, location
from gapbench.statistics.verdicts import STEP_LEVEL, STEP_LOOKS, Verdict


@dataclass(frozen=True, slots=True)
class Cell:
    """A row in a version: its result, its ratio to the first version, and its step from the version before, or None."""

    version: str
    result: Result
    ratio: Interval | None
    step: Row | None


@dataclass(frozen=True, slots=True)
class Matrix:
    """The steps between versions, the cells row by row, and the cells of new winners with the former one's name."""

    steps: tuple[Diff, ...]
    cells: tuple[Cell, ...]
    winners: tuple[tuple[Cell, str], ...]

    @property
    def summary(self) -> dict[Verdict, int]:
        """The number of steps by verdict, most urgent first; verdicts without steps are left out."""
        counts = sum((Counter(step.summary) for step in self.steps), Counter[Verdict]())
        return {verdict: counts[verdict] for verdict in Verdict if counts[verdict]}

    @property
    def outcomes(self) -> set[str]:
        """What ``--fail-on`` asks for, of any step."""
        return set().union(*(step.outcomes for step in self.steps))


def matrix(measured: Side) -> Matrix:
    """Compare the sides of a run of ``gapbench matrix``, by its margin. Raises as `rows_of` does."""
    names = [side.name for side in measured.run.sides]
    results = {name: rows_of(measured, name) for name in names}
    steps = [interleaved(measured, STEP_LEVEL / (len(names) - 1), *pair) for pair in pairwise(names)]
    rows = {
        ((row.case, row.implementation, row.clock, row.memory), name): row
        for name, step in zip(names[1:], steps, strict=True)
        for row in step.rows
    }
    pairs = {*pairwise(names), *((names[0], name) for name in names[1:])}
    rounds = {pair: log_ratios(measured.samples, *pair) for pair in pairs}
    confidence = 1 - 0.05 / STEP_LOOKS / max(1, sum(map(len, rounds.values())))

    def ratio(key: Key, base: str, head: str) -> Interval | None:
        values = rounds.get((base, head), {}).get(key)
        return None if values is None else location(array(values), confidence).exp()

    cells = {}
    for key in dict.fromkeys(key for key, _ in rows):
        for before, name in pairwise([names[0], *names]):
            row, change = rows.get((key, name)), ratio(key, before, name)
            if row is not None and change is not None:
                row = replace(row, ratio_low=change.low, ratio_high=change.high)
            if key in results[name]:
                cells[key, name] = Cell(name, results[name][key], ratio(key, names[0], name), row)
    return Matrix(tuple(steps), tuple(cells.values()), tuple(_winners(cells, dict(pairwise(names[::-1])))))


def _winners(cells: Mapping[tuple[Key, str], Cell], before: Mapping[str, str]) -> Iterator[tuple[Cell, str]]:
    """Yield winners that are shown to be slower than the former one in the version before, and faster in their own."""
    for (key, name), cell in cells.items():
        former = cells.get((key, before.get(name, "")))
        if former and cell.result["ranked"] and cell.result["best"] == key[1] != (best := former.result["best"]):
            beaten = cells.get(((key[0], best, *key[2:]), name))
            if beaten and min(of.result["best_ratio_low"] or 0 for of in (former, beaten)) > 1:
                yield cell, best
