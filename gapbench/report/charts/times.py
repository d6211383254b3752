"""Time by implementation: a dot with its interval each, fastest on top, on a log axis.

Colours are mid-tones that hold 3:1 against white and against near-black, because a figure cannot know its
background; they repeat what symbol and text already say. Names are escaped: plotly reads labels as HTML.
"""

import html
import math
from itertools import chain
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt

ACCENT, PLAIN, LINE = "#0f9488", "#7b8794", "rgba(128, 138, 150, 0.28)"

MARKERS: dict[str, tuple[str, str, int]] = {
    "fastest": ("star", ACCENT, 14),
    "tie": ("diamond", ACCENT, 10),
    "reference": ("square-open", PLAIN, 10),
    "": ("circle", PLAIN, 8),
}
"""Symbol, colour and size by an implementation's first mark."""

_ROW = 26  # pixels
_LABEL = 26  # characters of a name on the axis; hovering shows all of it


def figure(case: pd.DataFrame) -> go.Figure:
    """Draw the measured implementations of one case; the page says what became of the others."""
    rows = _measured(case)
    labels = _labels(rows)
    figure = go.Figure(layout=_layout(rows, labels))
    for mark, (symbol, colour, size) in MARKERS.items():
        some = [(y, row) for y, row in enumerate(rows) if row["marks"].split(", ")[0] == mark]
        if some:
            figure.add_scatter(
                name=mark or "other",
                mode="markers",
                x=[row["seconds"] for _, row in some],
                y=[y for y, _ in some],
                error_x=_interval([row for _, row in some], colour),
                marker={
                    "symbol": symbol,
                    "color": colour,
                    "size": size,
                    "line": {"width": 2, "color": colour},
                },
                hovertext=[_hover(row, labels[y]) for y, row in some],
                hoverinfo="text",
            )
    figure.add_scatter(  # values stand right of the interval, so that neither hides the other
        name="values",
        mode="text",
        x=[_end(row) for row in rows],
        y=list(range(len(rows))),
        text=[f"  {html.escape(_value(row))}" for row in rows],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
    )
    return figure


def summary(case: pd.DataFrame) -> str:
    """Say in one line what the chart shows."""
    rows = _measured(case)
    unmeasured = len(case) - len(rows)
    left_out = f" {unmeasured} of {len(case)} without a time." if unmeasured else ""
    if not rows:
        return f"No time was measured.{left_out}"
    first, last = rows[0], rows[-1]
    fastest = next((row for row in rows if "fastest" in row["marks"]), None)
    if fastest is None:
        sentence = f"{fmt.seconds(first['seconds'])} to {fmt.seconds(last['seconds'])}"
        return f"{len(rows)} implementations take {sentence}.{left_out}"
    sentence = f"{fastest['implementation']} is fastest at {fmt.seconds(fastest['seconds'])}"
    if "reference" in fastest["marks"]:
        sentence += ", and it is the reference"
    elif not fmt.missing(fastest["ratio"]):
        sentence += f", {fmt.ratio(fastest['ratio'])} the reference's time"
    ties = sum("tie" in row["marks"] for row in rows)
    if ties:
        sentence += f"; {ties} cannot be told from it"
    if last is not fastest:
        sentence += f"; slowest is {last['implementation']} at {fmt.seconds(last['seconds'])}"
    return f"{sentence}.{left_out}"


