"""Draw the time of each implementation as a dot with its interval, fastest on top, on a log axis.

Symbol and text mark the winner, ties and the reference; colour only repeats it. Names are escaped, because plotly reads
labels as HTML.
"""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report import rows
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
    """Draw the measured implementations of one case; the page lists the others."""
    timed = _timed(case)
    labels = [style.short(name) for name in timed["name"]]
    low, high = (timed["low"].min(), timed["high"].max()) if len(timed) else (1e-6, 1e-3)
    edge = max(high / low, 1.2) ** 0.04  # dots at the ends stay whole
    low, high = low / edge, high * edge
    # A text needs 7 pixels per character; the part beyond the axis' end needs margin.
    room = 7 * (timed["text"].str.len() + 3) - 120 * np.log(high / timed["high"]) / np.log(high / low)
    labels = np.where(_has(timed, "fastest"), [f"<b>{label}</b>" for label in labels], labels).tolist()
    rows_axis = {"range": [len(timed) - 0.5, -0.5], "tickvals": list(range(len(timed))), "ticktext": labels}
    figure = style.figure(
        _ROW * len(timed) + 30,
        {"r": int(max([16, *room])), "t": 4, "b": 26},
        shapes=[style.vertical(x, "dot", layer="below") for x in timed.loc[_has(timed, "reference"), "seconds"]],
        xaxis=style.seconds_axis(low, high),
        yaxis=style.AXIS | rows_axis | {"automargin": True, "ticklabelstandoff": 6, "griddash": "dot"},
    )
    first = timed["marks"].astype(str).str.split(", ").str[0]
    for mark, (symbol, colour, size) in MARKERS.items():
        some = timed[first == mark]
        if len(some):
            bars = style.error_bars(some["low"], some["seconds"], some["high"], color=colour)
            hover = [_hover(row) for row in rows.records(some)]
            look, more = (symbol, colour), {"edge": True, "error_x": bars, "cliponaxis": False}
            figure.add_trace(style.dots(mark or "other", some["seconds"], some.index, hover, look, size, **more))
    # values are right of the interval, so that neither hides the other
    text = ["\u00a0" * 3 + html.escape(text) for text in timed["text"]]
    values = {"name": "values", "mode": "text", "text": text, "textposition": "middle right", "hoverinfo": "skip"}
    return figure.add_scatter(x=timed["high"], y=timed.index, cliponaxis=False, **values)


def summary(case: pd.DataFrame) -> str:
    """Summarize the chart in one line."""
    timed = _timed(case)
    unmeasured = len(case) - len(timed)
    left_out = f" {unmeasured} of {len(case)} without a time." if unmeasured else ""
    if timed.empty:
        return f"No time was measured.{left_out}"
    fastest, last = timed.iloc[0], timed.iloc[-1]
    if "fastest" not in fastest["marks"]:
        span = f"{fmt.seconds(fastest['seconds'])} to {fmt.seconds(last['seconds'])}"
        return f"{len(timed)} measured, {span}.{left_out}"
    sentence = f"{fastest['implementation']} is fastest at {fmt.seconds(fastest['seconds'])}"
    if "reference" in fastest["marks"]:
        sentence += ", and it is the reference"
    elif not fmt.missing(fastest["ratio"]):
        sentence += f", {fmt.ratio(fastest['ratio'])} the reference's time"
    if ties := int(_has(timed, "tie").sum()):
        sentence += f"; {ties} {'ties' if ties == 1 else 'tie'} with it"
    if len(timed) > 1:
        sentence += f"; slowest is {last['implementation']} at {fmt.seconds(last['seconds'])}"
    return f"{sentence}.{left_out}"


def _timed(case: pd.DataFrame) -> pd.DataFrame:
    """Return timed rows, winner first: with a ``name``, a ``text``, and ``low`` and ``high`` (or the time itself)."""
    timed = case[(case["status"] == "ok") & (case["seconds"].fillna(0) > 0)]
    text = [f"{fmt.seconds(row['seconds'])}  {row['marks']}".rstrip() for row in rows.records(timed)]
    seconds, low, high = (timed[name].astype("float64") for name in ("seconds", "seconds_low", "seconds_high"))
    timed = timed.assign(
        low=low.fillna(seconds), high=high.fillna(seconds), seconds=seconds,
        name=timed["implementation"].astype(object), text=pd.Series(text, timed.index, str),
    )  # fmt: skip
    if "contender" in timed and timed["contender"].nunique(dropna=False) > 1:
        timed["name"] = [f"{row['implementation']} ({fmt.text(row['contender'])})" for row in rows.records(timed)]
    order = timed["seconds"].where(~_has(timed, "fastest"), 0.0)
    return timed.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _has(timed: pd.DataFrame, mark: str) -> pd.Series:
    return timed["marks"].astype(str).str.contains(mark)


def _hover(row: rows.Row) -> str:
    time = (row["seconds"], row["seconds_low"], row["seconds_high"])
    ratio = (row["ratio"], row["ratio_low"], row["ratio_high"])
    against = "" if fmt.missing(ratio[0]) else f"{fmt.ratio_with_interval(*ratio)} the reference's time"
    rate = "" if fmt.missing(row["gbps"]) else f"{fmt.number(row['gbps'])} GB/s"
    counts = f"{fmt.text(row['rounds'])} rounds, {fmt.text(row['samples'])} samples"
    return style.hover(row["name"], f"{fmt.seconds(time[0])} {fmt.seconds_interval(*time)}", against, rate, counts)
