"""What changed when? The time of one implementation on one case from run to run, with its steps.

A line at each segment's mean, its ratio where it steps; a dotted line with ¦ where the environment changed.
"""

import html
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.history import SHORTEST, Change, Point, Trend, logs
from gapbench.report import format as fmt
from gapbench.report.charts import style

Item = dict[str, object]

MOST_RUNS = 500
"""The newest are drawn."""


def figure(trend: Trend) -> go.Figure:
    """Draw the newest `MOST_RUNS` runs of a trend (of `gapbench.history.trends`), oldest left."""
    first, points = _shown(trend)
    if not points:
        return style.nothing()
    ends = [bound for point in points for bound in (_low(point), _high(point))]
    marks = [*_steps(trend), *_environments(points)]
    layout = style.LAYOUT | {
        "height": 340,
        "margin": {"l": 8, "r": 24, "t": 44, "b": 50},
        "xaxis": _runs_axis(points),
        "yaxis": style.seconds_axis(*style.bounds(ends, 0.12))
        | {"automargin": True, "title": {"text": "time per call"}},
        "shapes": [line for line, _ in marks],
        "annotations": [label for _, label in marks],
    }
    means = [
        go.Scatter(
            name="mean",
            mode="lines",
            x=[start - 0.4, end - 0.6],
            y=[float(np.exp(logs(points[start:end]).mean()))] * 2,
            line={"color": style.ACCENT, "width": 3},
            hoverinfo="skip",
        )
        for start, end in pairwise([0, *(change.index - first for change in _changes(trend)), len(points)])
        if points[start:end]
    ]
    runs = go.Scatter(
        name="runs",
        mode="markers",
        x=list(range(len(points))),
        y=[point.seconds for point in points],
        error_y={
            "array": [_high(point) - point.seconds for point in points],
            "arrayminus": [point.seconds - _low(point) for point in points],
            "color": style.PLAIN,
            "thickness": 1.5,
            "width": 3,
        },
        marker={"symbol": "circle", "color": style.PLAIN, "size": 8},
        hovertext=[_hover(point) for point in points],
        hoverinfo="text",
    )
    return go.Figure([*means, runs], layout)


def summary(trend: Trend) -> str:
    """Say where it stands, its newest step and that one's cause, and when the environment changed."""
    if not trend.points:
        return "No run has timed this."
    newest = trend.points[-1]
    count = len(trend.points)
    sentence = f"{trend.implementation} takes {fmt.seconds(newest.seconds)} in the newest of {count} runs"
    sentence = sentence.replace("1 runs", "1 run") if count == 1 else sentence
    if trend.changes:
        step = trend.changes[-1]
        steps = f"{len(trend.changes)} steps" if len(trend.changes) > 1 else "one step"
        interval = fmt.ratio_interval(step.ratio, step.ratio_low, step.ratio_high)
        sentence += f", after {steps}: the last at {_commit(step)}, {fmt.ratio(step.ratio)} {interval}".rstrip()
        sentence += f", cause: {step.cause}."
    elif count < 2 * SHORTEST:
        sentence += f"; a step shows with {2 * SHORTEST} runs."
    else:
        sentence += ", without a step."
    if news := sum(bool(point.environment) for point in trend.points):
        sentence += f" The environment changed {'once' if news == 1 else f'{news} times'}."
    return sentence + (f" The newest {MOST_RUNS} are drawn." if count > MOST_RUNS else "")


def table(trend: Trend) -> pd.DataFrame:
    """Return the runs drawn, each with the step before it."""
    first, points = _shown(trend)
    steps = {change.index: change for change in trend.changes}
    found = [
        {
            "run": point.run,
            "commit": point.commit,
            "seconds": point.seconds,
            "seconds low": point.seconds_low,
            "seconds high": point.seconds_high,
            "step (ratio)": steps[place].ratio if place in steps else None,
            "cause": steps[place].cause if place in steps else "",
            "environment": "; ".join(point.environment),
        }
        for place, point in enumerate(points, start=first)
    ]
    columns = ["run", "commit", "seconds", "seconds low", "seconds high", "step (ratio)", "cause", "environment"]
    numbers = [name for name in columns if name.startswith(("seconds", "step"))]
    return pd.DataFrame(found, columns=columns).astype(dict.fromkeys(numbers, "float64"))


def _shown(trend: Trend) -> tuple[int, list[Point]]:
    first = max(0, len(trend.points) - MOST_RUNS)
    return first, trend.points[first:]


def _changes(trend: Trend) -> list[Change]:
    first, _ = _shown(trend)
    return [change for change in trend.changes if change.index > first]


def _low(point: Point) -> float:
    return point.seconds if point.seconds_low is None else point.seconds_low


def _high(point: Point) -> float:
    return point.seconds if point.seconds_high is None else point.seconds_high


def _arrow(change: Change) -> str:
    return "▲" if change.ratio > 1 else "▼"


def _commit(one: Point | Change) -> str:
    return one.commit[:7] if one.commit else one.run


def _runs_axis(points: Sequence[Point]) -> dict[str, object]:
    step = max(1, -(-len(points) // 4))  # about four labels fit a narrow screen
    shown = range(len(points) - 1, -1, -step)[::-1]
    return style.AXIS | {
        "range": [-0.7, len(points) - 0.3],
        "tickvals": list(shown),
        "ticktext": [html.escape((points[place].commit or points[place].run)[:7]) for place in shown],
        "tickangle": 0,
        "showgrid": False,
        "title": {"text": "commit (or run), oldest first"},
    }


def _steps(trend: Trend) -> Iterator[tuple[Item, Item]]:
    first, _ = _shown(trend)
    for change in _changes(trend):
        text = f"<b>{_arrow(change)} {fmt.ratio(change.ratio)}</b><br>{html.escape(change.cause)}"
        yield _mark(change.index - first - 0.5, "solid", {"text": text, "y": 1, "yanchor": "bottom"})


def _environments(points: Sequence[Point]) -> Iterator[tuple[Item, Item]]:
    for place, point in enumerate(points):
        if point.environment:
            news = "; ".join(point.environment)
            side = {"xanchor": "left" if place < len(points) / 2 else "right", "hovertext": html.escape(news)}
            yield _mark(place - 0.5, "dot", {"text": f"¦ {style.short(news)}", "y": 0, "yanchor": "bottom", **side})


def _mark(x: float, dash: str, label: Item) -> tuple[Item, Item]:
    line = {"color": style.PLAIN, "width": 1.5, "dash": dash}
    across = {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}
    return across, {"x": x, "yref": "paper", "showarrow": False, **label}


def _hover(point: Point) -> str:
    lines = [f"<b>{html.escape(_commit(point))}</b>", html.escape(point.run)]
    interval = fmt.seconds_interval(point.seconds, point.seconds_low, point.seconds_high)
    lines.append(f"{fmt.seconds(point.seconds)} {interval}")
    return "<br>".join([*lines, *map(html.escape, point.environment)])
