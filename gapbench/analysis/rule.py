"""Learn a rule that chooses an implementation by shape, dtype and layout, from the results of a run.

A decision tree is grown until no choice is worse than allowed. Regret is its time over the case's fastest, less 1.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gapbench.errors import GapbenchError, NothingMatchedError
from gapbench.statistics.stats import Floats
from gapbench.store.records import REFERENCE

CONDITION = ("operation", "device", "clock", "memory", "pass", "threads")
"""Columns that a rule does not choose by: it is for one value of each."""

NUMBERS = ("outputs", "size")  # what is split at a number: averages to compute (N x C), and elements that each averages

WORDS = ("dtype", "layout")

_DEEPEST = 8

Case = Mapping[str, Any]  # the features of a case


@dataclass(frozen=True)
class Leaf:
    """Always choose ``implementation``."""

    implementation: str


@dataclass(frozen=True)
class Split:
    """Choose by ``first`` where ``feature`` is at most ``value`` (`NUMBERS`) or equal to it, else by ``second``."""

    feature: str
    value: float | str
    first: "Leaf | Split"
    second: "Leaf | Split"

    def takes_first(self, case: Case) -> bool:
        """Tell which branch a case takes."""
        own = case[self.feature]
        return bool(own <= self.value if self.feature in NUMBERS else own == self.value)


Tree = Leaf | Split
Region = dict[tuple[str, str], tuple[tuple[int, int], tuple[int, int]]]
"""For each dtype and layout the smallest and largest number of outputs, and of elements that each averages."""


@dataclass(frozen=True)
class Rule:
    """A tree for the ``region`` that was measured; outside it the rule chooses `REFERENCE`.

    ``worst`` is the largest regret over the ``cases`` measured, of ``worst_case``; ``bound`` the largest upper end of
    the 95 % intervals of these regrets, None where a choice has none. ``held_out`` is the largest regret over the
    ``held_out_cases``, each judged by a rule that was learnt without its shape, None where there are none.
    ``single`` is the best one implementation, with its largest regret, None if none ran in all cases.
    """

    tree: Tree
    region: Region
    condition: Mapping[str, Any]
    cases: int
    worst: float
    worst_case: str
    bound: float | None
    held_out: float | None
    held_out_cases: int
    single: tuple[str, float] | None
    implementations: tuple[str, ...]

    @property
    def is_single(self) -> bool:
        """Whether it always chooses the same."""
        return isinstance(self.tree, Leaf)


def learn(results: pd.DataFrame, most: float) -> Rule:
    """Learn a rule from one run's results with regrets of at most ``most`` (0.03 for 3 %). Raises `GapbenchError`."""
    ranked = results[results["ranked"].astype(bool) & results["best"].notna()]
    if ranked.empty:
        raise NothingMatchedError("no implementation was ranked there, so there is nothing to choose; see -k")
    for name in CONDITION:
        values = ranked[name].dropna().astype(str).unique()
        if len(values) > 1:
            listed = ", ".join(sorted(values))
            raise GapbenchError(
                f"a rule is for one {name}, and there are {listed}; select with -k, as in -k {values[0]}"
            )
    table = _Table.of(ranked)
    everything = np.arange(len(table.cases))
    tree = table.grow(everything, most)
    regrets = table.chosen(tree, everything, table.regret)
    bounds = table.chosen(tree, everything, table.bound)
    held_out = list(table.held_out(most))
    worst, single = int(np.argmax(regrets)), np.max(table.regret, axis=0)
    best = int(np.argmin(single))
    return Rule(
        tree, table.region(everything), {name: ranked[name].iloc[0] for name in CONDITION}, len(everything),
        float(regrets[worst]), str(table.cases.index[worst]), _finite(float(np.max(bounds))),
        _finite(max(held_out)) if held_out else None, len(held_out),
        (table.names[best], float(single[best])) if math.isfinite(single[best]) else None,
        tuple(sorted(_implementations(tree))),
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _implementations(tree: Tree) -> set[str]:
    if isinstance(tree, Leaf):
        return {tree.implementation}
    return _implementations(tree.first) | _implementations(tree.second)


@dataclass(frozen=True)
class _Table:
    """Cases (rows of features) and the regret of each implementation on each, infinite where it is not known."""

    cases: pd.DataFrame
    names: list[str]
    regret: Floats
    bound: Floats

    @classmethod
    def of(cls, ranked: pd.DataFrame) -> "_Table":
        ok = ranked[ranked["status"] == "ok"]
        cases = ranked.groupby("case", sort=False)[["shape", "dtype", "layout", "n", "c", "elements"]].first()
        cases["outputs"] = (cases["n"] * cases["c"]).astype(int)
        cases["size"] = (cases["elements"] // cases["outputs"].clip(1)).astype(int)

        def of(column: str) -> pd.DataFrame:
            values = ok.pivot_table(
                index="case", columns="implementation", values=column, aggfunc="median", dropna=False
            )
            return values.reindex(cases.index).astype(float) - 1

        regret, bound = of("best_ratio"), of("best_ratio_high")
        bound = bound.reindex_like(regret).where(bound.notna(), np.inf)
        return cls(cases, list(map(str, regret.columns)), regret.fillna(np.inf).to_numpy(), bound.to_numpy())

    def chosen(self, tree: Tree, rows: Iterable[int], values: Floats) -> Floats:
        """Return for each row the value of the implementation that the tree chooses, infinite if it has none."""
        return np.array([values[row, self.names.index(_leaf(tree, self.features(row)))] for row in rows])

    def features(self, row: int) -> Case:
        return {str(name): value for name, value in self.cases.iloc[row].items()}

    def grow(self, rows: Any, most: float, depth: int = 0) -> Tree:
        """Grow the tree for some rows: the best leaf if that is good enough, otherwise the best split."""
        worst, total, name = self._best(rows)
        if worst <= most or depth == _DEEPEST:
            return Leaf(name)
        splits = [
            (max(a[0], b[0]), a[1] + b[1], number, split)
            for number, split in enumerate(self._splits(rows))
            for a, b in [(self._best(split[2]), self._best(split[3]))]
        ]
        if not splits:
            return Leaf(name)
        *_, (feature, value, first, second) = min(splits)
        split = Split(feature, value, self.grow(first, most, depth + 1), self.grow(second, most, depth + 1))
        after = _known(self.chosen(split, rows, self.regret))
        return split if (after.max(), after.sum()) < (worst, total) else Leaf(name)

    def _best(self, rows: Any) -> tuple[float, float, str]:
        """Return the smallest worst regret of one choice for some rows, the smallest sum of regrets, and the choice."""
        regret = _known(self.regret[rows])
        worst, total = regret.max(axis=0), regret.sum(axis=0)
        best = min(range(len(self.names)), key=lambda column: (worst[column], total[column]))
        return float(worst[best]), float(total[best]), self.names[best]

    def _splits(self, rows: Any) -> Iterator[tuple[str, float | str, Any, Any]]:
        some = self.cases.iloc[rows]
        for feature in (*WORDS, *NUMBERS):
            values = sorted(some[feature].unique())
            for value, following in zip(values, [*values[1:], None], strict=True):
                if feature in WORDS:
                    taken = (some[feature] == value).to_numpy()
                    limit: float | str = value
                elif following is not None:
                    taken = (some[feature] <= value).to_numpy()
                    limit = int(math.sqrt(float(value) * float(following)))  # between them, on a logarithmic scale
                else:
                    continue
                if taken.any() and not taken.all():
                    yield feature, limit, rows[taken], rows[~taken]

    def region(self, rows: Any) -> Region:
        groups = self.cases.iloc[rows].groupby([*WORDS], sort=True)
        return {
            (str(dtype), str(layout)): (
                (int(group["outputs"].min()), int(group["outputs"].max())),
                (int(group["size"].min()), int(group["size"].max())),
            )
            for (dtype, layout), group in groups
        }

    def held_out(self, most: float) -> Iterator[float]:
        """Yield regrets of each shape's cases inside the region of the other shapes, by a rule learnt from those."""
        for shape in self.cases["shape"].unique():
            inside = (self.cases["shape"] == shape).to_numpy()
            others, held = np.flatnonzero(~inside), np.flatnonzero(inside).tolist()
            if not len(others):
                return
            region = self.region(others)
            rows = [row for row in held if is_inside(region, self.features(row))]
            if rows:
                yield from self.chosen(self.grow(others, most), rows, self.regret).tolist()


def _known(regret: Floats) -> Floats:
    """Make what has no time worse than anything with one, and more of it worse still."""
    return np.where(np.isfinite(regret), regret, 1e6)


def is_inside(region: Region, case: Case) -> bool:
    """Tell whether a case of these features is within the region."""
    ranges = region.get((case["dtype"], case["layout"]))
    return ranges is not None and all(
        low <= case[name] <= high for name, (low, high) in zip(NUMBERS, ranges, strict=True)
    )


def choice(rule: Rule, case: Case) -> str:
    """Return the implementation for a case of these features: outputs, size, dtype, layout."""
    return _leaf(rule.tree, case) if is_inside(rule.region, case) else REFERENCE


def _leaf(tree: Tree, case: Case) -> str:
    while isinstance(tree, Split):
        tree = tree.first if tree.takes_first(case) else tree.second
    return tree.implementation
