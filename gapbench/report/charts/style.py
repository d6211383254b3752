"""Share the parts of charts: colours and symbols, figures, axes, marks, hover texts, and tables.

Figures are transparent, because the page may be light or dark. Their colours are mid-tones with a contrast of 3:1
against white and near-black; the page's style sheet colours the text.
"""

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt

ACCENT, PLAIN, GRID = "#0f9488", "#7b8794", "rgba(128, 138, 150, 0.24)"

MOST = 2000
"""The most marks of a figure: more are slow and unreadable. The rest is aggregated or cut, and the summary says so."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The look of a series, unique by each of symbol, dash and colour."""

    colour: str
    symbol: str
    dash: str


SERIES = (
    Mark("#0b7f76", "circle", "solid"),
    Mark("#b3590a", "square", "dash"),
    Mark("#2f6fd0", "diamond", "dot"),
    Mark("#a8459e", "triangle-up", "dashdot"),
    Mark("#5a7a1f", "triangle-down", "longdash"),
    Mark("#7a5fc7", "pentagon", "longdashdot"),
    Mark("#b0413e", "star", "4px,2px"),
    Mark("#8a6d1d", "hexagon", "8px,3px,2px,3px"),
)
OTHER = Mark(PLAIN, "circle-open", "dot")
"""The look of series beyond the eighth, which cannot be distinguished; hovering names them."""


def grouped(frame: pd.DataFrame, marks: Mapping[str, Mark]) -> Iterator[tuple[str, Mark, pd.DataFrame]]:
    """Yield a label, a mark and the rows of each implementation; those with the mark `OTHER` are one last group."""
    alike = [name for name, mark in marks.items() if mark is OTHER]
    for name, mark in marks.items():
        if mark is not OTHER:
            yield short(name), mark, frame[frame["implementation"] == name]
    if alike:
        label = short(alike[0]) if len(alike) == 1 else f"{len(alike)} others"
        yield label, OTHER, frame[frame["implementation"].isin(alike)]


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """Assign a mark to each of ``names``, given most important first."""
    return {name: SERIES[index] if index < len(SERIES) else OTHER for index, name in enumerate(dict.fromkeys(names))}


LAYOUT: dict[str, Any] = {
    "template": None,
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": PLAIN},
    "hoverlabel": {"bgcolor": "#1f2730", "bordercolor": "#1f2730", "font": {"color": "#f2f4f6"}, "align": "left"},
    "showlegend": False,
    "dragmode": False,  # a swipe on a phone scrolls the page
}

AXIS: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "fixedrange": True}  # of all axes

LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "itemclick": False}
"""Above the figure, where it wraps on a narrow screen. Clicks have no effect, because nothing would show it."""


def short(name: object, width: int = 26) -> str:
    """Shorten a name to a label of at most ``width`` characters, escaped: plotly reads labels as HTML."""
    text = fmt.text(name)
    return html.escape(text if len(text) <= width else f"{text[: width - 1]}…")


def figure(
    height: float,
    margin: Mapping[str, int] = MappingProxyType({}),
    legend: Mapping[str, Any] | None = None,
    **layout: Any,
) -> go.Figure:
    """Create an empty figure; ``margin`` and ``legend`` override the defaults, and None means no legend."""
    shown = {} if legend is None else {"showlegend": True, "legend": LEGEND | {**legend}}
    margins = {"l": 8, "r": 12, "t": 8, "b": 44, **margin}
    return go.Figure(layout=LAYOUT | shown | {"height": height, "margin": margins} | layout)


def nothing() -> go.Figure:
    """Create the figure for a chart without data: a page shows the summary, which gives the reason, in its place."""
    hidden = {"visible": False, "fixedrange": True}
    return figure(60, {"r": 8, "b": 8}, xaxis=hidden, yaxis=hidden)


def dots(
    name: str | None, x: Any, y: Any, hover: Sequence[str], look: tuple[str, str], size: float = 8, **more: Any
) -> go.Scatter:
    """Create a series of marks with ``look``, a symbol and a colour; ``more`` is of the trace, or its ``marker``."""
    symbol, colour = look
    marker = {"symbol": symbol, "color": colour, "size": size, **more.pop("marker", {})}
    return go.Scatter(
        **{"name": name, "mode": "markers", "x": x, "y": y, "marker": marker, "hovertext": hover, "hoverinfo": "text"}
        | more
    )


def line(name: str | None, x: Any, y: Any, hover: Any, look: tuple[str, str], **more: Any) -> go.Scatter:
    """Create a line with ``look``, a colour and a dash; ``more`` is of the trace."""
    colour, dash = look
    drawn = {"color": colour, "dash": dash, "width": more.pop("width", 2)}
    shown = {"hoverinfo": "skip"} if hover is None else {"hovertext": hover, "hoverinfo": "text"}
    return go.Scatter(**{"name": name, "mode": "lines", "x": x, "y": y, "line": drawn} | shown | more)


def hover(name: object, *lines: str) -> str:
    """Return the escaped hover text of a mark: a name, and the lines that are not empty."""
    return "<br>".join([f"<b>{html.escape(fmt.text(name))}</b>", *map(html.escape, filter(None, lines))])


def table(frame: pd.DataFrame, names: str, **titles: str) -> pd.DataFrame:
    """Select the columns ``names`` for a page's table; ``titles`` replace names that are not titles."""
    columns = names.split()
    shown = frame[columns].reset_index(drop=True)
    return shown.set_axis([titles.get(name, name.replace("_", " ")) for name in columns], axis=1)


def bounds(values: Any, share: float = 0.04) -> tuple[float, float]:
    """Return the ends of a log axis around the positive ``values``, with a margin of ``share`` of its length."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array) & (array > 0)]
    low, high = (float(array.min()), float(array.max())) if len(array) else (1.0, 1.0)
    edge = (high / low) ** share if high / low >= 1.2 else 1.2
    return low / edge, high * edge


def log_axis(low: float, high: float, unit: str = "") -> dict[str, Any]:
    """Return a log axis from ``low`` to ``high`` of plain numbers, or with labels such as ``20µs`` for the unit s."""
    axis = AXIS | {"type": "log", "range": [math.log10(low), math.log10(high)], "nticks": 6, "tickangle": 0}
    if not unit:
        return axis | {"tickformat": ",.4~g"}
    # plotly leaves the unit out of labels between two powers of ten
    decades = {"dtick": 1, "minor": {"dtick": "D1", "gridcolor": GRID}} if high >= 10 * low else {}
    return axis | decades | {"tickformat": "~s", "ticksuffix": unit}


def bytes_axis(low: float, high: float) -> dict[str, Any]:
    """Return a log axis of bytes, with labels such as ``64 KiB`` at powers of two."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first + 1) / 6))
    powers = [power for power in range(first, last + 1) if power % step == 0] or [first]
    labels = [f"{2 ** (power % 10)} {fmt.size(2.0**power).split()[1]}" for power in powers]
    return log_axis(low, high) | {"tickvals": [2.0**power for power in powers], "ticktext": labels}
