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

_WIDE = 120
"""Columns from which the names of ties have room; narrower, they are counted."""


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        numeric = header in ("time", "95 % interval") or header.startswith("÷")
        kept_whole = numeric or header in ("fastest", "yours")
        table.add_column(header, justify="right" if numeric else "left", no_wrap=kept_whole, overflow="fold")
    return table


def print_winners(winners: pd.DataFrame, console: Console | None = None) -> None:
    """Print who is fastest on each case, its ratio to the reference with its interval, and who ties."""
    if winners.empty:
        return
    console = console or Console()
    reference = winners["reference"].iloc[0]
    wide = console.width >= _WIDE
    several_clocks = winners["clock"].nunique() > 1
    table = _table("case", "fastest", "time", f"÷ {reference}", "95 % interval", *(["ties with"] if wide else []))
    for row in winners.to_dict("records"):
        case = Text(f"{row['shape']} {row['dtype']}")
        notes = [row["layout"], row["label"], row["pass"] if row["pass"] != "forward" else ""]
        notes += [f"{row['threads']} threads" if row["threads"] != 1 else "", row["clock"] if several_clocks else ""]
        case.append(f"\n{', '.join(filter(None, notes))}", style="dim")
        fastest = Text(row["implementation"], style="bold green")
        if row["ties"] and not wide:
            fastest.append(f"\nties with {len(row['ties'])}", style="dim")
        table.add_row(
            case,
            fastest,
            fmt.seconds(row["seconds"]),
            fmt.ratio(row["ratio"]),
            fmt.ratio_interval(row["ratio"], row["ratio_low"], row["ratio_high"]),
            *([Text(", ".join(row["ties"]))] if wide else []),
        )
    console.print(table)


def print_rows_of(names: Collection[str], results: pd.DataFrame, console: Console | None = None) -> None:
    """Print where the implementations ``names`` stand on each case, winners or not."""
    chosen = results[results["implementation"].isin(names) & (results["status"] == "ok")]
    if chosen.empty:
        return
    table = _table("yours", "case", "time", f"÷ {REFERENCE}", "95 % interval")
    for row in chosen.to_dict("records"):
        table.add_row(
            Text(row["implementation"]),
            Text(f"{row['shape']} {row['dtype']} {row['layout']}"),
            fmt.seconds(row["seconds"]),
            fmt.ratio(row["ratio"]),
            fmt.ratio_interval(row["ratio"], row["ratio_low"], row["ratio_high"]),
        )
    console = console or Console()
    console.print()
    console.print(table)


def print_clocks(clocks: Mapping[str, Mapping[str, float | None]], console: Console | None = None) -> None:
    """Print what clocks found out about themselves (event floor, smallest launch, canary), where they have such."""
    lines = [
        f"{clock}: "
        + ", ".join(f"{name.removesuffix('_seconds').replace('_', ' ')} {fmt.seconds(s)}" for name, s in known)
        for clock, found in clocks.items()
        if (known := [(name, seconds) for name, seconds in found.items() if seconds is not None])
    ]
    if lines:
        (console or Console()).print(Text("\n" + "\n".join(lines)))


def print_troubles(results: pd.DataFrame, console: Console | None = None) -> None:
    """Print what was not measured and why: each reason once, with how many cases it concerns."""
    troubles = results[results["status"] != "ok"]
    if troubles.empty:
        return
    table = _table("not ranked", "status", "cases", "reason")
    for (name, status, reason), rows in troubles.groupby(["implementation", "status", "reason"], sort=False):
        table.add_row(Text(str(name)), Text(str(status)), str(len(rows)), Text(str(reason)))
    console = console or Console()
    console.print()
    console.print(table)


def print_rows(
    rows: Sequence[dict[str, Any]],
    console: Console | None = None,
    styles: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Print a list of objects as a table, columns in the objects' order; ``styles`` by column and value."""
    if not rows:
        return
    table = _table(*rows[0])
    for row in rows:
        table.add_row(
            *(
                Text("" if value is None else str(value), style=styles.get(column, {}).get(str(value), ""))
                for column, value in row.items()
            )
        )
    (console or Console()).print(table)
