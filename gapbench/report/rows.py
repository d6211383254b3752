"""What the run page shows of the results: frames in, rows and sentences out, not yet escaped.

Facts that all rows share (device, pass, threads, clock, ...) are said once; a column appears as soon as its
values differ, so that rows which look alike are alike.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gapbench.records import UNRANKED
from gapbench.report import format as fmt

Row = dict[str, Any]

CONTEXT: dict[str, str] = {
    "suite": "suite",
    "operation": "operation",
    "device": "device",
    "pass": "pass",
    "threads": "threads",
    "clock": "clock",
    "contender": "contender",
}
"""Columns that tell rows apart beside the case's shape, dtype and layout."""

# What needs a person comes first.
_SEVERITY = ("wrong", "failed", "timeout", "oom", "unsupported")


@dataclass(frozen=True, slots=True)
class CaseRows:
    """One case under one clock: how to name it, and its rows fastest first with their ``marks``.

    ``contested`` says that its implementations compute the same, so that one of them can win.
    """

    anchor: str
    id: str
    title: str
    facts: str
    rows: pd.DataFrame
    winner: Row | None
    contested: bool = True

    @property
    def measured(self) -> bool:
        """Whether there is anything to draw."""
        return bool(((self.rows["status"] == "ok") & self.rows["seconds"].notna()).any())

    @property
    def won_by_reference(self) -> bool:
        """Whether nothing beat the implementation that ratios are taken against."""
        return self.winner is not None and self.winner["implementation"] == fmt.text(self.winner["reference"])

    @property
    def name(self) -> str:
        """The case in one line."""
        return f"{self.title}, {self.facts}"


def cases(results: pd.DataFrame, winners: pd.DataFrame) -> list[CaseRows]:
    """Split the results by case and clock, in the order of the results, and mark each."""
    best = {
        (row["case"], fmt.text(row["clock"])): row for row in records(winners) if not fmt.missing(row["implementation"])
    }
    facts = [
        "shape",
        "dtype",
        "layout",
        *varying(results, ("operation", "device", "pass", "threads", "clock")),
    ]
    found = []
    groups = results.groupby(["case", "clock"], sort=False, dropna=False)
    for number, ((case, clock), rows) in enumerate(groups, start=1):
        winner = best.get((case, fmt.text(clock)))
        first = records(rows)[0]
        found.append(
            CaseRows(
                anchor=f"case-{number}",
                id=fmt.text(case),
                title=fmt.text(first["shape"] if fmt.missing(first["label"]) else first["label"] or first["shape"]),
                facts=", ".join(fact(column, first[column]) for column in facts),
                rows=_ranked(mark(rows, winner)),
                winner=winner,
                contested=fmt.text(first["operation"]) not in UNRANKED,
            )
        )
    return found


def mark(rows: pd.DataFrame, winner: Mapping[str, Any] | None) -> pd.DataFrame:
    """Add the column ``marks``: ``fastest``, ``tie`` and ``reference``, joined by commas, else empty."""
    if winner is None:
        return rows.assign(marks="")
    ties = names(winner["ties"])
    best, reference = fmt.text(winner["implementation"]), fmt.text(winner["reference"])

    def marks(name: str, status: str) -> str:
        flags = {
            "fastest": name == best,
            "tie": name in ties and name != best,
            "reference": name == reference,
        }
        return ", ".join(flag for flag, holds in flags.items() if holds and status == "ok")

    pairs = zip(rows["implementation"], rows["status"], strict=True)
    return rows.assign(marks=[marks(fmt.text(name), fmt.text(status)) for name, status in pairs])


def _ranked(marked: pd.DataFrame) -> pd.DataFrame:
    """Sort the winner first, then by time; what has none comes last."""
    order = marked["seconds"].astype(float).where(~marked["marks"].str.startswith("fastest"), 0.0)
    return marked.iloc[order.fillna(math.inf).argsort(kind="stable")]


def headline(found: Iterable[CaseRows]) -> str:
    """Say the answer in one sentence: who is fastest, and in how many cases."""
    everything = list(found)
    found = [case for case in everything if case.contested]
    if everything and not found:
        return "Nobody wins here: these contenders compute different things, and what each costs is below."
    wins = Counter(fmt.text(case.winner["implementation"]) for case in found if case.winner is not None)
    if not wins:
        return "No case has a winner: nothing was measured successfully."
    if len(wins) == sum(wins.values()) > 1:
        return f"No single winner: {len(wins)} implementations are fastest in one case each."
    total = len(found)
    (first, count), *others = wins.most_common(4)
    sentence = f"{first} is fastest in {count} of {total} {'case' if total == 1 else 'cases'}"
    sentence += "".join(f", {name} in {wins}" for name, wins in others[:2])
    rest = sum(wins.values()) - count - sum(wins for _, wins in others[:2])
    return f"{sentence}, others in {rest}." if rest else f"{sentence}."


def not_measured(found: Iterable[CaseRows]) -> list[Row]:
    """Group what is not ``ok`` by implementation, status and reason; what needs a person comes first."""
    groups: dict[tuple[str, str, str], list[CaseRows]] = {}
    for case in found:
        for row in records(case.rows):
            if fmt.text(row["status"]) != "ok":
                key = (fmt.text(row["status"]), fmt.text(row["implementation"]), fmt.text(row["reason"]))
                groups.setdefault(key, []).append(case)
    rank = {status: place for place, status in enumerate(_SEVERITY)}
    keys = sorted(groups, key=lambda key: (rank.get(key[0], len(rank)), key[1]))
    return [
        {"status": status, "implementation": name, "reason": reason, "cases": groups[status, name, reason]}
        for status, name, reason in keys
    ]


def varying(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Return those of ``columns`` that hold more than one value."""
    return [name for name in columns if name in frame and frame[name].nunique(dropna=False) > 1]


def shared(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Return, as words, those of ``columns`` that hold one value throughout."""
    alike = [name for name in columns if name in frame and frame[name].nunique(dropna=False) == 1]
    return [fact(name, frame[name].iloc[0]) for name in alike if not fmt.missing(frame[name].iloc[0])]


def fact(column: str, value: Any) -> str:
    """Return a value with as much of its column's name as it needs to be understood."""
    if fmt.missing(value):
        return f"{column} {fmt.MISSING}"
    match column:
        case "threads":
            return "1 thread" if value == 1 else f"{value} threads"
        case "shape":
            return str(value).replace("x", "×")  # noqa: RUF001
        case "clock" | "suite" | "contender" | "operation":
            return f"{column} {value}"
        case _:
            return str(value)


def names(value: Any) -> list[str]:
    """Return a stored list of names as a list, empty for a null."""
    if fmt.missing(value):
        return []
    return [value] if isinstance(value, str) else [str(name) for name in value]


def records(frame: pd.DataFrame) -> list[Row]:
    """Return the rows as dicts."""
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
