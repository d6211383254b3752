"""From which size on is which implementation fastest, and why? Fixed cost and bandwidth as lines through the times.

`gapbench.cost_model` fits ``seconds = fixed + bytes / bandwidth``; a panel is one operation, dtype, layout, device,
pass, threads and clock. Dotted verticals are where the fastest line changes.
"""

import html
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench import cost_model
from gapbench.cost_model import CONTEXT, Context, Crossover, Fit
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style
from gapbench.stats import Interval

MOST_PANELS = 6
MOST_LINES = 8
"""Implementations of a panel: those that are fastest somewhere, then those with the smallest error of the line."""

POOR = 0.2
"""Where times lie further from their line than this, the sentence says so."""

_PANEL, _GAP = 300, 84  # pixels


def figure(results: pd.DataFrame) -> go.Figure:
    """Draw the fits of one run, with the measured times that they go through."""
    panels, named = _panels(results), _named(results)
    frame = points.measured(results[[*CONTEXT, "implementation", "status", "bytes_moved", "seconds"]])
    frame = frame[frame["bytes_moved"].gt(0)]
    marks = style.marks(fit.implementation for fits, _, _ in panels.values() for fit in fits)
    if not panels:
        return style.nothing()
    heights = [_PANEL] * len(panels)
    tall = sum(heights) + _GAP * (len(heights) - 1)
    layout: dict[str, Any] = style.LAYOUT | {
        "height": tall + 22 * min(len(marks), 9) + 90,
        "margin": {"l": 8, "r": 16, "t": 40, "b": 44},
        "showlegend": True,
        "legend": style.LEGEND | {"y": 1 + 28 / tall},
    }
    traces, shapes, annotations = [], [], []
    seen: set[str] = set()
    most = style.MOST // max(1, len(panels)) - 24 * MOST_LINES  # what the lines themselves leave
    for place, ((context, (fits, crossings, _)), domain) in enumerate(
        zip(panels.items(), style.stack(heights, _GAP), strict=True)
    ):
        x, y = style.axes(place)
        names = [fit.implementation for fit in fits]
        own = _of(frame, context)
        own = points.cells(own[own["implementation"].isin(names)], ["implementation"], "bytes_moved", "seconds", most)
        for fit in fits:
            some, mark = own[own["implementation"] == fit.implementation], marks[fit.implementation]
            name = "others" if mark is style.OTHER else style.short(fit.implementation)
            drawn = _fitted(fit, some, mark, "" if name in seen else name)
            traces += [trace.update(xaxis=x, yaxis=y) for trace in drawn]
            seen.add(name)
        for number, crossing in enumerate(crossings):
            at = {"xref": x, "yref": f"{y} domain"}
            line = {"color": style.PLAIN, "width": 1.5, "dash": "dot"}
            shapes.append(
                at | {"type": "line", "x0": crossing.bytes, "x1": crossing.bytes, "y0": 0, "y1": 1, "line": line}
            )
            label = {"text": fmt.size(crossing.bytes), "hovertext": html.escape(_crossed(crossing)), "showarrow": False}
            annotations.append(
                at | label | {"x": np.log10(crossing.bytes), "y": 0.02 + 0.07 * (number % 4), "yanchor": "bottom"}
            )
        sizes = [size for fit in fits for size in (fit.smallest, fit.largest)]
        times = [fit.seconds(size) for fit in fits for size in (fit.smallest, fit.largest)]
        across = style.bytes_axis(*style.bounds(sizes)) | {"anchor": y}
        up = style.seconds_axis(*style.bounds([*times, *own["seconds"]]))
        up |= {"anchor": x, "domain": domain, "automargin": True}
        layout[style.layout_key(x)] = across | {"title": {"text": "bytes that must move", "standoff": 4}}
        layout[style.layout_key(y)] = up | {"title": {"text": "time per call"}}
        annotations.append(style.title(html.escape(_name(context, named)), y))
    return go.Figure(traces, layout | {"shapes": shapes, "annotations": annotations})