def ticks(low: float, high: float) -> list[float]:
    """Return up to about six round numbers that cover ``low`` to ``high`` on a log axis."""
    if high / low >= 4:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
            marks = [step * 10.0**decade for decade in decades for step in steps]
            marks = [mark for mark in marks if low <= mark <= high]
            if len(marks) <= 6:
                return marks
        return marks[:: math.ceil(len(marks) / 6)]
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough)
    return [count * step for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _measured(case: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the ranked rows as dicts, fastest first."""
    ranked = case[(case["status"] == "ok") & (case["seconds"] > 0)].sort_values("seconds")
    return [{str(key): value for key, value in row.items()} for row in ranked.to_dict("records")]


def _labels(rows: list[dict[str, Any]]) -> list[str]:
    """Return what to call each row: its implementation, and its contender where there are several."""
    several = len({fmt.text(row.get("contender")) for row in rows}) > 1
    return [
        f"{row['implementation']} ({fmt.text(row['contender'])})" if several else str(row["implementation"])
        for row in rows
    ]


def _end(row: dict[str, Any]) -> float:
    return float(row["seconds"] if fmt.missing(row["seconds_high"]) else row["seconds_high"])


def _start(row: dict[str, Any]) -> float:
    return float(row["seconds"] if fmt.missing(row["seconds_low"]) else row["seconds_low"])


def _value(row: dict[str, Any]) -> str:
    return "  ".join(part for part in (fmt.seconds(row["seconds"]), row["marks"]) if part)


def _hover(row: dict[str, Any], label: str) -> str:
    time = (row["seconds"], row["seconds_low"], row["seconds_high"])
    ratio = (row["ratio"], row["ratio_low"], row["ratio_high"])
    lines = [f"<b>{html.escape(label)}</b>", f"{fmt.seconds(time[0])} {fmt.seconds_interval(*time)}"]
    if not fmt.missing(ratio[0]):
        lines.append(f"{fmt.ratio(ratio[0])} {fmt.ratio_interval(*ratio)} the reference's time")
    if not fmt.missing(row["gbps"]):
        lines.append(f"{fmt.number(row['gbps'])} GB/s")
    lines.append(f"{fmt.text(row['rounds'])} rounds, {fmt.text(row['samples'])} samples")
    return "<br>".join(lines)


def _interval(rows: list[dict[str, Any]], colour: str) -> dict[str, Any]:
    return {
        "array": [_end(row) - row["seconds"] for row in rows],
        "arrayminus": [row["seconds"] - _start(row) for row in rows],
        "color": colour,
        "thickness": 2,
        "width": 4,
    }


def _tick_label(seconds: float) -> str:
    value, unit = fmt.seconds(seconds).split(" ")
    return f"{float(value.replace(',', '')):g} {unit}"


def _layout(rows: list[dict[str, Any]], labels: list[str]) -> dict[str, Any]:
    """Return the axes: seconds on a log axis, one numbered line per row, room for the texts on the right."""
    low, high = (min(map(_start, rows)) / 1.06, max(map(_end, rows)) * 1.06) if rows else (1e-6, 1e-3)
    span = math.log(high / low)
    # A text needs 7 pixels a character; what does not fit between its dot and the axis' end needs margin.
    room = [7 * (len(_value(row)) + 2) - 120 * math.log(high / _end(row)) / span for row in rows]
    marks = ticks(low, high)
    short = [label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…" for label in labels]
    bold = [
        f"<b>{html.escape(text)}</b>" if row["marks"].startswith("fastest") else html.escape(text)
        for row, text in zip(rows, short, strict=True)
    ]
    lines = chain.from_iterable([_reference_line(row["seconds"])] for row in rows if "reference" in row["marks"])
    return {
        "template": None,
        "height": _ROW * len(rows) + 46,
        "margin": {"l": 8, "r": int(max([16, *room])), "t": 4, "b": 36},
        "paper_bgcolor": "rgba(0, 0, 0, 0)",
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "font": {
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
            "size": 12,
            "color": PLAIN,
        },
        "hoverlabel": {
            "bgcolor": "#1f2730",
            "bordercolor": "#1f2730",
            "font": {"color": "#f2f4f6"},
            "align": "left",
        },
        "showlegend": False,
        "dragmode": False,  # a swipe on a phone scrolls the page
        "shapes": list(lines),
        "xaxis": {
            "type": "log",
            "range": [math.log10(low), math.log10(high)],
            "tickvals": marks,
            "ticktext": [_tick_label(mark) for mark in marks],
            "tickangle": 0,
            "gridcolor": LINE,
            "zeroline": False,
            "fixedrange": True,
        },
        "yaxis": {
            "range": [len(rows) - 0.5, -0.5],
            "tickvals": list(range(len(rows))),
            "ticktext": bold,
            "automargin": True,
            "ticklabelstandoff": 6,
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
    }


def _reference_line(seconds: float) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": seconds,
        "x1": seconds,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "line": {"color": PLAIN, "width": 1, "dash": "dot"},
    }
