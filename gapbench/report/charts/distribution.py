"""Can I trust this case's number? Its samples in time order, their ECDF, each round's median, and the machine's state.

Rounds are fresh processes: medians that differ by round, spells in which everything slows, and clocks or stolen time
that move with them, are what an interval is made of.
"""

import html
from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report.charts import style, timeline

MOST_LINES = 6
"""Implementations drawn: those with the least median time."""

_MOST_SAMPLES, _STEPS = 900, 60
_TALL, _LOW, _GAP = 220, 100, 48  # pixels


def figure(samples: pd.DataFrame) -> go.Figure:
    """Draw the samples of one case by one clock."""
    ordered = timeline.ordered(samples)
    if ordered.empty:
        return style.nothing()
    names = timeline.names(ordered)[:MOST_LINES]
    drawn = ordered[ordered["implementation"].isin(names)]
    marks = style.marks(names)
    panels = [
        "Samples in time order, a line at each round",
        "Median of each round",
        "ECDF: share that takes at most so long",
        *timeline.state(drawn),
    ]
    heights = [_TALL] * 3 + [_LOW] * (len(panels) - 3)
    full = sum(heights) + _GAP * (len(heights) - 1)
    figure = go.Figure(
        layout=style.LAYOUT
        | {
            "height": full + 22 * len(marks) + 90,
            "margin": {"l": 8, "r": 16, "t": 40, "b": 44},
            "showlegend": True,
            "legend": style.LEGEND | {"y": 1 + 26 / full},
        }
    )
    low, high = style.bounds(drawn["seconds_per_call"])
    ends = [-0.5, float(drawn["time"].max()) + 0.5]
    starts = drawn.groupby("round_place")["time"].min().sort_index()
    seconds = style.seconds_axis(low, high) | {"automargin": True}
    time = style.AXIS | {"range": ends, "showgrid": False, "tickvals": []}
    for place, (panel, domain) in enumerate(zip(panels, style.stack(heights, _GAP), strict=True)):
        x, y = style.axes(place)
        figure.add_annotation(style.title(timeline.STATE.get(panel, panel), y))
        up, across = seconds, time
        match place:
            case 0:
                traces = list(_in_time(drawn, marks))
            case 1:
                traces = list(_by_round(drawn, marks))
                up = style.seconds_axis(*style.bounds([y for trace in traces for y in trace.y], 0.1)) | {
                    "automargin": True
                }
            case 2:
                traces, across, up = list(_ecdf(drawn, marks)), seconds | {"automargin": False}, _shares()
            case _:
                traces, up = list(_of_state(drawn, panel)), style.AXIS | {"automargin": True, "nticks": 4}
                up |= {"rangemode": "tozero"} if panel in ("steal", "power_w") else {}
        for trace in traces:
            figure.add_trace(trace.update(xaxis=x, yaxis=y, showlegend=place == 1, hoverinfo="text"))
        if across is time:
            figure.layout.shapes += tuple(
                go.layout.Shape(
                    type="line", xref=x, yref=f"{y} domain", x0=at - 0.5, x1=at - 0.5, y0=0, y1=1, layer="below",
                    line={"color": style.GRID, "width": 1},
                )
                for at in starts.iloc[1:200]
            )  # fmt: skip
        figure.layout[style.layout_key(x)] = across | {"anchor": y}
        figure.layout[style.layout_key(y)] = up | {"anchor": x, "domain": domain}
    return figure


def summary(samples: pd.DataFrame) -> str:
    """Say how many samples there are, how much their rounds differ, and what is known of the machine."""
    ordered = timeline.ordered(samples)
    if ordered.empty:
        return "There are no samples of this case: nothing was timed."
    names = timeline.names(ordered)
    medians = ordered.groupby(["implementation", "round_place"])["seconds_per_call"].median()
    rounds = ordered["round_place"].nunique()
    contenders = "1 implementation" if len(names) == 1 else f"{len(names)} implementations"
    sentence = f"{fmt.count(len(ordered))} samples of {contenders}"
    sentence += (
        f" in {rounds} {'round' if rounds == 1 else 'rounds'}; {names[0]} is fastest by the median of all samples, "
    )
    sentence += f"{fmt.seconds(ordered.loc[ordered['implementation'] == names[0], 'seconds_per_call'].median())}."
    if rounds > 1:
        ranges = medians.groupby("implementation").max() / medians.groupby("implementation").min()
        sentence += f" The medians of rounds differ by up to {fmt.ratio(ranges.max())} ({ranges.idxmax()})."
    lacking = [label.partition(",")[0] for name, label in timeline.STATE.items() if name not in timeline.state(ordered)]
    known = [label.partition(",")[0] for name, label in timeline.STATE.items() if name in timeline.state(ordered)]
    if known:
        sentence += f" Drawn beside them: {', '.join(known)}."
    if lacking:
        sentence += f" Not read on this machine: {', '.join(lacking)}."
    if throttled := timeline.throttled(ordered):
        sentence += f" {throttled} {'round was' if throttled == 1 else 'rounds were'} throttled."
    if len(names) > MOST_LINES:
        sentence += f" The {MOST_LINES} fastest are drawn."
    if len(ordered[ordered["implementation"].isin(names[:MOST_LINES])]) > _MOST_SAMPLES:
        sentence += " Of every stretch of time the least, the middle and the largest sample are drawn."
    return sentence


