"""Print tables for the terminal."""

import re
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.analysis.history import SHORTEST, Change, Point, Trend, logs
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.store.records import REFERENCE
from gapbench.store.run import Run
from gapbench.workloads.cases import Case

_STDOUT = Console()
_WIDE = 120  # width from which ties are named; on narrower consoles they are counted
_WHOLE = 34  # width up to which names are not broken
_NARROWEST = 7  # width that folded text needs to be readable
_FACTS = 22  # width of the notes on what an implementation costs besides time
_NUMERIC = ("time", "95 % interval", "best of each", "calls", "cases", "runs", "newest")


def plain_table(*headers: str, whole: Collection[str] = ()) -> Table:
    """Create an empty table without lines; numbers are right-aligned, and neither they nor ``whole`` columns wrap."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        numeric = header in _NUMERIC or "÷" in header
        table.add_column(
            header, justify="right" if numeric else "left", no_wrap=numeric or header in whole, overflow="fold"
        )
    return table


def print_table(table: Table, console: Console) -> None:
    """Print a table; if the console is too narrow for its numbers, print each cell on a line of its own."""
    columns = [[column.header, *column.cells] for column in table.columns]
    least = [
        max(len(line) for cell in cells for line in str(cell).split("\n")) if column.no_wrap
        else column.width or _NARROWEST
        for column, cells in zip(table.columns, columns, strict=True)
    ]  # fmt: skip
    if sum(least) + 2 * (len(least) - 1) <= console.width:
        console.print(table)
        return
    headers, *rows = zip(*columns, strict=True)
    for row in rows:
        for number, (header, cell) in enumerate(zip(headers, row, strict=True)):
            if str(cell):
                console.print(Text.assemble("  " * bool(number), (f"{header} ", "dim"), cell))


def named(name: str, console: Console) -> str:
    """Shorten a name to the space that numbers leave on the console."""
    return fmt.shortened(name, max(12, console.width - 51))


def _with_note(text: str, *notes: str, style: str = "") -> Text:
    cell = Text(text, style=style)
    for note in filter(None, notes):
        cell.append(f"\n{note}", style="dim")
    return cell


def _print_below(console: Console, table: Table) -> None:
    console.print()
    print_table(table, console)


def print_winners(winners: pd.DataFrame, console: Console = _STDOUT, run: Run | None = None) -> None:
    """Print the fastest implementation of each case, its ratio to the reference with the interval, and how sure it is.

    Sentences below a narrow table describe undecided cases, and how much longer the ``run`` would have to be.
    """
    asked = {clock for case in (run.plan if run else None) or () for clock in case.clocks}  # some may have refused
    several = {"clock": asked | set(winners["clock"]), "memory": set(winners["memory"])}
    varying = [name for name, values in several.items() if len(values) > 1]
    winners = winners.assign(certainty=[rows.certainty(row, run) for row in rows.records(winners)])
    for operation, group in winners.groupby("operation", sort=False):
        if operation != winners["operation"].iloc[0]:
            console.print()
        title = "case" if operation == "gap" else str(operation)
        print_table(_winners(title, group, console, varying), console)
    undecided = winners[(winners["ties"].str.len() > 0) & (winners["undecided_seconds"] != 0)]
    if console.width < _WIDE and len(undecided):
        console.print()
        for row in rows.records(undecided.head(rows.NAMED)):
            also = "".join(f", {rows.fact(name, row[name])}" for name in varying)
            console.print(Text(f"{rows.brief(row)}{also}: {row['implementation']} {row['certainty']}"))
        if len(undecided) > rows.NAMED:
            more = fmt.counted(len(undecided) - rows.NAMED, "more case is", "more cases are")
            console.print(f"{more} undecided")


def _winners(title: str, winners: pd.DataFrame, console: Console, varying: Sequence[str]) -> Table:
    reference, wide = winners["reference"].iloc[0], console.width >= _WIDE
    table = plain_table(
        title, "fastest", "time", f"÷ {reference}", "95 % interval", *(["how sure"] if wide else []), whole=["fastest"]
    )
    for row in rows.records(winners):
        label = "" if fmt.missing(row["label"]) else fmt.shortened(row["label"], 2 * _WHOLE)
        notes = [row["layout"], label, *rows.unusual(row, "pass", "threads")]
        notes += [rows.fact(name, row[name]).removeprefix("clock ") for name in varying]
        case = _with_note(f"{row['shape']} {row['dtype']}", ", ".join(filter(None, notes)))
        notes = [*([] if wide else [_how_sure(row)]), *(short for short, _ in rows.remarks(row))]
        fastest = _with_note(named(row["implementation"], console), *notes, style="bold green")
        table.add_row(
            case, fastest, fmt.seconds(row["seconds"]), *_ratio(row, "ratio"),
            *([Text(row["certainty"])] if wide else []),
        )  # fmt: skip
    return table


def _how_sure(row: Mapping[str, Any]) -> str:
    if row["ties"]:
        return f"ties with {len(row['ties'])}" if row["undecided_seconds"] == 0 else f"or {len(row['ties'])} more"
    if fmt.missing(row["next"]):
        return ""
    return f"next {'≥ ' if fmt.missing(row['next_ratio_high']) else ''}{fmt.ratio(row['next_ratio_low'])}"


def print_contenders(results: pd.DataFrame, title: str, console: Console = _STDOUT) -> None:
    """Print the time and ratio of each implementation of ``results`` on each case, under ``title``.

    Ratios are to the fastest, or to the reference if contenders compute different things.
    """
    measured = results[(results["status"] == "ok") & results["seconds"].notna()]
    if measured.empty:
        return
    ranked = measured["best"].notna().any()
    references = measured["reference"].dropna().unique()
    against = "fastest" if ranked else references[0] if len(references) == 1 else "reference"
    table = plain_table(title, "case", "time", f"÷ {against}", "95 % interval")
    longest = measured["implementation"].map(lambda name: len(named(name, console))).max()
    table.columns[0].width = max(longest, len(title), _FACTS)
    before = None
    for row in rows.records(measured):
        case = [row["shape"], row["dtype"], row["layout"], *rows.unusual(row, "pass")]
        case += [] if fmt.missing(row["memory"]) else [rows.fact("memory", row["memory"])]
        weights, memory = fmt.count(row["parameters"]), fmt.size(row["peak_extra_bytes"])
        again = 0 if fmt.missing(row["recompilations"]) else row["recompilations"]
        costs = "" if fmt.missing(row["parameters"]) else f"{weights} weights, peak {memory}"
        compiled = f"compiled {again:.0f} more times" if again else ""
        name = _with_note(named(row["implementation"], console), costs, compiled)
        listed, ratio = rows.key(row) == before, _ratio(row, "best_ratio" if ranked else "ratio")
        table.add_row(name, Text("" if listed else " ".join(case)), fmt.seconds(row["seconds"]), *ratio)
        before = rows.key(row)
    _print_below(console, table)


def _ratio(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return a ratio and its interval; only the bound if one bound is all that is known."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    interval = fmt.ratio_interval(value, low, high)
    return "" if interval and fmt.missing(low) != fmt.missing(high) else fmt.ratio(value), interval


def print_memory(results: pd.DataFrame, console: Console = _STDOUT) -> None:
    """Print the cases that fresh memory slows down, and the setting that avoids it on one line, for copying."""
    if sentences := rows.memory_effects(results):
        console.print()
        for sentence in [*sentences, rows.MEMORY_REMEDY]:
            console.print(Text(sentence), soft_wrap=True)


def print_totals(totals: pd.DataFrame, console: Console = _STDOUT) -> None:
    """Print the total time of each suite, weighted by how often cases occur, with one choice and the best of each."""
    if totals.empty:
        return
    table = plain_table("in all", "calls", "one choice", "time", f"÷ {REFERENCE}", "best of each")
    for row in totals.to_dict("records"):
        what = Text(f"{row['suite']} {row['dtype']} {row['layout']}".strip())
        name, best = Text(named(row["implementation"], console)), fmt.seconds(row["best_of_each"])
        table.add_row(what, str(row["calls"]), name, fmt.seconds(row["seconds"]), fmt.ratio(row["ratio"]), best)
    _print_below(console, table)


def print_clocks(clocks: Mapping[str, Mapping[str, float | None]], console: Console = _STDOUT) -> None:
    """Print the overheads that clocks measured of themselves (event floor, smallest launch, canary), if any."""
    lines = [f"{clock}: {text}" for clock, costs in clocks.items() if (text := fmt.overheads(costs))]
    if lines:
        console.print(Text("\n" + "\n".join(lines)))


def print_troubles(results: pd.DataFrame, console: Console = _STDOUT) -> None:
    """Print what was not measured: each reason once, with the number of its cases."""
    troubles = results[results["status"] != "ok"]
    if troubles.empty:
        return
    table = plain_table("not ranked", "status", "cases", "reason")
    for (status, reason), group in troubles.groupby(["status", "reason"], sort=False):
        names = ", ".join(fmt.shortened(name, _WHOLE) for name in group["implementation"].unique())
        table.add_row(Text(names), Text(str(status)), str(group["case"].nunique()), Text(str(reason)))
    _print_below(console, table)


def print_rows(
    rows: Sequence[dict[str, Any]],
    console: Console = _STDOUT,
    styles: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> None:
    """Print a list of objects as a table, columns in the order of the keys; ``styles`` by column and value."""
    if not rows:
        return
    cells = [{name: "" if value is None else _readable(str(value)) for name, value in row.items()} for row in rows]
    table, first = plain_table(*rows[0]), next(iter(rows[0]))
    table.columns[0].no_wrap = max(len(str(row[first])) for row in rows) <= _WHOLE  # names are for copying
    for column, name in zip(table.columns, rows[0], strict=True):
        if all(isinstance(row[name], (int, float, type(None))) for row in rows):
            column.no_wrap, column.justify = True, "right"
    for row in cells:
        table.add_row(*(Text(value, styles.get(name, {}).get(value, "")) for name, value in row.items()))
    print_table(table, console)


def _readable(text: str) -> str:
    return re.sub(rf"\S{{{2 * _WHOLE},}}", lambda word: fmt.shortened(word[0], _WHOLE), text)


_BRIEF = {"allocation": "alloc", "unexplained": "rest"}


def dominant(profile: Mapping[str, Any]) -> str:
    """Name the largest part of an implementation's time, and the operator that takes the most of its own."""
    part, share = max(profile["shares"].items(), key=itemgetter(1), default=("unexplained", 100.0))
    operator = f"; the most expensive operator is {profile['operators'][0]['name']}" if profile["operators"] else ""
    return f"{share:.0f} % of the time is {part}{operator}"


