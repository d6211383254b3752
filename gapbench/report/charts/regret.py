"""What does it cost to always choose X? Regret per implementation over a suite: geometric mean and worst case.

Only who is ok in every case competes; the others are listed with how many cases they lack.
"""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.regret import BY, regrets
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style

MOST_ROWS = 60

_ROW, _GAP = 36, 56  # pixels
_LINE = 0.55  # of a row: who does not compete has a line of text alone


def figure(results: pd.DataFrame) -> go.Figure:
    """Draw the regrets of one run, a panel for each suite, operation, device and clock."""
    found, _ = _drawn(results)
    if found.empty:
        return style.nothing()
    panels = [panel for _, panel in found.groupby("facet", sort=False)]
    heights = [_ROW * float(_places(panel)[1]) for panel in panels]
    low, high = 1 / 1.02, style.bounds([1.0, *found["worst"].dropna()], 0.06)[1]
    figure = go.Figure(
        layout=style.LAYOUT
        | {
            "height": sum(heights) + _GAP * len(heights) + 60,
            "margin": {"l": 8, "r": 12, "t": 62, "b": 44},
            "showlegend": True,
            "legend": style.LEGEND | {"y": 1 + 28 / sum(heights)},
        }
    )
    for place, (panel, domain) in enumerate(zip(panels, style.stack(heights, _GAP), strict=True)):
        x, y = style.axes(place)
        _panel(figure, panel.reset_index(drop=True), x, y, first=place == 0)
        figure.layout[style.layout_key(x)] = style.ratio_axis(low, high) | {
            "anchor": y, "title": {"text": "time / the best time of each case", "standoff": 4}
        }  # fmt: skip
        figure.layout[style.layout_key(y)] = style.AXIS | {
            "anchor": x, "domain": domain, "range": [float(_places(panel)[1]), 0.0], "tickvals": [], "showgrid": False,
        }  # fmt: skip
        figure.add_annotation(style.title(html.escape(str(panel["facet"].iloc[0])), y))
    return figure


def summary(results: pd.DataFrame) -> str:
    """Say for each suite which single choice costs least, how much that is, and who does not compete."""
    found, words = _drawn(results)
    if found.empty:
        return "There is nothing to choose from: no case was measured successfully."
    sentences = []
    for facet, panel in found.groupby("facet", sort=False):
        first = panel.iloc[0]
        cases = f"{fmt.count(first['cases'])} {'case' if first['cases'] == 1 else 'cases'}"
        lacking = int((panel["lacks"] > 0).sum())
        if first["lacks"] > 0:
            sentences.append(f"{facet}: nobody is ok in all {cases}.")
            continue
        sentence = f"{facet}: always choosing {first['implementation']} costs {fmt.ratio(first['geometric_mean'])} the "
        sentence += f"best of each of {cases} (geometric mean), {fmt.ratio(first['worst'])} at worst"
        if not fmt.missing(first["seconds"]):
            sentence += f", {fmt.seconds(first['seconds'])} in all where the best of each take "
            sentence += fmt.seconds(first["best_of_each"])
        sentences.append(
            f"{sentence}; {lacking} more {'lacks' if lacking == 1 else 'lack'} cases." if lacking else f"{sentence}."
        )
    return " ".join([*sentences, *words])


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows drawn, those that do not compete with nulls."""
    names = {
        "facet": "suite", "implementation": "implementation", "cases": "cases", "lacks": "cases lacking",
        "geometric_mean": "geometric mean ratio", "worst": "worst ratio", "worst_case": "worst case",
        "seconds": "weighted seconds", "best_of_each": "weighted seconds, best of each",
    }  # fmt: skip
    return _drawn(results)[0][[*names]].rename(columns=names).reset_index(drop=True)


def _drawn(results: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    found = regrets(points.numeric(results))
    varying = [name for name in BY if found[name].nunique(dropna=False) > 1 or name == "suite"]
    found["facet"] = [", ".join(rows.fact(name, row[name]) for name in varying) for row in rows.records(found)]
    words = []
    if unanswered := int(found.drop_duplicates("facet")["unanswered"].sum()):
        words.append(f"{unanswered} cases that nobody is ok in do not count.")
    if len(found) > MOST_ROWS:
        words.append(f"The first {MOST_ROWS} of {len(found)} rows are drawn.")
    return found.head(MOST_ROWS), words


def _panel(figure: go.Figure, panel: pd.DataFrame, x: str, y: str, first: bool) -> None:
    competing = panel[panel["lacks"] == 0]
    places, _ = _places(panel)
    up = places[: len(competing)] + 0.7
    lines = np.column_stack([competing["geometric_mean"], competing["worst"], np.full(len(competing), np.nan)])
    figure.add_scatter(
        mode="lines", x=lines.ravel(), y=np.repeat(up, 3), line={"color": style.PLAIN, "width": 2}, hoverinfo="skip",
        showlegend=False, xaxis=x, yaxis=y,
    )  # fmt: skip
    for name, column, symbol, colour in (
        ("geometric mean", "geometric_mean", "circle", style.ACCENT),
        ("worst case", "worst", "line-ns-open", style.PLAIN),
    ):
        figure.add_scatter(
            name=name, mode="markers", x=competing[column], y=up, xaxis=x, yaxis=y, cliponaxis=False,
            showlegend=first and len(competing) > 0,
            marker={"symbol": symbol, "color": colour, "size": 11, "line": {"width": 2, "color": colour}},
            hovertext=[_hover(row) for row in rows.records(competing)], hoverinfo="text",
        )  # fmt: skip
    for place, row in zip(places.tolist(), rows.records(panel), strict=True):
        name = f"<b>{style.short(row['implementation'])}</b>"
        left = {"x": 0, "xref": "paper", "xanchor": "left", "yref": y, "y": place + 0.28, "showarrow": False}
        figure.add_annotation(left | {"text": f"{name} {_said(row)}"})


def _places(panel: pd.DataFrame) -> tuple[np.ndarray, float]:
    """Return where each row begins, from the top in units of `_ROW`, and where the last one ends."""
    ends = np.cumsum(np.where(panel["lacks"] == 0, 1.0, _LINE))
    return np.concatenate([[0.0], ends[:-1]]), float(ends[-1])


def _said(row: rows.Row) -> str:
    if row["lacks"] > 0:
        return f"lacks {fmt.count(row['lacks'])} of {fmt.count(row['cases'])} cases"
    total = "" if fmt.missing(row["seconds"]) else f", {fmt.seconds(row['seconds'])} in all"
    return f"{fmt.ratio(row['geometric_mean'])}, at worst {fmt.ratio(row['worst'])}{total}"


def _hover(row: rows.Row) -> str:
    lines = [f"<b>{html.escape(fmt.text(row['implementation']))}</b>", _said(row)]
    return "<br>".join([*lines, f"worst on {html.escape(fmt.text(row['worst_case']))}"])
