"""What charts share: colours and symbols, the layout that every figure starts from, axes, and names as labels.

A figure cannot know its background, so it is transparent and its colours are mid-tones that hold 3:1 against white
and against near-black; the page's style sheet colours the text.
"""

import html
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt

ACCENT, PLAIN, GRID = "#0f9488", "#7b8794", "rgba(128, 138, 150, 0.24)"
GOOD, BAD = "#5a7a1f", "#b0413e"

MOST = 2000
"""Marks that one figure draws at most: more is slow, and a smear. What is beyond is aggregated or cut, with words."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How one series is told from the others: by any of letter, symbol and dash, and by colour as well."""

    letter: str
    colour: str
    symbol: str
    dash: str


SERIES = (
    Mark("A", "#0b7f76", "circle", "solid"),
    Mark("B", "#b3590a", "square", "dash"),
    Mark("C", "#2f6fd0", "diamond", "dot"),
    Mark("D", "#a8459e", "triangle-up", "dashdot"),
    Mark("E", "#5a7a1f", "triangle-down", "longdash"),
    Mark("F", "#7a5fc7", "pentagon", "longdashdot"),
    Mark("G", "#b0413e", "star", "4px,2px"),
    Mark("H", "#8a6d1d", "hexagon", "8px,3px,2px,3px"),
)
OTHER = Mark("+", PLAIN, "circle-open", "dot")
"""More than eight series cannot be told apart: the others look alike, and hovering names them."""


def grouped(frame: pd.DataFrame, marks: Mapping[str, Mark]) -> Iterator[tuple[str, Mark, pd.DataFrame]]:
    """Yield a label, a mark and the rows of each implementation; all that look alike are one group, the last."""
    alike = [name for name, mark in marks.items() if mark is OTHER]
    for name, mark in marks.items():
        if mark is not OTHER:
            yield short(name), mark, frame[frame["implementation"] == name]
    if alike:
        label = short(alike[0]) if len(alike) == 1 else f"{len(alike)} others"
        yield label, OTHER, frame[frame["implementation"].isin(alike)]


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """Return how each of ``names``, most important first, is drawn."""
    return {name: SERIES[place] if place < len(SERIES) else OTHER for place, name in enumerate(dict.fromkeys(names))}


LAYOUT: dict[str, Any] = {
    "template": None,
    "paper_bgcolor": "rgba(0, 0, 0, 0)",
    "plot_bgcolor": "rgba(0, 0, 0, 0)",
    "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": PLAIN},
    "hoverlabel": {
        "bgcolor": "#1f2730",
        "bordercolor": "#1f2730",
        "font": {"color": "#f2f4f6"},
        "align": "left",
    },
    "showlegend": False,
    "dragmode": False,  # a swipe on a phone scrolls the page
}


AXIS: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "fixedrange": True}
"""What all axes have in common."""

LEGEND: dict[str, Any] = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "y": 1,
    "yanchor": "bottom",
    "itemclick": False,
}
"""Above the figure, where it wraps on a narrow screen. Clicks have no effect, as nothing says that they had any."""


def short(name: object, width: int = 26) -> str:
    """Return a name as a label of at most ``width`` characters, escaped: plotly reads labels as HTML."""
    text = fmt.text(name)
    return html.escape(text if len(text) <= width else f"{text[: width - 1]}…")


def nothing() -> go.Figure:
    """Return what is drawn where there is nothing to draw; the summary says why."""
    hidden = {"visible": False, "fixedrange": True}
    text = {"text": "nothing to draw", "showarrow": False, "xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    layout = {"height": 60, "margin": {"l": 8, "r": 8, "t": 8, "b": 8}, "xaxis": hidden, "yaxis": hidden}
    return go.Figure(layout=LAYOUT | layout | {"annotations": [text]})


def stack(heights: Sequence[float], gap: float) -> list[tuple[float, float]]:
    """Return the vertical domains of panels of ``heights`` pixels, from the top down, ``gap`` pixels apart."""
    total = sum(heights) + gap * (len(heights) - 1)
    tops = [sum(heights[:place]) + gap * place for place in range(len(heights))]
    return [(max(0.0, 1 - (top + height) / total), 1 - top / total) for top, height in zip(tops, heights, strict=True)]


def axes(place: int) -> tuple[str, str]:
    """Return what traces call the axes of the panel at ``place``: ``x``, ``y``, then ``x2``, ``y2``."""
    return (f"x{place + 1}", f"y{place + 1}") if place else ("x", "y")


def layout_key(axis: str) -> str:
    """Return what the layout calls a trace's axis: ``xaxis2`` for ``x2``."""
    return f"{axis[0]}axis{axis[1:]}"


def title(text: str, axis: str) -> dict[str, Any]:
    """Return a panel's title (already escaped), which stands above its y ``axis``."""
    place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": f"{axis} domain", "y": 1, "yanchor": "bottom"}
    return {"text": f"<b>{text}</b>", "showarrow": False, "align": "left", **place}


def bounds(values: Any, share: float = 0.04) -> tuple[float, float]:
    """Return a log axis' ends around the positive ones of ``values``, with ``share`` of its length to spare a side."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array) & (array > 0)]
    low, high = (float(array.min()), float(array.max())) if len(array) else (1.0, 1.0)
    edge = max(high / low, 1.2) ** share
    if high / low < 1.2:
        edge = 1.2
    return low / edge, high * edge


def seconds_axis(low: float, high: float) -> dict[str, Any]:
    """Return a log axis from ``low`` to ``high`` seconds, with labels such as ``20 µs``."""
    return log_axis(low, high, _label)


def ratio_axis(low: float, high: float) -> dict[str, Any]:
    """Return a log axis of ratios, with labels such as ``0.5×``."""  # noqa: RUF002
    return log_axis(low, high, lambda mark: f"{float(f'{mark:.4g}'):,g}×")  # noqa: RUF001


def number_axis(low: float, high: float) -> dict[str, Any]:
    """Return a log axis of plain numbers."""
    return log_axis(low, high, lambda mark: f"{float(f'{mark:.4g}'):,g}")


def bytes_axis(low: float, high: float) -> dict[str, Any]:
    """Return a log axis of bytes, with labels such as ``64 KiB`` at powers of two."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first + 1) / 6))
    powers = [power for power in range(first, last + 1) if power % step == 0]
    marks = [2.0**power for power in powers or [first]]
    return log_axis(low, high, lambda mark: f"{2 ** (round(math.log2(mark)) % 10)} {_unit(mark)}", marks)


def _unit(size: float) -> str:
    return fmt.size(size).rpartition(" ")[2]


def log_axis(
    low: float, high: float, label: Callable[[float], str], marks: Sequence[float] | None = None
) -> dict[str, Any]:
    """Return a log axis from ``low`` to ``high``, with a ``label`` at each of its ``marks``."""
    marks = ticks(low, high) if marks is None else marks
    return AXIS | {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": list(marks),
        "ticktext": [label(mark) for mark in marks],
        "tickangle": 0,
    }


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
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough)
    return [count * step for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _label(seconds: float) -> str:
    value, unit = fmt.seconds(seconds, digits=5).split(" ")  # neighbours on a narrow axis differ late
    return f"{float(value.replace(',', '')):g} {unit}"
