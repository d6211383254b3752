"""Draw the memory of one call over time: a line for each profiled implementation, from the call's beginning.

The data is a frame of `gapbench.report.profiles.timelines`: seconds and allocated bytes of each implementation.
"""

import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report.charts import style

_MOST_POINTS = 1900


def figure(timelines: pd.DataFrame) -> go.Figure:
    """Draw the allocated bytes over time, as profiled, relative to those before the call."""
    drawn = _drawn(timelines)
    if drawn.empty:
        return style.nothing()
    marks = style.marks(drawn["implementation"])
    figure = style.figure(
        320 + 22 * min(len(marks), 9),
        legend={},
        xaxis=style.AXIS | {"title": {"text": "ms since the call began, profiled", "standoff": 6}},
        yaxis=style.AXIS | {"title": {"text": "MB"}, "automargin": True, "rangemode": "tozero"},
    )
    for name, own in drawn.groupby("implementation", sort=False):
        mark = marks[str(name)]
        hover = [style.hover(name, fmt.size(value)) for value in own["bytes"]]
        look, stepped = (mark.colour, mark.dash), {"shape": "hv"}
        figure.add_trace(style.line(style.short(name), own["at"] * 1e3, own["bytes"] / 1e6, hover, look, line=stepped))
    return figure


def summary(timelines: pd.DataFrame) -> str:
    """Summarize which call needs the most memory and which the least."""
    if timelines.empty:
        return "No allocation was recorded."
    peaks = timelines.groupby("implementation", sort=False)["bytes"].max().sort_values()
    most = f"{peaks.index[-1]} needs the most memory beyond its input, {fmt.size(peaks.iloc[-1])}"
    least = f"; {peaks.index[0]} the least, {fmt.size(peaks.iloc[0])}" if len(peaks) > 1 else ""
    return f"{most}{least}."


def table(timelines: pd.DataFrame) -> pd.DataFrame:
    """Return the points drawn."""
    return style.table(_drawn(timelines), "implementation at bytes", at="seconds", bytes="allocated bytes")


def _drawn(timelines: pd.DataFrame) -> pd.DataFrame:
    count = max(1, timelines["implementation"].nunique())
    return timelines.groupby("implementation", sort=False).head(_MOST_POINTS // count)
