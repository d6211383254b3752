"""Draw the cost model: fixed cost and bandwidth as lines through the times, and the sizes at which lines cross.

`analysis.cost_model` fits ``seconds = fixed + bytes / bandwidth``. A panel is one operation, dtype, layout, device,
pass, threads and clock. Dotted vertical lines mark changes of the fastest line.
"""

import html
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.analysis import cost_model
from gapbench.analysis.cost_model import CONTEXT, Context, Crossover, Fit
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style
from gapbench.statistics.stats import Interval

MOST_PANELS = 6
MOST_LINES = 8
"""Implementations in a panel: first those that are fastest at some size, then the fastest at the middle size."""

POOR = 0.2  # the summary reports misfits above this
_PANEL, _GAP = 300, 84  # pixels


@dataclass(frozen=True, slots=True)
class _Model:
    """The fits of one context: all, those that are drawn, and the crossings of the fastest."""

    context: Context
    fits: list[Fit]
    drawn: list[Fit]
    crossings: list[Crossover]


def figure(results: pd.DataFrame) -> go.Figure:
    """Draw the fits of one run with the measured times."""
    models, named = _models(results), _named(results)
    if not models:
        return style.nothing()
    marks = style.marks(fit.implementation for model in models for fit in model.drawn)
    heights = [_PANEL] * len(models)
    tall = sum(heights) + _GAP * (len(heights) - 1)
    legend = {"y": 1 + 28 / tall}
    figure = style.figure(tall + 22 * min(len(marks), 9) + 90, {"r": 16, "t": 40}, legend)
    listed: set[str] = set()
    most = style.MOST // len(models) - 24 * MOST_LINES  # minus the points of the lines
    for model, panel in zip(models, style.panels(heights, _GAP), strict=True):
        timed = [(fit.implementation, *point) for fit in model.drawn for point in fit.points]
        own = pd.DataFrame(timed, columns=["implementation", "bytes_moved", "seconds"])
        own = points.cells(own, ["implementation"], "bytes_moved", "seconds", most)
        for fit in model.drawn:
            mark = marks[fit.implementation]
            name = "others" if mark is style.OTHER else style.short(fit.implementation)
            mine = own[own["implementation"] == fit.implementation]
            for trace in _fitted(fit, mine, mark, "" if name in listed else name):
                figure.add_trace(trace.update(xaxis=panel.x, yaxis=panel.y))
            listed.add(name)
        for number, crossing in enumerate(model.crossings):
            at = {"xref": panel.x, "yref": f"{panel.y} domain"}
            figure.add_shape(style.vertical(crossing.bytes, "dot", width=1.5, **at))
            figure.add_annotation(
                x=np.log10(crossing.bytes), y=0.02 + 0.07 * (number % 4), yanchor="bottom", showarrow=False,
                text=fmt.size(crossing.bytes), hovertext=html.escape(_crossed(crossing)), **at,
            )  # fmt: skip
        sizes = [size for fit in model.drawn for size in (fit.smallest, fit.largest)]
        times = [fit.seconds(size) for fit in model.drawn for size in (fit.smallest, fit.largest)]
        across = style.bytes_axis(*style.bounds(sizes))
        up = style.seconds_axis(*style.bounds([*times, *own["seconds"]])) | {"automargin": True}
        across |= {"title": {"text": "bytes that must move", "standoff": 4}}
        panel.show(figure, across, up | {"title": {"text": "time per call"}}, _name(model.context, named))
    return figure


