"""What differs, and how sure? Ratios with their 95 % intervals, what matters most on top, on a log axis around 1.

Of a run: each implementation's time over the reference's, what beats it first, by how much it surely does. Of a diff:
head over base, the most pressing verdicts first, with the margin as a band. Symbol and words say what colour repeats.
"""

import html
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.compare import Diff
from gapbench.records import REFERENCE, UNRANKED
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style
from gapbench.verdicts import Verdict

MOST_ROWS = 30
"""What does not fit a screen or two is in the table."""

_MARK = 0.36  # rows below its middle
_ROW = 54  # pixels: two lines of text and one for the mark

STYLES: Mapping[str, tuple[str, str]] = {
    "regressed": ("triangle-right", style.BAD),
    "slower": ("triangle-right", style.BAD),
    "improved": ("triangle-left", style.GOOD),
    "faster": ("triangle-left", style.GOOD),
    "equivalent": ("diamond", style.PLAIN),
}
"""Symbol and colour by verdict; all others are open circles, as nothing was shown."""

Source = pd.DataFrame | Diff
"""A run's results, or a diff."""


def figure(source: Source) -> go.Figure:
    """Draw the `MOST_ROWS` most relevant ratios of a run's results or of a diff."""
    drawn = _rows(source).head(MOST_ROWS).reset_index(drop=True)
    if drawn.empty:
        return style.nothing()
    margin = source.margin if isinstance(source, Diff) else 0.0
    ends = drawn[["ratio", "ratio_low", "ratio_high"]].to_numpy(dtype=float).ravel()
    low, high = style.bounds([*ends, 1 / (1 + margin), 1 + margin])
    height = _ROW * len(drawn)
    figure = go.Figure(
        layout=style.LAYOUT
        | {
            "height": height + 92,
            "margin": {"l": 8, "r": 12, "t": 40, "b": 44},
            "showlegend": True,
            "legend": style.LEGEND | {"y": 1 + 6 / height},
            "shapes": _lines(margin),
            "xaxis": style.ratio_axis(low, high) | {"title": {"text": _axis_title(source), "standoff": 6}},
            "yaxis": style.AXIS
            | {"range": [len(drawn) - 0.5, -0.5], "showticklabels": False, "showgrid": False, "tickvals": []},
        }
    )
    for verdict, some in drawn.groupby("verdict", sort=False):
        symbol, colour = STYLES.get(str(verdict), ("circle-open", style.PLAIN))
        middle = some["ratio"]
        figure.add_scatter(
            name=str(verdict).replace("_", " "),
            mode="markers",
            x=middle.where(middle.notna(), None),
            y=some.index + _MARK,
            error_x={
                "array": (some["ratio_high"] - middle).fillna(0),
                "arrayminus": (middle - some["ratio_low"]).fillna(0),
                "color": colour,
                "thickness": 2,
                "width": 4,
            },
            marker={"symbol": symbol, "color": colour, "size": 11, "line": {"width": 2, "color": colour}},
            hovertext=[_hover(row) for row in rows.records(some)],
            hoverinfo="text",
        )
    for place, row in enumerate(rows.records(drawn)):  # names stand above their marks: a narrow screen has no room left
        clock = f", {style.short(row['clock'])}" if drawn["clock"].nunique() > 1 else ""
        text = f"<b>{style.short(row['implementation'])}</b> {_said(row)}{clock}<br>{style.short(row['case'], 52)}"
        figure.add_annotation(
            {"x": 0, "xref": "paper", "xanchor": "left", "align": "left", "y": place - 0.14, "showarrow": False,
             "text": text}
        )  # fmt: skip
    return figure


def summary(source: Source) -> str:
    """Count what was found, name the largest, and say what is not drawn."""
    found = _rows(source)
    if found.empty:
        return "There are no ratios to draw: nothing was measured beside a reference."
    counts = found["verdict"].value_counts(sort=False)
    said = ", ".join(f"{fmt.count(count)} {str(verdict).replace('_', ' ')}" for verdict, count in counts.items())
    sentence = f"{fmt.count(len(found))} {'row' if len(found) == 1 else 'rows'}: {said}."
    surest = found[found["verdict"].isin(["regressed", "improved", "slower", "faster"])]
    if len(surest):
        first = surest.iloc[0]
        other = "the reference's time" if isinstance(source, pd.DataFrame) else "the time before"
        interval = fmt.ratio_interval(first["ratio"], first["ratio_low"], first["ratio_high"])
        sentence += f" First: {first['implementation']} on {first['case']}, {fmt.ratio(first['ratio'])} {interval}"
        sentence = f"{sentence.rstrip()} {other}."
    if len(found) > MOST_ROWS:
        sentence += f" The first {MOST_ROWS} are drawn."
    return sentence


