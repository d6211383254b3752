"""Time by implementation: a dot with its interval each, fastest on top, on a log axis.

Symbol and text say who won, who ties and what the reference is; colour only repeats it. Names are escaped:
plotly reads labels as HTML.
"""

import html
import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report.charts import style

MARKERS: dict[str, tuple[str, str, int]] = {
    "fastest": ("star", style.ACCENT, 14),
    "tie": ("diamond", style.ACCENT, 10),
    "reference": ("square-open", style.PLAIN, 10),
    "": ("circle", style.PLAIN, 8),
}
"""Symbol, colour and size by an implementation's first mark."""

_ROW = 26  # pixels


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
                cliponaxis=False,
                hovertext=[_hover(row, labels[y]) for y, row in some],
                hoverinfo="text",
            )
    figure.add_scatter(  # values stand right of the interval, so that neither hides the other
        name="values",
        mode="text",
        x=[_end(row) for row in rows],
        y=list(range(len(rows))),
        text=["\u00a0" * 3 + html.escape(_value(row)) for row in rows],
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
    fastest, last = rows[0], rows[-1]
    if "fastest" not in fastest["marks"]:
        sentence = f"{fmt.seconds(fastest['seconds'])} to {fmt.seconds(last['seconds'])}"
        return f"{len(rows)} measured, {sentence}.{left_out}"
    sentence = f"{fastest['implementation']} is fastest at {fmt.seconds(fastest['seconds'])}"
    if "reference" in fastest["marks"]:
        sentence += ", and it is the reference"
    elif not fmt.missing(fastest["ratio"]):
        sentence += f", {fmt.ratio(fastest['ratio'])} the reference's time"
    ties = sum("tie" in row["marks"] for row in rows)
    if ties:
        sentence += f"; {ties} {'ties' if ties == 1 else 'tie'} with it"
    if last is not fastest:
        sentence += f"; slowest is {last['implementation']} at {fmt.seconds(last['seconds'])}"
    return f"{sentence}.{left_out}"


def _measured(case: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the ranked rows as dicts: the winner, then by time (which may rank otherwise, within the noise)."""
    ranked = case[(case["status"] == "ok") & (case["seconds"].fillna(0) > 0)]
    rows = [{str(key): value for key, value in row.items()} for row in ranked.to_dict("records")]
    return sorted(rows, key=lambda row: ("fastest" not in row["marks"], row["seconds"]))


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


def _layout(rows: list[dict[str, Any]], labels: list[str]) -> dict[str, Any]:
    """Return the axes: seconds on a log axis, one numbered line per row, room for the texts on the right."""
    low, high = (min(map(_start, rows)), max(map(_end, rows))) if rows else (1e-6, 1e-3)
    edge = max(high / low, 1.2) ** 0.04  # dots at the ends stay whole
    low, high = low / edge, high * edge
    # A text needs 7 pixels a character; what does not fit between its dot and the axis' end needs margin.
    inside = [120 * math.log(high / _end(row)) / math.log(high / low) for row in rows]
    room = [7 * (len(_value(row)) + 3) - pixels for row, pixels in zip(rows, inside, strict=True)]
    return style.LAYOUT | {
        "height": _ROW * len(rows) + 30,
        "margin": {"l": 8, "r": int(max([16, *room])), "t": 4, "b": 26},
        "shapes": [_reference_line(row["seconds"]) for row in rows if "reference" in row["marks"]],
        "xaxis": style.seconds_axis(low, high),
        "yaxis": {
            "range": [len(rows) - 0.5, -0.5],
            "tickvals": list(range(len(rows))),
            "ticktext": [_tick(row, label) for row, label in zip(rows, labels, strict=True)],
            "automargin": True,
            "ticklabelstandoff": 6,
            "gridcolor": style.GRID,
            "griddash": "dot",
            "zeroline": False,
            "fixedrange": True,
        },
    }


def _tick(row: dict[str, Any], label: str) -> str:
    short = style.short(label)
    return f"<b>{short}</b>" if "fastest" in row["marks"] else short


def _reference_line(seconds: float) -> dict[str, Any]:
    line = {"color": style.PLAIN, "width": 1, "dash": "dot"}
    ends = {"x0": seconds, "x1": seconds, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "line", "layer": "below", "line": line, **ends}
