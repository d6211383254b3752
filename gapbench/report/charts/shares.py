"""Draw the parts of the time of each profiled implementation as a bar, in per cent of its measured time.

The data is a frame of `gapbench.report.profiles.shares`: a row for each implementation and part, fastest first.
"""

import html
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import style

MOST_ROWS = 40
_ROW = 46  # pixels
_LABELLED = 7.0  # per cent from which a part has room for its label

_LOOKS = {
    "python": ("#7a5fc7", ""),
    "dispatch": ("#2f6fd0", "/"),
    "allocation": ("#b3590a", "x"),
    "kernel": ("#0b7f76", ""),
    "gaps": ("#7b8794", "."),
    "unexplained": ("#b0413e", "-"),
}
"""Colour and pattern of each part; neighbours differ in both."""


def figure(shares: pd.DataFrame) -> go.Figure:
    """Draw a stacked bar for each implementation."""
    drawn = _drawn(shares)
    if drawn.empty:
        return style.nothing()
    names = list(dict.fromkeys(drawn["implementation"]))
    rows_of = {name: index for index, name in enumerate(names)}
    low = min(0.0, float(drawn[drawn["share"] < 0].groupby("implementation")["share"].sum().min() or 0.0))
    high = max(100.0, float(drawn[drawn["share"] > 0].groupby("implementation")["share"].sum().max()))
    across = style.AXIS | {"range": [low, high], "ticksuffix": " %", "title": {"text": "of its time"}}
    up = style.AXIS | {"range": [len(names) - 0.2, -0.55], "tickvals": [], "showgrid": False}
    bars: dict[str, Any] = {"legend": {"traceorder": "normal"}, "barmode": "relative", "bargap": 0}
    figure = style.figure(_ROW * len(names) + 130, {"t": 62}, xaxis=across, yaxis=up, **bars)
    inside = {"textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "hoverinfo": "text"}
    for part, own in drawn.groupby("part", sort=False):
        colour, pattern = _LOOKS.get(str(part), (style.PLAIN, ""))
        marker = {"color": colour, "pattern": {"shape": pattern, "solidity": 0.2, "fgcolor": "#ffffff"}}
        bar = {"name": html.escape(str(part)), "orientation": "h", "width": 0.5, "marker": marker, **inside}
        places = [rows_of[name] + 0.25 for name in own["implementation"]]
        labels = [f"{share:.0f}" if share >= _LABELLED else "" for share in own["share"]]
        hover = [_hover(row) for row in rows.records(own)]
        figure.add_bar(x=own["share"], y=places, text=labels, hovertext=hover, **bar)
    for name, own in drawn.groupby("implementation", sort=False):
        text = f"<b>{style.short(name)}</b> {fmt.seconds(own['seconds'].iloc[0])}"
        figure.add_annotation(style.caption(text, rows_of[name] - 0.2))
    return figure


def summary(shares: pd.DataFrame) -> str:
    """Summarize the largest part of each of the first implementations, and the largest unexplained part."""
    if shares.empty:
        return "No implementation could be profiled."
    largest = []
    for name, own in shares[shares["part"] != "unexplained"].groupby("implementation", sort=False):
        top = own.sort_values("share").iloc[-1]
        largest.append(f"{name}: {fmt.number(top['share'], 2)} % {top['part']}")
    words = f"Largest parts, fastest first: {'; '.join(largest[:8])}{', and others' if len(largest) > 8 else ''}."
    left = shares[shares["part"] == "unexplained"]["share"].abs().max()
    if not fmt.missing(left):
        words += f" At most {fmt.number(left, 2)} % of a time is unexplained."
    if len(largest) > MOST_ROWS:
        words += f" The first {MOST_ROWS} of {len(largest)} are drawn."
    return words


def table(shares: pd.DataFrame) -> pd.DataFrame:
    """Return the parts drawn, in per cent and seconds."""
    drawn = _drawn(shares)
    drawn["of_seconds"] = drawn["seconds"] * drawn["share"] / 100
    return style.table(drawn, "implementation part share of_seconds", share="% of its time", of_seconds="seconds")


def _drawn(shares: pd.DataFrame) -> pd.DataFrame:
    first = list(dict.fromkeys(shares["implementation"]))[:MOST_ROWS]
    return shares[shares["implementation"].isin(first)].reset_index(drop=True)


def _hover(row: rows.Row) -> str:
    part = f"{row['part']}, {fmt.seconds(row['seconds'] * row['share'] / 100)}"
    return style.hover(row["implementation"], f"{fmt.number(row['share'])} %", part)
