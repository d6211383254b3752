"""Which implementation for my shape? The winner over H·W (across) and N·C (up), a panel for each dtype and layout.

A tile is the cases of one H·W and N·C; its letter and colour name the winner, hatching and ≈ say that another ties.
"""

import html
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report.charts import style
from gapbench.report.charts.tiles import cases_of, tiles_of

_ROW, _GAP = 24, 72  # pixels of a tile, pixels between panels
_WIDE, _TALL = 0.96, 0.86  # shares of its place that a tile fills

_NOBODY = style.Mark("–", "#5b6672", "x", "dot")  # noqa: RUF001


def figure(results: pd.DataFrame, winners: pd.DataFrame) -> go.Figure:
    """Draw the winners of one run; ``winners`` is `summary.winners` of its results and samples."""
    tiles, _ = tiles_of(results, winners)
    if tiles.empty:
        return style.nothing()
    marks = _marks(tiles)
    places = sorted(tiles["facet_place"].unique())
    panels = [tiles[tiles["facet_place"] == place] for place in places]
    heights = [_ROW * panel["y"].nunique() for panel in panels]
    steps = _order(tiles["x"])
    figure = go.Figure(
        layout=style.LAYOUT
        | {
            "height": sum(heights) + _GAP * len(heights) + 24 * math.ceil((len(marks) + 2) / 2) + 40,
            "margin": {"l": 8, "r": 12, "t": 8, "b": 44},
            "barmode": "overlay",
            "bargap": 0,
            "showlegend": True,
            "legend": style.LEGEND | {"y": 1 + 28 / sum(heights), "traceorder": "normal"},
            "annotations": [
                style.title(html.escape(str(panel["facet"].iloc[0])), style.axes(place)[1])
                for place, panel in enumerate(panels)
            ],
        }
    )
    few = [f"{mark.letter}  {style.short(name)}" for name, mark in marks.items()]
    shown = (
        few
        if len(few) <= len(style.SERIES) + 1
        else [*few[: len(style.SERIES)], f"+  {len(few) - len(style.SERIES)} others"]
    )
    for label, mark in zip(shown, marks.values(), strict=False):  # the legend alone: its order is that of importance
        figure.add_bar(name=label, x=[None], y=[None], marker={"color": mark.colour})
    if tiles["winner"].isna().any():
        figure.add_bar(name="–  nobody is ok", x=[None], y=[None], marker={"color": _NOBODY.colour})  # noqa: RUF001
    if tiles["tie"].any():
        figure.add_bar(name="≈  hatched: others tie", x=[None], y=[None], marker=_fill(style.PLAIN, ["/"]))
    for place, (panel, domain) in enumerate(zip(panels, style.stack(heights, _GAP), strict=True)):
        x, y = style.axes(place)
        up = _order(panel["y"])
        for name, some in panel.groupby("winner", dropna=False):
            mark = _NOBODY if fmt.missing(name) else marks[str(name)]
            ties = some["tie"].to_numpy(dtype=bool)
            figure.add_bar(
                name=style.short(name),
                showlegend=False,
                x=[steps[value] for value in some["x"]],
                y=[_TALL] * len(some),
                base=[up[value] - _TALL / 2 for value in some["y"]],
                width=_WIDE,
                xaxis=x,
                yaxis=y,
                marker=_fill(mark.colour, np.where(ties, "/", "")),
                text=[f"{mark.letter}{'≈' if tie else ''}" for tie in ties],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"color": "#ffffff", "size": 12},
                cliponaxis=False,
                hovertext=some["hover"],
                hoverinfo="text",
            )
        figure.layout[style.layout_key(x)] = _axis(steps, tiles["x_label"], tiles["x"]) | _narrow(steps) | {"anchor": y}
        figure.layout[style.layout_key(y)] = _axis(up, panel["y_label"], panel["y"]) | {"anchor": x, "domain": domain}
        figure.layout[style.layout_key(y)].title = {"text": "N·C", "font": {"size": 11}}
        figure.layout[style.layout_key(x)].title = {"text": "H·W", "font": {"size": 11}, "standoff": 4}
    return figure


def summary(results: pd.DataFrame, winners: pd.DataFrame) -> str:
    """Say who wins how many cases, how many of these are ties, and what is not drawn."""
    tiles, words = tiles_of(results, winners)
    cases = cases_of(results, winners)
    won = cases.dropna(subset=["winner"])
    if won.empty:
        return " ".join([f"No winner in {fmt.count(len(cases))} cases: nothing was measured successfully.", *words])
    counts = won["winner"].value_counts()
    said = [f"{name} in {fmt.count(count)}" for name, count in counts.head(3).items()]
    rest = len(counts) - len(said)
    sentence = f"Fastest of {fmt.count(len(won))} {'case' if len(won) == 1 else 'cases'}: {', '.join(said)}"
    others = f"{rest} {'other' if rest == 1 else 'others'}"
    sentence += f", {others} in {fmt.count(int(counts.iloc[3:].sum()))}." if rest else "."
    sentence += f" In {fmt.count(int(won['tie'].sum()))} another ties with it."
    if lacking := len(cases) - len(won):
        sentence += f" {fmt.count(lacking)} without a winner."
    if len(tiles) and tiles["cases"].max() > 1:
        sentence += (
            f" {fmt.count(int(tiles['cases'].sum()))} cases share {fmt.count(len(tiles))} tiles; each shows who wins "
            "most of its cases, hatched where that is at most half of them without a tie."
        )
    return " ".join([sentence, *words])


def table(results: pd.DataFrame, winners: pd.DataFrame) -> pd.DataFrame:
    """Return the tiles: where each lies, and who wins there by how much."""
    tiles, _ = tiles_of(results, winners)
    names = {
        "facet": "panel", "x_label": "H·W", "y_label": "N·C", "cases": "cases", "winner": "winner", "ties": "ties",
        "ratio": "ratio to reference", "ratio_low": "ratio low", "ratio_high": "ratio high", "seconds": "seconds",
    }  # fmt: skip
    return tiles[[*names]].rename(columns=names).reset_index(drop=True)


def _order(values: pd.Series) -> dict[float, int]:
    return {value: place for place, value in enumerate(sorted(values.unique()))}


def _marks(tiles: pd.DataFrame) -> dict[str, style.Mark]:
    return style.marks(str(name) for name in tiles.groupby("winner")["cases"].sum().sort_values(ascending=False).index)


def _fill(colour: str, shapes: object) -> dict[str, object]:
    pattern = {
        "shape": shapes,
        "fgcolor": "rgba(255, 255, 255, 0.45)",
        "fillmode": "overlay",
        "size": 7,
        "solidity": 0.3,
    }
    return {"color": colour, "line": {"width": 0}, "pattern": pattern}


def _narrow(order: dict[float, int]) -> dict[str, object]:
    """Return what makes room for labels below many columns."""
    return {"tickangle": -90, "tickfont": {"size": 10}} if len(order) > 8 else {"tickangle": 0}


def _axis(order: dict[float, int], labels: pd.Series, values: pd.Series) -> dict[str, object]:
    names = dict(zip(values, labels, strict=True))
    return style.AXIS | {
        "range": [-0.5, len(order) - 0.5],
        "tickvals": list(order.values()),
        "ticktext": [html.escape(names[value]) for value in order],
        "showgrid": False,
        "automargin": True,
    }