def print_profiles(profiles: Sequence[Mapping[str, Any]], console: Console = _STDOUT) -> None:
    """Print how the time of each implementation divides, in per cent and in sentences, or why that is unknown."""
    measured = [profile for profile in profiles if profile["status"] == "ok"]
    parts = list(dict.fromkeys(part for profile in measured for part in profile["shares"]))
    if measured:
        table = plain_table("% of the time", "time", *(_BRIEF.get(part, part) for part in parts), "memory", "GB/s")
        for column in table.columns[1:]:
            column.justify, column.no_wrap = "right", True
        for profile in measured:
            shares = profile["shares"]
            cells = (f"{shares[part]:.1f}" if part in shares else fmt.MISSING for part in parts)
            memory, rate = fmt.size(profile["peak_extra_bytes"]), fmt.number(profile["gbps"])
            name = Text(fmt.shortened(profile["implementation"], _WHOLE))
            table.add_row(name, fmt.seconds(profile["seconds"]), *cells, memory, rate)
        print_table(table, console)
        console.print()
    for profile in profiles:
        if profile["status"] != "ok":
            console.print(Text(f"{profile['implementation']} is {profile['status']}: {profile['reason']}"))
            continue
        console.print(Text(f"{fmt.shortened(profile['implementation'], _WHOLE)}: {dominant(profile)}"))
        if profile["generated"]:
            console.print(Text(f"  {profile['generated']['sentence']}"))
        for note in profile["notes"]:
            console.print(Text(f"  {note}", style="dim"))


