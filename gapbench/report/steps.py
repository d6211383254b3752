"""Steps of whole networks, with one way to pool after another, for the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gapbench.report import format as fmt

Step = Mapping[str, Any]
"""A `gapbench.profiling.network.Steps` as plain values."""


def print_steps(summary: str, steps: Sequence[Step], console: Console | None = None) -> None:
    """Print what a network pools, and for each step what it takes with each way, the fastest first."""
    console = console or Console()
    console.print(f"{summary}: {_sites(steps[0]['sites'])}")
    for step in steps:
        console.print()
        table = Table(box=None, pad_edge=False, header_style="bold")
        numbers = ("a step", f"÷ {step['reference']}", "95 % interval", "saves", "pooling")
        table.add_column(f"{step['step']}, {step['clock']}", no_wrap=True)
        for title in numbers:
            table.add_column(title, justify="right", no_wrap=True)
        ways = [way for way in step["ways"] if way["out"] is None]
        for way in sorted(ways, key=lambda way: float(way["ratio"]["estimate"])):
            table.add_row(Text(way["name"]), *_numbers(way, way["name"] == step["reference"]))
        console.print(table)
        for way in step["ways"]:
            if way["out"] is not None:
                console.print(Text(f"{way['name']} took no part: {way['out']}", style="dim"))
        console.print(Text(said(step)))


def _numbers(way: Mapping[str, Any], is_reference: bool) -> list[str]:
    seconds, ratio = way["seconds"]["estimate"], way["ratio"]
    share = fmt.MISSING if way["pooling"] is None else f"{100 * way['pooling']:.2f} %"
    if is_reference:
        return [fmt.seconds(seconds), fmt.ratio(1.0), "", "", share]
    interval = fmt.ratio_interval(ratio["estimate"], ratio["low"], ratio["high"])
    saved = f"{100 * (1 - ratio['estimate']):+.1f} %"
    return [fmt.seconds(seconds), fmt.ratio(ratio["estimate"]), interval, saved, share]


def said(step: Step) -> str:
    """Say what switching saves end to end, if that can be told at all."""
    others = [way for way in step["ways"] if way["name"] != step["reference"] and way["out"] is None]
    own = next(way for way in step["ways"] if way["name"] == step["reference"])
    began = f"{step['step']} with {step['reference']}: "
    if own["pooling"] is not None:
        began += f"{100 * own['pooling']:.2f} % of it inside pooling forwards; "
    if not others:
        return f"{began}nothing to compare with."
    faster = [way for way in others if way["ratio"]["high"] is not None and way["ratio"]["high"] < 1]
    if not faster:
        widths = [way["ratio"]["high"] - way["ratio"]["low"] for way in others if way["ratio"]["low"] is not None]
        known = f" (intervals of up to ±{100 * max(widths) / 2:.1f} %)" if widths else ""
        return f"{began}no other way is shown to be faster{known}."
    best = min(faster, key=lambda way: float(way["ratio"]["estimate"]))
    low, high = (100 * (1 - best["ratio"][end]) for end in ("high", "low"))
    return f"{began}{best['name']} saves {low:.1f} to {high:.1f} % of the whole step."


def _sites(sites: Sequence[Sequence[int]]) -> str:
    counted = Counter("x".join(map(str, site)) for site in sites)
    return ", ".join(f"{shape}" + (f" {count} times" if count > 1 else "") for shape, count in counted.items())
