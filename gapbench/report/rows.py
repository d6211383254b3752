"""Describe results: frames in, rows and sentences out, not yet escaped."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gapbench.report import format as fmt
from gapbench.statistics.stats import FEWEST_ROUNDS
from gapbench.store.records import KEPT_TUNABLES, RESULTS, THIS, plain_rows, with_memory
from gapbench.store.run import Run

Row = dict[str, Any]
records = plain_rows

CONTEXT = ("suite", "operation", "device", "pass", "threads", "clock", "memory")
"""Columns that distinguish rows besides the case's shape, dtype and layout."""

CASE = ("case", "clock", "memory")  # columns that identify what has a winner
_SEVERITY = ("wrong", "failed", "timeout", "oom", "unsupported")  # most urgent first
NAMED = 5  # cases that a sentence names; the rest are counted


@dataclass(frozen=True, slots=True)
class CaseRows:
    """One case by one clock and memory: its name, its rows and its samples."""

    number: int
    name: str
    rows: pd.DataFrame
    samples: pd.DataFrame


def cases(results: pd.DataFrame, samples: pd.DataFrame) -> Iterator[CaseRows]:
    """Split a run's frames by `CASE`, in the order of the results."""
    indices = with_memory(samples).groupby([*CASE]).indices
    facts = ["shape", "dtype", "layout", *varying(results, CONTEXT[1:])]
    groups = with_memory(results).groupby([*CASE], sort=False, dropna=False)
    for number, (_, rows) in enumerate(groups):
        first = records(rows.head(1))[0]
        title = [] if fmt.missing(first["label"]) or not first["label"] else [str(first["label"])]
        name = ", ".join([*title, *(fact(column, first[column]) for column in facts)])
        yield CaseRows(number, name, rows, samples.iloc[indices.get(key(first), [])])


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return a row's values of `CASE`, "" for unknown memory."""
    return tuple("" if name == "memory" and fmt.missing(row[name]) else row[name] for name in CASE)


def headline(results: pd.DataFrame, winners: pd.DataFrame) -> str:
    """Return the answer as a sentence: which implementations are fastest, and in how many cases."""
    contested = results[results["ranked"].astype(bool)]
    if len(results) and contested.empty:
        return "No winner: these contenders compute different things; the cost of each is below."
    wins = Counter(map(fmt.text, winners.get("implementation", ())))
    if not wins:
        return "No case has a winner: nothing was measured successfully."
    if len(wins) == sum(wins.values()) > 1:
        return f"No single winner: {len(wins)} implementations are fastest in one case each."
    total = len(contested.drop_duplicates([*CASE]))
    (first, count), *others = wins.most_common(4)
    sentence = f"{first} is fastest in {fmt.count(count)} of {fmt.counted(total, 'case')}"
    sentence += "".join(f", {name} in {fmt.count(wins)}" for name, wins in others[:2])
    rest = sum(wins.values()) - count - sum(wins for _, wins in others[:2])
    return f"{sentence}, others in {fmt.count(rest)}." if rest else f"{sentence}."


def certainty(winner: Mapping[str, Any], run: Run | None = None) -> str:
    """Describe how certain a row of `summary.winners` is: its ties and how long to decide, or the next's distance."""
    ties, seconds = names(winner["ties"]), winner["undecided_seconds"]
    if not ties:
        return f"next is {winner['next']}, {slower(winner, 'next_ratio')}" if not fmt.missing(winner["next"]) else ""
    if seconds == 0:
        return f"ties with {', '.join(ties)}"
    sentence = f"or {ties[0]}" if len(ties) == 1 else f"or one of {len(ties)} others"
    if not fmt.missing(winner["within"]):
        sentence += f" ({'each ' if len(ties) > 1 else ''}within {math.ceil(100 * (winner['within'] - 1))} %)"
    elif fmt.missing(seconds):
        sentence += " (not timed in the same rounds)"
    else:
        sentence += f" (no interval: they shared fewer than {FEWEST_ROUNDS} rounds)"
    wall, timed = (run.wall_seconds, run.timed_seconds) if run else (None, None)
    if fmt.missing(seconds) or not wall or not timed:
        return sentence
    return f"{sentence}; about {fmt.duration(float(f'{max(1.0, seconds * wall / timed):.2g}'))} more would decide"


def slower(row: Mapping[str, Any], name: str = "best_ratio") -> str:
    """Describe how much slower a row is, by its ratio called ``name``: ``1.03× [1.021, 1.039] slower``."""  # noqa: RUF002
    ratio, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    bound = fmt.ratio_interval(ratio, low, high) if fmt.missing(high) else ""
    return f"{bound or fmt.ratio_with_interval(ratio, low, high)} slower"


def unusual(row: Mapping[str, Any], *columns: str) -> list[str]:
    """Return the unusual properties of a case: all but contiguous, forward and one thread."""
    usual = {"layout": "contiguous", "pass": "forward", "threads": 1}
    return [fact(name, row[name]) for name in columns or usual if row[name] != usual[name]]