_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 24  # the number of newest runs that a trend shows
_LISTED = 40  # the number of newest runs of a trend that are listed, in addition to all with a step
_FLAT = 0.02  # the smallest range of log times that fills the height of a trend
_NEW = "¦"
_NAMES = ("implementation", "run")


def sparkline(points: Sequence[Point]) -> str:
    """Draw the newest points as bars, slower is higher, with a mark at each change of the environment."""
    points = points[-_SHOWN:]
    heights = logs(points)
    span = max(float(np.ptp(heights)), _FLAT)
    bars = ((heights - heights.min()) / span * (len(_BARS) - 1)).round().astype(int)
    return "".join((_NEW if p.environment else "") + _BARS[bar] for p, bar in zip(points, bars, strict=True))


def print_trends(trends: Sequence[Trend], console: Console = _STDOUT) -> None:
    """Print each trend with its newest time and its newest step."""
    table = plain_table("case", "implementation", "trend", "newest", "÷ before", whole=_NAMES)
    table.columns[2].width = max(16, console.width // 5, *(len(sparkline(trend.points)) for trend in trends))
    for trend in trends:
        step = trend.changes[-1] if trend.changes else None
        what = "too few runs for a step" if len(trend.points) < 2 * SHORTEST else ""
        if step:
            what = f"{step.commit[:7] if step.commit else step.run}: {'; '.join([step.cause, *step.environment])}"
        name = _with_note(named(trend.implementation, console), fmt.counted(len(trend.points), "run"))
        drawn = Text.assemble(sparkline(trend.points), (f"\n{what}", "dim"))
        table.add_row(_case(trend), name, drawn, fmt.seconds(trend.points[-1].seconds), "\n".join(_step(step)))
    print_table(table, console)


def print_points(trend: Trend, console: Console = _STDOUT) -> None:
    """Print the newest runs of a trend and those with a step: times, changes of the environment, and steps."""
    title = f"{fmt.shortened(trend.implementation, _WHOLE)} on {trend.case}, {_clock(trend)}"
    console.print(Text(f"\n{title}", style="bold"))
    table = plain_table("run", "time", "95 % interval", "÷ before", "what happened", whole=_NAMES)
    steps = {change.index: change for change in trend.changes}
    older = len(trend.points) - _LISTED
    for index, point in enumerate(trend.points):
        step = steps.get(index)
        if index < older and step is None:
            continue
        happened = [f"step, {step.cause}"] if step else []
        name, what = Text(named(point.run, console)), Text("; ".join([*happened, *point.environment]))
        interval = fmt.seconds_interval(point.seconds, point.seconds_low, point.seconds_high)
        table.add_row(name, fmt.seconds(point.seconds), interval, _step(step)[0], what)
    print_table(table, console)
    if older > 0:
        shown = f"the newest {_LISTED} of {fmt.count(len(trend.points))} runs, and those with a step; --json has all"
        console.print(shown, style="dim")


def _case(measured: Trend) -> Text:
    case = Case.from_id(measured.case)
    facts = {"pass": case.pass_, "threads": case.threads}
    notes = [case.operation if case.operation != "gap" else "", case.layout, case.device]
    notes += [*rows.unusual(facts, *facts), _clock(measured)]
    return _with_note(f"{'x'.join(map(str, case.shape))} {case.dtype}", ", ".join(filter(None, notes)))


def _clock(measured: Trend) -> str:
    return f"{measured.clock}, {measured.memory} memory" if measured.memory else measured.clock


def _step(step: Change | None) -> tuple[str, str]:
    if step is None:
        return "", ""
    return fmt.ratio(step.ratio), fmt.ratio_interval(step.ratio, step.ratio_low, step.ratio_high)