def summary(results: pd.DataFrame) -> str:
    """Say for the largest panel who has the smallest fixed cost, who the most bandwidth, and where they cross."""
    fits, refusals = cost_model.fits(points.numeric(results))
    refused = f" {len(refusals)} without a line: {refusals[0].reason}." if refusals else ""
    if not fits:
        return f"No cost model could be fitted.{refused or ' Nothing was measured.'}"
    panels = _panels(results)
    context, (_, crossings, own) = next(iter(panels.items()))
    cheap = min(own, key=lambda fit: fit.fixed.estimate)
    wide = max(own, key=lambda fit: fit.gbps.estimate)
    sentence = (
        f"{_name(context, _named(results))}: the smallest fixed cost is that of {cheap.implementation}, "
        f"{_fixed(cheap)}; the most bandwidth has {wide.implementation}, {_gbps(wide)}."
    )
    sentence += f" {'; '.join(map(_crossed, crossings))}." if crossings else " The same line is fastest at all sizes."
    poor = sum(fit.misfit > POOR for fit in fits)
    if poor:
        sentence += f" {poor} of {len(fits)} lines fit poorly (off by more than {POOR:.0%}, as where caches end)."
    contexts = len({fit.context for fit in fits})
    drawn = f" {len(panels)} of {contexts} panels are drawn." if contexts > len(panels) else ""
    lines = sum(len(drawn) for drawn, _, _ in panels.values())
    if sum(len(own) for _, _, own in panels.values()) > lines:
        drawn += f" A panel has {MOST_LINES} lines at most."
    return sentence + refused + drawn


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return all fits with their intervals, and the refusals with their reasons."""
    fits, refusals = cost_model.fits(points.numeric(results))
    named = _named(results)
    found = [
        {
            "panel": _name(fit.context, named),
            "implementation": fit.implementation,
            "fixed cost (µs)": fit.fixed.estimate * 1e6,
            "fixed low (µs)": None if fit.fixed.low is None else fit.fixed.low * 1e6,
            "fixed high (µs)": None if fit.fixed.high is None else fit.fixed.high * 1e6,
            "GB/s": fit.gbps.estimate,
            "GB/s low": fit.gbps.low,
            "GB/s high": fit.gbps.high,
            "off the line (%)": 100 * fit.misfit,
            "sizes": fit.sizes,
            "why not": "",
        }
        for fit in fits
    ]
    found += [
        {"panel": _name(no.context, named), "implementation": no.implementation, "why not": no.reason}
        for no in refusals
    ]
    columns = [
        "panel", "implementation", "fixed cost (µs)", "fixed low (µs)", "fixed high (µs)", "GB/s", "GB/s low",
        "GB/s high", "off the line (%)", "sizes", "why not",
    ]  # fmt: skip
    return pd.DataFrame(found, columns=columns)


def _panels(results: pd.DataFrame) -> dict[Context, tuple[list[Fit], list[Crossover], list[Fit]]]:
    """Return of the contexts with the most fits and sizes: the fits drawn, the crossovers, and all fits."""
    fits, _ = cost_model.fits(points.numeric(results))
    by_context: dict[Context, list[Fit]] = {}
    for fit in fits:
        by_context.setdefault(fit.context, []).append(fit)
    largest = sorted(by_context.items(), key=lambda item: -sum(fit.sizes for fit in item[1]))[:MOST_PANELS]
    panels = {}
    for context, own in largest:
        crossings = cost_model.crossovers(own)
        leading = {name for crossing in crossings for name in (crossing.below, crossing.above)}
        middle = np.sqrt(min(fit.smallest for fit in own) * max(fit.largest for fit in own))
        ranked = sorted(own, key=lambda fit: (fit.implementation not in leading, fit.seconds(middle)))
        panels[context] = (ranked[:MOST_LINES], crossings, own)
    return panels


def _of(frame: pd.DataFrame, context: Context) -> pd.DataFrame:
    keep = pd.Series(True, index=frame.index)
    for name, value in zip(CONTEXT, context, strict=True):
        keep &= frame[name].isna() if fmt.missing(value) else frame[name] == value
    return frame[keep]


def _named(results: pd.DataFrame) -> set[str]:
    """Return the columns that a panel's name has: dtype and layout, and whatever else differs within the results."""
    return {"dtype", "layout", *rows.varying(results, CONTEXT)}


def _name(context: Context, named: set[str]) -> str:
    pairs = zip(CONTEXT, context, strict=True)
    return ", ".join(rows.fact(name, points.whole(value)) for name, value in pairs if name in named)


def _fitted(fit: Fit, own: pd.DataFrame, mark: style.Mark, name: str) -> tuple[go.Scatter, go.Scatter]:
    """Return the line and the measured times, which the legend lists under ``name`` if there is one."""
    sizes = np.geomspace(fit.smallest, fit.largest, 24)
    label = f"{style.short(fit.implementation)}: {_fixed(fit)} + {_gbps(fit)}"
    line = go.Scatter(
        showlegend=False, mode="lines", x=sizes, y=[fit.seconds(size) for size in sizes],
        line={"color": mark.colour, "width": 2, "dash": mark.dash}, hovertext=label, hoverinfo="text",
    )  # fmt: skip
    times = go.Scatter(
        name=name, showlegend=bool(name), mode="markers",
        x=own["bytes_moved"], y=own["seconds"],
        marker={"symbol": mark.symbol, "color": mark.colour, "size": 8},
        hovertext=[
            f"{label}<br>{fmt.seconds(seconds)} at {fmt.size(size)}"
            for size, seconds in zip(own["bytes_moved"], own["seconds"], strict=True)
        ],
        hoverinfo="text",
    )  # fmt: skip
    return line, times


def _fixed(fit: Fit) -> str:
    return _with_interval(fit.fixed, 1e6, "µs")


def _gbps(fit: Fit) -> str:
    return _with_interval(fit.gbps, 1, "GB/s")


def _with_interval(value: Interval, scale: float, unit: str) -> str:
    low, high = (fmt.MISSING if end is None else fmt.number(end * scale) for end in (value.low, value.high))
    return f"{fmt.number(value.estimate * scale)} {unit} [{low}, {high}]"


def _crossed(crossing: Crossover) -> str:
    return f"{crossing.below} is fastest below {fmt.size(crossing.bytes)}, {crossing.above} above"
