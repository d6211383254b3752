"""Draw a trend: the time of one implementation on one case over runs, with its steps.

Each segment has a line at its mean, each step its ratio; a dotted line with ¦ marks a change of the environment.
"""

import html
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.analysis.history import SHORTEST, Change, Point, Trend, logs
from gapbench.report import format as fmt
from gapbench.report import plain_text
from gapbench.report.charts import style

MOST_RUNS = 500  # the newest are drawn


def figure(trend: Trend) -> go.Figure:
    """Draw the newest `MOST_RUNS` runs of a trend of `gapbench.analysis.history.trends`, oldest left."""
    first, points = _shown(trend)
    if not points:
        return style.nothing()
    drawn = table(trend)
    times = drawn["seconds"].to_numpy()
    low, high = (drawn[f"seconds {end}"].fillna(drawn["seconds"]).to_numpy() for end in ("low", "high"))
    step = max(1, -(-len(points) // 4))  # about four labels fit a narrow screen
    labelled = range(len(points) - 1, -1, -step)[::-1]
    runs_axis = {
        "range": [-0.7, len(points) - 0.3],
        "tickvals": list(labelled),
        "ticktext": [html.escape((points[index].commit or points[index].run)[:7]) for index in labelled],
        "title": {"text": "commit (or run), oldest first"},
    }
    across = style.AXIS | runs_axis | {"tickangle": 0, "showgrid": False}
    up = style.log_axis(*style.bounds([*low, *high], 0.12), "s") | {"automargin": True}
    up |= {"title": {"text": "time per call"}}
    figure = style.figure(340, {"r": 24, "t": 44, "b": 50}, xaxis=across, yaxis=up)
    changes = {change.index - first: change for change in trend.changes if change.index > first}
    for start, end in pairwise([0, *changes, len(points)]):
        mean = float(np.exp(logs(points[start:end]).mean()))
        ends, look = [start - 0.4, end - 0.6], (style.ACCENT, "solid")
        figure.add_trace(style.line("mean", ends, [mean, mean], None, look, width=3))
    bars = {"array": high - times, "arrayminus": times - low, "color": style.PLAIN, "thickness": 1.5, "width": 3}
    hover = [_hover(point) for point in points]
    x = list(range(len(points)))
    figure.add_trace(style.dots("runs", x, times, hover, ("circle", style.PLAIN), error_y=bars))
    for index, change in changes.items():
        arrow = "▲" if change.ratio > 1 else "▼"
        text = f"<b>{arrow} {fmt.ratio(change.ratio)}</b><br>{html.escape(change.cause)}"
        _mark(figure, index - 0.5, "solid", text=text, y=1)
    for index, point in enumerate(points):
        if point.environment:
            news = "; ".join(point.environment)
            side = {"xanchor": "left" if index < len(points) / 2 else "right", "hovertext": html.escape(news)}
            _mark(figure, index - 0.5, "dot", text=f"¦ {style.short(news)}", y=0, **side)
    return figure


def summary(trend: Trend) -> str:
    """Summarize a trend: its newest time, its newest step with the cause, and changes of the environment."""
    limits = {"fewest": 2 * SHORTEST, "most": MOST_RUNS}
    return plain_text.sentences("trend.txt.j2", trend=trend, name_of=_commit, **limits)


def table(trend: Trend) -> pd.DataFrame:
    """Return the runs drawn, each with the step before it, if any."""
    first, points = _shown(trend)
    steps = {change.index: change for change in trend.changes}
    columns = ["run", "commit", "seconds", "seconds low", "seconds high", "step (ratio)", "cause", "environment"]
    drawn = [
        (point.run, point.commit, point.seconds, point.seconds_low, point.seconds_high,
         *((steps[index].ratio, steps[index].cause) if index in steps else (None, "")), "; ".join(point.environment))
        for index, point in enumerate(points, start=first)
    ]  # fmt: skip
    return pd.DataFrame(drawn, columns=columns).astype(dict.fromkeys(columns[2:6], "float64"))


def _shown(trend: Trend) -> tuple[int, list[Point]]:
    first = max(0, len(trend.points) - MOST_RUNS)
    return first, trend.points[first:]


def _commit(run: Point | Change) -> str:
    return run.commit[:7] if run.commit else run.run


def _mark(figure: go.Figure, x: float, dash: str, **label: object) -> None:
    figure.add_vline(x, line={"color": style.PLAIN, "width": 1.5, "dash": dash})
    figure.add_annotation({"x": x, "yref": "paper", "yanchor": "bottom", "showarrow": False, **label})


def _hover(point: Point) -> str:
    interval = fmt.seconds_interval(point.seconds, point.seconds_low, point.seconds_high)
    return style.hover(_commit(point), point.run, f"{fmt.seconds(point.seconds)} {interval}", *point.environment)
