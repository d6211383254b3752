"""Tables for the terminal."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.records import REFERENCE
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.run import Run

_WIDE = 120
"""Columns from which the names of ties have room; narrower, they are counted."""
_WHOLE = 34
"""Columns up to which names are not broken."""


_NUMERIC = ("time", "95 % interval", "best of each", "cases", "runs", "newest")


def plain_table(*headers: str, whole: Collection[str] = ()) -> Table:
    """Return an empty table without lines, numbers to the right; those columns and ``whole`` ones are not broken."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        numeric = header in _NUMERIC or "÷" in header
        table.add_column(
            header, justify="right" if numeric else "left", no_wrap=numeric or header in whole, overflow="fold"
        )
    return table


def _print_below(console: Console | None, table: Table) -> None:
    console = console or Console()
    console.print()
    console.print(table)


def print_winners(winners: pd.DataFrame, console: Console | None = None, run: Run | None = None) -> None:
    """Print who is fastest on each case, its ratio to the reference with its interval, and how sure that is.

    Each operation has a table of its own: its reference heads the column of ratios. Where rounds were too few to tell,
    sentences below say what is known, and how much longer the ``run`` would have had to be.
    """
    console = console or Console()
    told = [name for name in ("clock", "memory") if winners[name].nunique() > 1]
    winners = winners.assign(certainty=[rows.certainty(row, run) for row in rows.records(winners)])
    for operation, group in winners.groupby("operation", sort=False):
        if operation != winners["operation"].iloc[0]:
            console.print()
        title = "case" if operation == "gap" else str(operation)
        console.print(_winners(title, group, console.width >= _WIDE, told))
    undecided = winners[(winners["ties"].str.len() > 0) & (winners["undecided_seconds"] != 0)]
    if console.width < _WIDE and len(undecided):
        console.print()
        for row in rows.records(undecided.head(rows.NAMED)):
            also = "".join(f", {rows.fact(name, row[name])}" for name in told)
            console.print(Text(f"{rows.brief(row)}{also}: {row['implementation']} {row['certainty']}"))
        if len(undecided) > rows.NAMED:
            console.print(f"{len(undecided) - rows.NAMED} more cases are as open")


def _winners(title: str, winners: pd.DataFrame, wide: bool, told: Sequence[str]) -> Table:
    reference = winners["reference"].iloc[0]
    table = plain_table(
        title, "fastest", "time", f"÷ {reference}", "95 % interval", *(["how sure"] if wide else []), whole=["fastest"]
    )
    for row in rows.records(winners):
        case = Text(f"{row['shape']} {row['dtype']}")
        notes = [row["layout"], "" if fmt.missing(row["label"]) else row["label"]]
        notes += [row["pass"] if row["pass"] != "forward" else ""]
        notes += [f"{row['threads']} threads" if row["threads"] != 1 else ""]
        notes += [rows.fact(name, row[name]).removeprefix("clock ") for name in told]
        case.append(f"\n{', '.join(filter(None, notes))}", style="dim")
        fastest = Text(row["implementation"], style="bold green")
        if not wide and (how := _how_sure(row)):
            fastest.append(f"\n{how}", style="dim")
        table.add_row(
            case,
            fastest,
            fmt.seconds(row["seconds"]),
            *_ratio(row, "ratio"),
            *([Text(row["certainty"])] if wide else []),
        )
    return table


def _how_sure(row: Mapping[str, Any]) -> str:
    """Return `rows.certainty` in as few words as a narrow column has room for."""
    if row["ties"]:
        return f"ties with {len(row['ties'])}" if row["undecided_seconds"] == 0 else f"or {len(row['ties'])} more"
    if fmt.missing(row["next"]):
        return ""
    return f"next {'≥ ' if fmt.missing(row['next_ratio_high']) else ''}{fmt.ratio(row['next_ratio_low'])}"


def print_contenders(results: pd.DataFrame, title: str, console: Console | None = None) -> None:
    """Print where each implementation of ``results`` stands on each case; ``title`` heads the column of names.

    That is by its ratio to the fastest, to the reference where contenders compute different things.

    One with weights has their number and its peak memory below its name, compiled code how often it was compiled again.
    """
    measured = results[(results["status"] == "ok") & results["seconds"].notna()]
    if measured.empty:
        return
    ranked = measured["best"].notna().any()
    references = measured["reference"].dropna().unique()
    against = "fastest" if ranked else references[0] if len(references) == 1 else "reference"
    table = plain_table(title, "case", "time", f"÷ {against}", "95 % interval", whole=["yours"])
    table.columns[0].min_width = measured["implementation"].str.len().max()
    said = None
    for row in rows.records(measured):
        notes = [row["shape"], row["dtype"], row["layout"], row["pass"] if row["pass"] != "forward" else ""]
        notes += ["" if fmt.missing(row["memory"]) else rows.fact("memory", row["memory"])]
        name = Text(row["implementation"])
        if not fmt.missing(row["parameters"]):
            weights, memory = fmt.count(row["parameters"]), fmt.size(row["peak_extra_bytes"])
            name.append(f"\n{weights} weights, peak {memory}", style="dim")
        if not fmt.missing(again := row["recompilations"]) and again:
            name.append(f"\ncompiled {again:.0f} more times", style="dim")
        table.add_row(
            name,
            Text("" if rows.key(row) == said else " ".join(filter(None, notes))),
            fmt.seconds(row["seconds"]),
            *_ratio(row, "best_ratio" if ranked else "ratio"),
        )
        said = rows.key(row)
    _print_below(console, table)