def table(source: Source) -> pd.DataFrame:
    """Return the rows drawn."""
    names = {
        "case": "case", "implementation": "implementation", "clock": "clock", "verdict": "verdict", "ratio": "ratio",
        "ratio_low": "ratio low", "ratio_high": "ratio high", "reason": "reason",
    }  # fmt: skip
    return _rows(source).head(MOST_ROWS)[[*names]].rename(columns=names).reset_index(drop=True)


def _rows(source: Source) -> pd.DataFrame:
    found = _of_diff(source) if isinstance(source, Diff) else _of_run(source)
    # The end of the interval that is nearer to 1: what the difference is at least. Without interval, nothing.
    low, high = (np.log(found[f"ratio_{end}"].where(found[f"ratio_{end}"] > 0)) for end in ("low", "high"))
    least = np.maximum(np.maximum(low, -high), 0).fillna(0)
    size = np.log(found["ratio"].where(found["ratio"] > 0)).abs().fillna(0)
    found = found.assign(least=least, size=size)
    return found.sort_values(["pressing", "least", "size"], ascending=[True, False, False], kind="stable")


def _of_run(results: pd.DataFrame) -> pd.DataFrame:
    found = points.measured(results)
    found = found[found["ratio"].gt(0) & (found["implementation"] != found["reference"].fillna(REFERENCE))]
    verdict = np.select([found["ratio_low"] > 1, found["ratio_high"] < 1], ["slower", "faster"], "no difference shown")
    # What beats the reference comes first, and last where contenders compute different things.
    pressing = np.select([verdict == "faster", verdict == "slower"], [0, 1], 2) + 3 * found["operation"].isin(UNRANKED)
    return found.assign(verdict=verdict, pressing=pressing, reason="")


def _of_diff(diff: Diff) -> pd.DataFrame:
    order = {verdict: place for place, verdict in enumerate(Verdict)}
    columns = ["case", "implementation", "clock", "verdict", "reason", "ratio", "ratio_low", "ratio_high", "pressing"]
    values = [
        (*(getattr(row, name) for name in columns[:3]), str(row.verdict), row.reason, row.ratio, row.ratio_low,
         row.ratio_high, order[row.verdict])
        for row in diff.rows
    ]  # fmt: skip
    found = pd.DataFrame(values, columns=columns)
    return found.astype(dict.fromkeys(("ratio", "ratio_low", "ratio_high"), "float64"))


def _lines(margin: float) -> list[dict[str, object]]:
    vertical = {"yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    one = {"type": "line", "x0": 1, "x1": 1, "line": {"color": style.PLAIN, "width": 1, "dash": "dot"}, **vertical}
    if not margin:
        return [one]
    band = {"type": "rect", "x0": 1 / (1 + margin), "x1": 1 + margin, "fillcolor": style.GRID, "line": {"width": 0}}
    return [band | vertical, one]


def _axis_title(source: Source) -> str:
    if isinstance(source, Diff):
        return f"time of head / base; the band is the margin, {100 * source.margin:.3g} %"
    return "time / the reference's time, below 1 is faster"


def _said(row: rows.Row) -> str:
    interval = fmt.ratio_interval(row["ratio"], row["ratio_low"], row["ratio_high"])
    ratio = "" if fmt.missing(row["ratio"]) else f"{fmt.ratio(row['ratio'])} {interval}"
    return f"{str(row['verdict']).replace('_', ' ')} {ratio}".strip()


def _hover(row: rows.Row) -> str:
    lines = [f"<b>{html.escape(fmt.text(row['implementation']))}</b>", html.escape(fmt.text(row["case"])), _said(row)]
    return "<br>".join([*lines, *([html.escape(str(row["reason"]))] if row["reason"] else [])])