def summary(results: pd.DataFrame) -> str:
    """Summarize the largest panel: the smallest fixed cost, the highest bandwidth, and the crossings."""
    fits, refusals = cost_model.fits(points.numeric(results))
    refused = f" {len(refusals)} without a line: {refusals[0].reason}." if refusals else ""
    if not fits:
        return f"No cost model could be fitted.{refused or ' Nothing was measured.'}"
    models = _models(results)
    first = models[0]
    cheap = min(first.fits, key=lambda fit: fit.fixed.estimate)
    wide = max(first.fits, key=lambda fit: fit.gbps.estimate)
    sentence = (
        f"{_name(first.context, _named(results))}: the smallest fixed cost is that of {cheap.implementation}, "
        f"{_fixed(cheap)}; the highest bandwidth is that of {wide.implementation}, {_gbps(wide)}. "
    )
    sentence += f"{'; '.join(map(_crossed, first.crossings)) or 'The same line is fastest at all sizes'}."
    if poor := sum(fit.misfit > POOR for fit in fits):
        sentence += (
            f" {poor} of {len(fits)} lines fit poorly (off by more than {POOR:.0%}, for example because of caches)."
        )
    sentence += refused
    if (contexts := len({fit.context for fit in fits})) > len(models):
        sentence += f" {len(models)} of {contexts} panels are drawn."
    if any(len(model.drawn) < len(model.fits) for model in models):
        sentence += f" A panel has {MOST_LINES} lines at most."
    return sentence


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return all fits with their intervals, and the refusals with their reasons."""
    fits, refusals = cost_model.fits(points.numeric(results))
    named = _named(results)
    columns = [
        "panel", "implementation", "fixed cost (µs)", "fixed low (µs)", "fixed high (µs)", "GB/s", "GB/s low",
        "GB/s high", "off the line (%)", "sizes", "why not",
    ]  # fmt: skip

    def ends(interval: Interval, scale: float = 1) -> list[float | None]:
        return [None if end is None else end * scale for end in (interval.estimate, interval.low, interval.high)]

    lines = [
        (_name(fit.context, named), fit.implementation, *ends(fit.fixed, 1e6), *ends(fit.gbps), 100 * fit.misfit,
         fit.sizes, "")
        for fit in fits
    ]  # fmt: skip
    lines += [(_name(row.context, named), row.implementation, *[None] * 8, row.reason) for row in refusals]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(columns[2:-1], "float64"))


def _models(results: pd.DataFrame) -> list[_Model]:
    fits, _ = cost_model.fits(points.numeric(results))
    by_context: dict[Context, list[Fit]] = {}
    for fit in fits:
        by_context.setdefault(fit.context, []).append(fit)
    largest = sorted(by_context.items(), key=lambda item: -sum(fit.sizes for fit in item[1]))[:MOST_PANELS]
    models = []
    for context, own in largest:
        crossings = cost_model.crossovers(own)
        leading = {name for crossing in crossings for name in (crossing.below, crossing.above)}
        middle = np.sqrt(min(fit.smallest for fit in own) * max(fit.largest for fit in own))
        ranked = sorted(own, key=lambda fit: (fit.implementation not in leading, fit.seconds(middle)))
        models.append(_Model(context, own, ranked[:MOST_LINES], crossings))
    return models


def _named(results: pd.DataFrame) -> set[str]:
    """Return the columns in a panel's name: dtype, layout, and the other columns that vary within the results."""
    return {"dtype", "layout", *rows.varying(results, CONTEXT)}


def _name(context: Context, named: set[str]) -> str:
    pairs = zip(CONTEXT, context, strict=True)
    return ", ".join(rows.fact(name, value) for name, value in pairs if name in named)


def _fitted(fit: Fit, own: pd.DataFrame, mark: style.Mark, name: str) -> tuple[go.Scatter, go.Scatter]:
    """Create the line and the measured times; the legend lists the times under ``name`` unless it is empty."""
    sizes = np.geomspace(fit.smallest, fit.largest, 24)
    label = f"{style.short(fit.implementation)}: {_fixed(fit)} + {_gbps(fit)}"
    seconds = [fit.seconds(size) for size in sizes]
    line = style.line(None, sizes, seconds, label, (mark.colour, mark.dash), showlegend=False)
    x, y = own["bytes_moved"], own["seconds"]
    hover = [f"{label}<br>{fmt.seconds(time)} at {fmt.size(size)}" for size, time in zip(x, y, strict=True)]
    return line, style.dots(name, x, y, hover, (mark.symbol, mark.colour), showlegend=bool(name))


def _fixed(fit: Fit) -> str:
    return _with_interval(fit.fixed, 1e6, "µs")


def _gbps(fit: Fit) -> str:
    return _with_interval(fit.gbps, 1, "GB/s")


def _with_interval(value: Interval, scale: float, unit: str) -> str:
    low, high = (fmt.MISSING if end is None else fmt.number(end * scale) for end in (value.low, value.high))
    return f"{fmt.number(value.estimate * scale)} {unit} [{low}, {high}]"


def _crossed(crossing: Crossover) -> str:
    return f"{crossing.below} is fastest below {fmt.size(crossing.bytes)}, {crossing.above} above"