def _ratio(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return a ratio and its interval; of one that is known by a bound alone, the bound alone."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    interval = fmt.ratio_interval(value, low, high)
    return "" if interval and fmt.missing(low) != fmt.missing(high) else fmt.ratio(value), interval


def print_memory(results: pd.DataFrame, console: Console | None = None) -> None:
    """Print where fresh memory costs time, and the setting that saves it; on one line, to be copied."""
    if sentences := rows.memory_effects(results):
        console = console or Console()
        console.print()
        for sentence in [*sentences, rows.MEMORY_REMEDY]:
            console.print(Text(sentence), soft_wrap=True)


def print_totals(totals: pd.DataFrame, console: Console | None = None) -> None:
    """Print what each suite takes as a whole, its cases as often as they occur, with one choice or the best of each."""
    if totals.empty:
        return
    table = plain_table("in all", "cases", "one choice", "time", f"÷ {REFERENCE}", "best of each")
    for row in totals.to_dict("records"):
        table.add_row(
            Text(f"{row['suite']} {row['dtype']} {row['layout']}"),
            str(row["cases"]),
            Text(row["implementation"]),
            fmt.seconds(row["seconds"]),
            fmt.ratio(row["ratio"]),
            fmt.seconds(row["best_of_each"]),
        )
    _print_below(console, table)


def print_clocks(clocks: Mapping[str, Mapping[str, float | None]], console: Console | None = None) -> None:
    """Print what clocks found out about themselves (event floor, smallest launch, canary), where they have such."""
    lines = [f"{clock}: {said}" for clock, found in clocks.items() if (said := fmt.overheads(found))]
    if lines:
        (console or Console()).print(Text("\n" + "\n".join(lines)))


def print_troubles(results: pd.DataFrame, console: Console | None = None) -> None:
    """Print what was not measured and why: each reason once, with how many cases it concerns."""
    troubles = results[results["status"] != "ok"]
    if troubles.empty:
        return
    table = plain_table("not ranked", "status", "cases", "reason")
    for (status, reason), group in troubles.groupby(["status", "reason"], sort=False):
        names = ", ".join(group["implementation"].unique())
        table.add_row(Text(names), Text(str(status)), str(group["case"].nunique()), Text(str(reason)))
    _print_below(console, table)


def print_rows(
    rows: Sequence[dict[str, Any]],
    console: Console | None = None,
    styles: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Print a list of objects as a table, columns in the objects' order; ``styles`` by column and value."""
    if not rows:
        return
    table = plain_table(*rows[0])
    first = table.columns[0]
    first.no_wrap = max(len(str(row[next(iter(row))])) for row in rows) <= _WHOLE  # names are there to be copied
    for row in rows:
        table.add_row(
            *(
                Text("" if value is None else str(value), style=styles.get(column, {}).get(str(value), ""))
                for column, value in row.items()
            )
        )
    (console or Console()).print(table)


_BRIEF = {"allocation": "alloc", "unexplained": "rest"}


def print_profiles(profiles: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Print where the time of each implementation goes, in per cent of it, and the sentences that say so.

    What could not be profiled comes last, with its reason.
    """
    console = console or Console()
    measured = [one for one in profiles if one["status"] == "ok"]
    parts = list(dict.fromkeys(part for one in measured for part in one["shares"]))
    if measured:
        table = plain_table("% of the time", "time", *(_BRIEF.get(part, part) for part in parts), "memory", "GB/s")
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", True
        for one in measured:
            shares = (f"{one['shares'][part]:.1f}" if part in one["shares"] else fmt.MISSING for part in parts)
            memory, rate = fmt.size(one["peak_extra_bytes"]), fmt.number(one["gbps"])
            table.add_row(Text(one["implementation"]), fmt.seconds(one["seconds"]), *shares, memory, rate)
        console.print(table)
        console.print()
    for one in profiles:
        if one["status"] == "ok":
            console.print(Text(one["sentence"]))
            if one["generated"]:
                console.print(Text(f"  {one['generated']['sentence']}"))
            for note in one["notes"]:
                console.print(Text(f"  {note}", style="dim"))
        else:
            console.print(Text(f"{one['implementation']} is {one['status']}: {one['reason']}"))
