"""Draw the cost of always choosing one implementation over a suite: geometric mean and worst case.

Only implementations that are ok in every case compete; the others are listed with the number of cases they lack.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.analysis.regret import BY, regrets
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style

MOST_ROWS = 60
_ROW, _GAP = 36, 56  # pixels
_LINE = 0.55  # of a row: implementations that do not compete have only a line of text


def figure(results: pd.DataFrame) -> go.Figure:
    """Draw the regrets of one run, a panel for each suite, operation, device and clock."""
    drawn, _ = _drawn(results)
    if drawn.empty:
        return style.nothing()
    groups = [group.reset_index(drop=True) for _, group in drawn.groupby("facet", sort=False)]
    heights = [_ROW * _ends(group)[-1] for group in groups]
    low, high = 1 / 1.02, style.bounds([1.0, *drawn["worst"].dropna()], 0.06)[1]
    legend = {"y": 1 + 28 / sum(heights)}
    figure = style.figure(sum(heights) + _GAP * len(heights) + 60, {"t": 62}, legend)
    across = style.ratio_axis(low, high) | {"title": {"text": "time / the best time of each case", "standoff": 4}}
    for group, panel in zip(groups, style.panels(heights, _GAP), strict=True):
        _draw(figure, group, panel)
        up = style.AXIS | {"range": [_ends(group)[-1], 0.0], "tickvals": [], "showgrid": False}
        panel.show(figure, across, up, group["facet"].iloc[0])
    return figure


def summary(results: pd.DataFrame) -> str:
    """Summarize for each suite the single choice that costs least, its cost, and how many do not compete."""
    drawn, words = _drawn(results)
    if drawn.empty:
        return "There is nothing to choose from: no case was measured successfully."
    sentences = []
    for facet, group in drawn.groupby("facet", sort=False):
        first = group.iloc[0]
        cases = fmt.counted(first["cases"], "case")
        if first["lacks"] > 0:
            sentences.append(f"{facet}: no implementation is ok in all {cases}.")
            continue
        sentence = f"{facet}: always choosing {first['implementation']} costs {fmt.ratio(first['geometric_mean'])} the "
        sentence += f"best of each of {cases} (geometric mean), {fmt.ratio(first['worst'])} at worst"
        if not fmt.missing(first["seconds"]):
            sentence += f", {fmt.seconds(first['seconds'])} in total, against {fmt.seconds(first['best_of_each'])}"
        if lacking := int((group["lacks"] > 0).sum()):
            sentence += f"; {lacking} more {'lacks' if lacking == 1 else 'lack'} cases"
        sentences.append(f"{sentence}.")
    return " ".join([*sentences, *words])


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows drawn; those that do not compete have nulls."""
    titles = {
        "facet": "suite", "lacks": "cases lacking", "geometric_mean": "geometric mean ratio", "worst": "worst ratio",
        "seconds": "weighted seconds", "best_of_each": "weighted seconds, best of each",
    }  # fmt: skip
    names = "facet implementation cases lacks geometric_mean worst worst_case seconds best_of_each"
    return style.table(_drawn(results)[0], names, **titles)


def _drawn(results: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    every = regrets(points.numeric(results))
    varying = [name for name in BY if every[name].nunique(dropna=False) > 1 or name == "suite"]
    every["facet"] = [", ".join(rows.fact(name, row[name]) for name in varying) for row in rows.records(every)]
    words = []
    if unanswered := int(every.drop_duplicates("facet")["unanswered"].sum()):
        words.append(f"{unanswered} cases without an ok implementation do not count.")
    if len(every) > MOST_ROWS:
        words.append(f"The first {MOST_ROWS} of {len(every)} rows are drawn.")
    return every.head(MOST_ROWS), words


def _draw(figure: go.Figure, group: pd.DataFrame, panel: style.Panel) -> None:
    competing, starts = group[group["lacks"] == 0], [0.0, *_ends(group)[:-1]]
    up = np.array(starts[: len(competing)]) + 0.7
    lines = np.column_stack([competing["geometric_mean"], competing["worst"], np.full(len(competing), np.nan)])
    axes = {"xaxis": panel.x, "yaxis": panel.y}
    plain = (style.PLAIN, "solid")
    figure.add_trace(style.line(None, lines.ravel(), np.repeat(up, 3), None, plain, showlegend=False, **axes))
    hover = [
        style.hover(row["implementation"], _cost(row), f"worst on {fmt.text(row['worst_case'])}")
        for row in rows.records(competing)
    ]
    more = {"edge": True, "cliponaxis": False, "showlegend": panel.y == "y" and len(competing) > 0, **axes}
    mean, worst = ("circle", style.ACCENT), ("line-ns-open", style.PLAIN)
    figure.add_trace(style.dots("geometric mean", competing["geometric_mean"], up, hover, mean, 11, **more))
    figure.add_trace(style.dots("worst case", competing["worst"], up, hover, worst, 11, **more))
    for start, row in zip(starts, rows.records(group), strict=True):
        text = f"<b>{style.short(row['implementation'])}</b> {_cost(row)}"
        figure.add_annotation(style.caption(text, start + 0.28, panel.y))


def _ends(group: pd.DataFrame) -> list[float]:
    """Return the lower end of each row, from the top in units of `_ROW`."""
    return [float(end) for end in np.cumsum(np.where(group["lacks"] == 0, 1.0, _LINE))]


def _cost(row: rows.Row) -> str:
    if row["lacks"] > 0:
        return f"lacks {fmt.count(row['lacks'])} of {fmt.count(row['cases'])} cases"
    total = "" if fmt.missing(row["seconds"]) else f", {fmt.seconds(row['seconds'])} in total"
    return f"{fmt.ratio(row['geometric_mean'])}, at worst {fmt.ratio(row['worst'])}{total}"
