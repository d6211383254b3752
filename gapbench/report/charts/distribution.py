"""Draw the samples of a case in time order, as medians of rounds, and beside the machine's state.

Rounds are fresh processes. Medians that differ by round, slow periods, and clocks or stolen time that change with them
explain the width of an interval.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gapbench.report import format as fmt
from gapbench.report import plain_text
from gapbench.report.charts import style
from gapbench.store.records import SAMPLES

MOST_LINES = 6  # implementations drawn: those with the smallest median time
_MOST_SAMPLES, _MOST_ROUNDS = 900, 200
_TALL, _LOW, _GAP = 220, 100, 48  # pixels
_STATE = {"sm_clock_mhz": "SM clock, MHz", "temperature_c": "temperature, °C", "power_w": "power, W",
          "steal": "stolen CPU time, %"}  # fmt: skip


def figure(samples: pd.DataFrame) -> go.Figure:
    """Draw the samples of one case by one clock."""
    ordered = _ordered(samples)
    if ordered.empty:
        return style.nothing()
    names = _names(ordered)[:MOST_LINES]
    drawn = ordered[ordered["implementation"].isin(names)]
    marks, state = style.marks(names), _state(drawn)
    heights = [_TALL] * 2 + [_LOW] * len(state)
    full = sum(heights) + _GAP * (len(heights) - 1)
    titles = ["Samples in time order, a line at each round", "Median of each round", *map(_STATE.__getitem__, state)]
    plain = style.figure(full + 22 * len(marks) + 90, {"r": 16, "t": 40}, legend={"y": 1 + 26 / full})
    figure = make_subplots(
        len(heights), 1, row_heights=heights, vertical_spacing=_GAP / full, figure=plain,
        subplot_titles=[f"<b>{title}</b>" for title in titles],
    )  # fmt: skip
    figure.update_annotations(x=0, xanchor="left", font=style.LAYOUT["font"])
    rounds = drawn.groupby("round_place")["time"].min().sort_index().iloc[1:200]
    time = style.AXIS | {"range": [-0.5, float(drawn["time"].max()) + 0.5], "showgrid": False, "tickvals": []}

    def draw(row: int, traces: Iterable[go.Scatter], up: dict[str, Any]) -> None:
        for trace in traces:
            figure.add_trace(trace.update(showlegend=row == 2), row, 1)
        for start in rounds:
            figure.add_vline(start - 0.5, row=row, col=1, layer="below", line={"color": style.GRID, "width": 1})
        figure.update_xaxes(time, row=row).update_yaxes(up | {"automargin": True}, row=row)

    room = _MOST_SAMPLES // len(marks)
    each = [(name, mark, drawn[drawn["implementation"] == name]) for name, mark in marks.items()]
    in_time = [_in_time(*own, room) for own in each]
    draw(1, in_time, style.log_axis(*style.bounds(drawn["seconds_per_call"]), "s"))
    medians = [_by_round(*own) for own in each]
    ends = style.bounds([median for trace in medians for median in trace.y], 0.1)
    draw(2, medians, style.log_axis(*ends, "s"))
    for row, name in enumerate(state, start=3):
        up = style.AXIS | {"nticks": 4} | ({"rangemode": "tozero"} if name in ("steal", "power_w") else {})
        draw(row, [_of_state(drawn, name)], up)
    return figure


def summary(samples: pd.DataFrame) -> str:
    """Summarize the samples: their number, the differences between rounds, and the machine's state."""
    ordered = _ordered(samples)
    if ordered.empty:
        return "There are no samples of this case: nothing was timed."
    names, times = _names(ordered), ordered.groupby("implementation")["seconds_per_call"]
    medians = ordered.groupby(["implementation", "round_place"])["seconds_per_call"].median().groupby("implementation")
    labels = {name: text.partition(",")[0] for name, text in _STATE.items()}
    read = [labels.pop(name) for name in _state(ordered)]
    throttled = ordered.loc[ordered["throttle"].notna() & (ordered["throttle"] != "none"), "round_place"].nunique()
    return plain_text.sentences(
        "distribution.txt.j2", ordered=ordered, names=names, fastest=times.median()[names[0]],
        rounds=ordered["round_place"].nunique(), ranges=medians.max() / medians.min(), read=read,
        unread=[*labels.values()], throttled=throttled, drawn=times.size()[names[:MOST_LINES]].sum(),
        most_lines=MOST_LINES, most_samples=_MOST_SAMPLES,
    )  # fmt: skip


def _ordered(samples: pd.DataFrame) -> pd.DataFrame:
    kinds = {name: "float64" for name, kind in SAMPLES.items() if kind != "string"}
    frame = samples.reindex(columns=list(SAMPLES)).astype(kinds)
    frame = frame[frame["seconds_per_call"].gt(0) & np.isfinite(frame["seconds_per_call"])]
    frame = frame.sort_values(["round", "process", "turn", "position"], kind="stable")
    frame["time"] = frame.groupby(["round", "turn"], dropna=False, sort=True).ngroup()
    frame["round_place"] = frame["round"].rank(method="dense").fillna(0)
    in_order: pd.DataFrame = frame.assign(steal=100 * frame["steal"])
    return in_order


def _names(ordered: pd.DataFrame) -> list[str]:
    return [str(name) for name in ordered.groupby("implementation")["seconds_per_call"].median().sort_values().index]


def _state(frame: pd.DataFrame) -> list[str]:
    return [name for name in _STATE if frame[name].notna().any()]


def _in_time(name: str, mark: style.Mark, own: pd.DataFrame, room: int) -> go.Scatter:
    if len(own) > room:  # the smallest, middle and largest of each of ``room`` / 3 equal stretches
        stretch = np.arange(len(own)) * (room // 3) // len(own)
        ranked = own["seconds_per_call"].groupby(stretch).rank(method="first").to_numpy()
        size = pd.Series(stretch).groupby(stretch).transform("size").to_numpy()
        own = own[(ranked == 1) | (ranked == size) | (ranked == (size + 1) // 2)]
    hover = []
    for row in own.itertuples():
        when = f"round {fmt.text(row.round)}, turn {fmt.text(row.turn)}, position {fmt.text(row.position)}"
        hover.append(style.hover(name, fmt.seconds(row.seconds_per_call), when))
    look, faint = (mark.symbol, mark.colour), {"opacity": 0.6}
    return style.dots(None, own["time"], own["seconds_per_call"], hover, look, 5, marker=faint)


def _by_round(name: str, mark: style.Mark, own: pd.DataFrame) -> go.Scatter:
    x, y = _medians(own, "seconds_per_call")
    hover = [style.hover(name, f"median of a round {fmt.seconds(median)}") for median in y]
    look, line = (mark.symbol, mark.colour), {"color": mark.colour, "width": 1.5, "dash": mark.dash}
    return style.dots(style.short(name), x, y, hover, look, mode="lines+markers", line=line)


def _medians(own: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    rounds = own.groupby("round_place")
    return rounds["time"].mean().iloc[-_MOST_ROUNDS:], rounds[column].median().iloc[-_MOST_ROUNDS:]


def _of_state(frame: pd.DataFrame, name: str) -> go.Scatter:
    x, y = _medians(frame, name)
    hover = [f"{_STATE[name]}: {fmt.number(value)}" for value in y]
    look, line = ("circle", style.PLAIN), {"color": style.PLAIN, "width": 1.5}
    return style.dots(None, x, y, hover, look, 6, mode="lines+markers", line=line, cliponaxis=False)