def table(samples: pd.DataFrame) -> pd.DataFrame:
    """Return the medians of rounds, with the machine's state in each."""
    ordered = timeline.ordered(samples)
    groups = ordered.groupby(["implementation", "round"], sort=True, dropna=False)
    found = groups.agg(
        samples=("seconds_per_call", "size"),
        low=("seconds_per_call", "min"),
        middle=("seconds_per_call", "median"),
        high=("seconds_per_call", "max"),
        **{name: (name, "median") for name in timeline.STATE},
    ).reset_index()
    names = {"low": "least (s)", "middle": "median (s)", "high": "largest (s)"}
    return found.rename(columns=names | timeline.STATE)


def _each(frame: pd.DataFrame, marks: dict[str, style.Mark]) -> Iterator[tuple[str, style.Mark, pd.DataFrame]]:
    for name, mark in marks.items():
        yield name, mark, frame[frame["implementation"] == name]


def _in_time(frame: pd.DataFrame, marks: dict[str, style.Mark]) -> Iterator[go.Scatter]:
    room = _MOST_SAMPLES // max(1, len(marks))
    for name, mark, own in _each(frame, marks):
        shown = timeline.thinned(own, room)
        yield go.Scatter(
            mode="markers", x=shown["time"], y=shown["seconds_per_call"],
            marker={"symbol": mark.symbol, "color": mark.colour, "size": 5, "opacity": 0.6},
            hovertext=[
                f"<b>{html.escape(name)}</b><br>{fmt.seconds(row.seconds_per_call)}<br>round {fmt.text(row.round)}, "
                f"turn {fmt.text(row.turn)}, place {fmt.text(row.position)}"
                for row in shown.itertuples()
            ],
        )  # fmt: skip


def _by_round(frame: pd.DataFrame, marks: dict[str, style.Mark]) -> Iterator[go.Scatter]:
    for name, mark, own in _each(frame, marks):
        groups = own.groupby("round_place")
        medians, places = groups["seconds_per_call"].median().iloc[-200:], groups["time"].mean().iloc[-200:]
        yield go.Scatter(
            name=style.short(name), mode="lines+markers", x=places, y=medians,
            line={"color": mark.colour, "width": 1.5, "dash": mark.dash},
            marker={"symbol": mark.symbol, "color": mark.colour, "size": 8},
            hovertext=[f"<b>{html.escape(name)}</b><br>median of a round {fmt.seconds(one)}" for one in medians],
        )  # fmt: skip


def _ecdf(frame: pd.DataFrame, marks: dict[str, style.Mark]) -> Iterator[go.Scatter]:
    for name, mark, own in _each(frame, marks):
        shares = np.linspace(0, 1, min(_STEPS, max(2, len(own))))
        values = np.quantile(own["seconds_per_call"], shares, method="inverted_cdf") if len(own) else np.empty(0)
        yield go.Scatter(
            mode="lines", x=values, y=shares[: len(values)],
            line={"color": mark.colour, "width": 2, "dash": mark.dash, "shape": "vh"},
            hovertext=[
                f"<b>{html.escape(name)}</b><br>{share:.0%} of samples take at most {fmt.seconds(value)}"
                for share, value in zip(shares, values, strict=False)
            ],
        )  # fmt: skip


def _shares() -> dict[str, object]:
    return style.AXIS | {"range": [-0.02, 1.02], "tickvals": [0, 0.5, 1], "ticktext": ["0 %", "50 %", "100 %"]}


def _of_state(frame: pd.DataFrame, name: str) -> Iterator[go.Scatter]:
    groups = frame.groupby("round_place")
    values = groups[name].median().iloc[-200:]
    yield go.Scatter(
        mode="lines+markers", x=groups["time"].mean().iloc[-200:], y=values,
        line={"color": style.PLAIN, "width": 1.5}, marker={"symbol": "circle", "color": style.PLAIN, "size": 6},
        cliponaxis=False,
        hovertext=[f"{timeline.STATE[name]}: {fmt.number(value)}" for value in values],
    )  # fmt: skip
