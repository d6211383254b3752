"""What the run page says of the results: frames in, rows and sentences out, not yet escaped."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gapbench.records import UNRANKED
from gapbench.report import format as fmt

Row = dict[str, Any]

CONTEXT = ("suite", "operation", "device", "pass", "threads", "clock")
"""Columns that tell rows apart beside the case's shape, dtype and layout."""

_SEVERITY = ("wrong", "failed", "timeout", "oom", "unsupported")
"""What needs a person comes first."""

NAMED = 5
"""Cases that are named where something was not measured; the rest are counted, and in the table."""


@dataclass(frozen=True, slots=True)
class CaseRows:
    """One case under one clock: what to call it, its rows, fastest first, with their ``marks``, and its samples."""

    number: int
    name: str
    rows: pd.DataFrame
    samples: pd.DataFrame


def cases(results: pd.DataFrame, winners: pd.DataFrame, samples: pd.DataFrame) -> Iterator[CaseRows]:
    """Split a run's frames by case and clock, in the order of the results, and mark the rows of each."""
    places = samples.groupby(["case", "clock"]).indices
    best = {(row["case"], row["clock"]): row for row in records(winners) if not fmt.missing(row["implementation"])}
    facts = ["shape", "dtype", "layout", *varying(results, ("operation", "device", "pass", "threads", "clock"))]
    groups = results.groupby(["case", "clock"], sort=False, dropna=False)
    for number, ((case, clock), rows) in enumerate(groups):
        first = records(rows.head(1))[0]
        title = [] if fmt.missing(first["label"]) or not first["label"] else [str(first["label"])]
        name = ", ".join([*title, *(fact(column, first[column]) for column in facts)])
        own = samples.iloc[places.get((case, clock), [])]
        yield CaseRows(number, name, _ranked(mark(rows, best.get((case, clock)))), own)


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
    return marked.iloc[order.fillna(float("inf")).argsort(kind="stable")]


def headline(results: pd.DataFrame, winners: pd.DataFrame) -> str:
    """Say the answer in one sentence: who is fastest, and in how many cases."""
    contested = results[~results["operation"].isin(UNRANKED)]
    if len(results) and contested.empty:
        return "Nobody wins here: these contenders compute different things, and what each costs is below."
    wins = Counter(map(fmt.text, winners.get("implementation", ())))
    if not wins:
        return "No case has a winner: nothing was measured successfully."
    if len(wins) == sum(wins.values()) > 1:
        return f"No single winner: {len(wins)} implementations are fastest in one case each."
    total = len(contested.drop_duplicates(["case", "clock"]))
    (first, count), *others = wins.most_common(4)
    sentence = f"{first} is fastest in {fmt.count(count)} of {fmt.count(total)} {'case' if total == 1 else 'cases'}"
    sentence += "".join(f", {name} in {fmt.count(wins)}" for name, wins in others[:2])
    rest = sum(wins.values()) - count - sum(wins for _, wins in others[:2])
    return f"{sentence}, others in {fmt.count(rest)}." if rest else f"{sentence}."


def not_measured(results: pd.DataFrame) -> list[Row]:
    """Group what is not ``ok`` by implementation, status and reason; what needs a person comes first."""
    bad = results[results["status"] != "ok"]
    bad = bad.assign(**{name: bad[name].map(fmt.text) for name in ("status", "implementation", "reason")})
    rank = {status: place for place, status in enumerate(_SEVERITY)}
    found = [
        {
            "status": status,
            "implementation": name,
            "reason": reason,
            "cases": rows["case"].drop_duplicates().head(NAMED).tolist(),
            "count": int(rows["case"].nunique()),
        }
        for (status, name, reason), rows in bad.groupby(["status", "implementation", "reason"], sort=False)
    ]
    return sorted(found, key=lambda one: (rank.get(one["status"], len(rank)), one["implementation"]))


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
        case "clock" | "suite" | "operation":
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