def brief(row: Mapping[str, Any]) -> str:
    """Return a short name of a case."""
    return ", ".join([f"{row['shape']} {row['dtype']}", *unusual(row)])


_HALVES = ("float16", "bfloat16")
_ONE_ROUNDING = 0.51  # ULP: half a unit, and the small error of float32 sums


def remarks(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return remarks on an accepted output, each as a short phrase and its meaning.

    A larger error than half a unit in the last place (ULP) of a half precision shows that something was summed or kept
    in lower precision. In wider types any order of summation is off by more.
    """
    remarks = []
    error = row["max_error_ulp"]
    if row["dtype"] in _HALVES and not fmt.missing(error) and error > _ONE_ROUNDING:
        remarks.append((f"off by {error:.2g} ULP", "rounded before the sum was complete, or twice"))
    if not fmt.missing(row["deterministic"]) and not row["deterministic"]:
        remarks.append(("not deterministic", "the same input gave other bits"))
    if not fmt.missing(row["batch_invariant"]) and not row["batch_invariant"]:
        remarks.append(("not batch invariant", "the first sample alone gave other bits"))
    return remarks


MEMORY_REMEDY = f"Set GLIBC_TUNABLES={KEPT_TUNABLES} in the service's environment, or preload jemalloc."
_FAULTY = 1.1  # smaller effects of the memory condition are not reported


def memory_effects(results: pd.DataFrame) -> list[str]:
    """Return sentences on what is slower with fresh than with kept memory, largest effect first."""
    timed = results[(results["status"] == "ok") & (results["contender"] == THIS)]
    kept, fresh = (timed[timed["memory"] == name] for name in ("kept", "fresh"))
    both = fresh.merge(kept[["case", "clock", "implementation", "seconds"]], on=["case", "clock", "implementation"])
    both["factor"] = both["seconds_x"] / both["seconds_y"]
    both = both[both["factor"] > _FAULTY].sort_values("factor", ascending=False, kind="stable")
    clocks = both["clock"].nunique() > 1
    sentences = []
    for row in records(both.head(NAMED)):
        faults = "" if fmt.missing(row["page_faults"]) else f" ({fmt.number(row['page_faults'])} page faults a call)"
        slow = f"{row['factor']:.2g}x slower with fresh memory" + (f" by {row['clock']}" if clocks else "")
        sentences.append(f"{row['implementation']} on {brief(row)}: {slow}{faults}.")
    return sentences + ([f"{len(both) - NAMED} more are slower by less."] if len(both) > NAMED else [])


def not_measured(results: pd.DataFrame) -> list[Row]:
    """Group rows that are not ``ok`` by implementation, status and reason, most urgent first."""
    bad = results[results["status"] != "ok"]
    bad = bad.assign(**{name: bad[name].map(fmt.text) for name in ("status", "implementation", "reason")})
    rank = {status: rank for rank, status in enumerate(_SEVERITY)}
    groups = [
        dict(zip(("status", "implementation", "reason"), names, strict=True))
        | {"cases": rows["case"].drop_duplicates().head(NAMED).tolist(), "count": int(rows["case"].nunique())}
        for names, rows in bad.groupby(["status", "implementation", "reason"], sort=False)
    ]
    return sorted(groups, key=lambda group: (rank.get(group["status"], len(rank)), group["implementation"]))


def numeric(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert numbers to float64, null to nan, and Arrow's texts to Python's, for operations that charts need."""
    kinds = {name: "float64" for name, kind in RESULTS.items() if kind != "string" and name in frame}
    texts = [name for name, kind in frame.dtypes.items() if name not in kinds and isinstance(kind, pd.ArrowDtype)]
    plain = {str(name): frame[name].astype(object).where(frame[name].notna(), None) for name in texts}
    return frame.astype(kinds).assign(**plain)


def varying(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Return the ``columns`` that have more than one value."""
    return [name for name in columns if name in frame and frame[name].nunique(dropna=False) > 1]


def shared(frame: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Return the facts that all rows share, of the ``columns`` with a single value."""
    alike = [name for name in columns if name in frame and frame[name].nunique(dropna=False) == 1]
    return [fact(name, frame[name].iloc[0]) for name in alike if not fmt.missing(frame[name].iloc[0])]


def fact(column: str, value: Any) -> str:
    """Return a value as a phrase, with its column's name where the value alone is unclear."""
    if fmt.missing(value):
        return f"{column} {fmt.MISSING}"
    text = fmt.text(value)  # a null in a column turns its integers into floats
    match column:
        case "threads":
            return "1 thread" if text == "1" else f"{text} threads"
        case "shape":
            return text.replace("x", "×")  # noqa: RUF001
        case "clock" | "suite" | "operation":
            return f"{column} {text}"
        case "memory":
            return f"{text} memory"
        case _:
            return text


def names(value: Any) -> list[str]:
    """Return a stored list of names as a list, empty for null."""
    if fmt.missing(value):
        return []
    return [value] if isinstance(value, str) else [str(name) for name in value]
