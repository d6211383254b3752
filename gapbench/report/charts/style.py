"""What charts share: colours, the layout that every figure starts from, and the axis of seconds.

A figure cannot know its background, so it is transparent and its colours are mid-tones that hold 3:1 against white
and against near-black; the page's style sheet colours the text.
"""

import math
from typing import Any

from gapbench.report import format as fmt

ACCENT, PLAIN, GRID = "#0f9488", "#7b8794", "rgba(128, 138, 150, 0.24)"

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


def seconds_axis(low: float, high: float) -> dict[str, Any]:
    """Return a log axis from ``low`` to ``high`` seconds, with labels such as ``20 µs``."""
    marks = ticks(low, high)
    return {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": marks,
        "ticktext": [_label(mark) for mark in marks],
        "tickangle": 0,
        "gridcolor": GRID,
        "zeroline": False,
        "fixedrange": True,
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
