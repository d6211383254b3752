"""Which implementation for my shape? The winner over H·W (across) and N·C (up), a panel for each dtype and layout.

A tile is the cases of one H·W and N·C; its letter and colour name the winner, hatching and ≈ say that another ties.
"""

import html
import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.records import UNRANKED
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style

_STEPS = 24
"""With more sizes than this on an axis, sizes share a step with all that have the same power of two."""

_ROW, _GAP = 24, 62  # pixels of a tile, pixels between panels
_WIDE, _TALL = 0.96, 0.86  # shares of its place that a tile fills

_NOBODY = style.Mark("–", "#5b6672", "x", "dot")  # noqa: RUF001


def figure(results: pd.DataFrame, winners: pd.DataFrame) -> go.Figure:
    """Draw the winners of one run; ``winners`` is `summary.winners` of its results and samples."""
    tiles, _ = _tiles(results, winners)
    marks = _marks(tiles)
    places = sorted(tiles["facet_place"].unique())
    panels = [tiles[tiles["facet_place"] == place] for place in places]
    heights = [_ROW * panel["y"].nunique() for panel in panels] or [_ROW]
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
    for name, mark in marks.items():  # the legend alone, so that its order is that of importance
        figure.add_bar(name=f"{mark.letter}  {style.short(name)}", x=[None], y=[None], marker={"color": mark.colour})
    if tiles["winner"].isna().any():
        figure.add_bar(name="–  nobody: all failed", x=[None], y=[None], marker={"color": _NOBODY.colour})  # noqa: RUF001
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
        figure.layout[style.layout_key(x)] = _axis(steps, tiles["x_label"], tiles["x"]) | {"anchor": y}
        figure.layout[style.layout_key(y)] = _axis(up, panel["y_label"], panel["y"]) | {"anchor": x, "domain": domain}
        figure.layout[style.layout_key(y)].title = {"text": "N·C", "font": {"size": 11}}
        figure.layout[style.layout_key(x)].title = {"text": "H·W", "font": {"size": 11}, "standoff": 4}
    return figure


def summary(results: pd.DataFrame, winners: pd.DataFrame) -> str:
    """Say who wins how many cases, how many of these are ties, and what is not drawn."""
    tiles, words = _tiles(results, winners)
    cases = _cases(results, winners)
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
    tiles, _ = _tiles(results, winners)
    names = {
        "facet": "panel", "x_label": "H·W", "y_label": "N·C", "cases": "cases", "winner": "winner", "ties": "ties",
        "ratio": "ratio to reference", "ratio_low": "ratio low", "ratio_high": "ratio high", "seconds": "seconds",
    }  # fmt: skip
    return tiles[[*names]].rename(columns=names).reset_index(drop=True)


def _cases(results: pd.DataFrame, winners: pd.DataFrame) -> pd.DataFrame:
    """Return one row per contested case and clock: H·W, N·C, the winner (None: nobody) and its ratio."""
    contested = points.numeric(results[~results["operation"].isin(UNRANKED)])
    cases = contested.drop_duplicates(["case", "clock"]).copy()
    sizes = cases["spatial"].fillna("").str.split("x", expand=True).reindex(columns=range(3))
    cases["hw"] = sizes.apply(pd.to_numeric, errors="coerce").prod(axis=1, min_count=1)
    cases["square"] = (sizes[0] == sizes[1]) & sizes[2].isna()
    cases["nc"] = cases["n"] * cases["c"]
    kept = ["case", "clock", "implementation", "ties", "ratio", "ratio_low", "ratio_high", "seconds"]
    won = winners.reindex(columns=kept).rename(columns={"implementation": "winner"})
    won = won.drop_duplicates(["case", "clock"])
    own = ["case", "clock", "operation", "label", "shape", "dtype", "layout", "device", "pass", "threads", "contender"]
    found = cases[[*own, "hw", "square", "nc"]].merge(won, on=["case", "clock"], how="left")
    found["winner"] = found["winner"].astype(object).where(found["winner"].notna(), None)
    found["ties"] = [", ".join(rows.names(names)) for names in found["ties"]]
    found["tie"] = found["ties"] != ""
    return found


def _tiles(results: pd.DataFrame, winners: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per tile, and sentences on what is not drawn."""
    cases = _cases(results, winners)
    known = cases.dropna(subset=["hw", "nc"])
    words = [f"{len(cases) - len(known)} without a shape are left out."] * (len(known) < len(cases))
    cases, panels = points.faceted(known)
    cases["x"], cases["x_label"] = _stepped(cases["hw"], cases["square"])
    cases["y"], cases["y_label"] = _stepped(cases["nc"], pd.Series(False, index=cases.index))
    if panels:
        words.append(
            f"The {cases['facet'].nunique()} panels with the most cases are drawn, {panels} are not: filter for them."
        )
    where = ["facet_place", "x", "y"]
    cases["won"] = cases.groupby([*where, "winner"])["case"].transform("size").fillna(0)
    # The tile is of who wins most often in it (of equals, of the first), and shows one of that one's cases.
    cases = cases.sort_values("won", ascending=False, kind="stable")
    groups = cases.groupby(where, sort=True)
    outright = cases[~cases["tie"]].groupby([*where, "winner"]).size().rename("outright").reset_index()
    tiles = cases.drop_duplicates(where).merge(groups.size().rename("cases").reset_index(), on=where)
    tiles = tiles.merge(outright, on=[*where, "winner"], how="left")
    tiles["tie"] = tiles["winner"].notna() & (tiles["outright"].fillna(0) * 2 <= tiles["cases"])
    if len(tiles) > style.MOST:
        words.append(f"The first {fmt.count(style.MOST)} of {fmt.count(len(tiles))} tiles are drawn.")
        tiles = tiles.head(style.MOST)
    tiles["hover"] = [_hover(row) for row in rows.records(tiles)]
    many = tiles["cases"] > 1
    tiles.loc[many, ["ratio", "ratio_low", "ratio_high", "seconds"]] = np.nan  # of one case, not of the tile
    tiles.loc[many, "ties"] = ""
    return tiles, words


def _stepped(values: pd.Series, square: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return each value's step on the axis, and that step's label."""
    if values.nunique() <= _STEPS:
        roots = np.sqrt(values)
        labels = [
            f"{root:.0f}²" if is_square and root > 1 else fmt.count(value)
            for value, root, is_square in zip(values, roots, square & (roots % 1 == 0), strict=True)
        ]
        return values, pd.Series(labels, index=values.index, dtype=object)
    powers = np.floor(np.log2(values.clip(lower=0.5)))
    names = {power: f"{_power(power)}–{_power(power + 1)}" for power in powers.unique()}  # noqa: RUF001
    return powers, powers.map(names)


def _power(exponent: float) -> str:
    size = 2.0**exponent
    unit = next(((name, scale) for name, scale in (("M", 2**20), ("k", 2**10)) if size >= scale), ("", 1))
    return f"{size / unit[1]:g}{unit[0]}"


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


def _axis(order: dict[float, int], labels: pd.Series, values: pd.Series) -> dict[str, object]:
    names = dict(zip(values, labels, strict=True))
    return style.AXIS | {
        "range": [-0.5, max(len(order), 1) - 0.5],
        "tickvals": list(order.values()),
        "ticktext": [html.escape(names[value]) for value in order],
        "showgrid": False,
        "automargin": True,
    }


def _hover(row: rows.Row) -> str:
    shape = html.escape(rows.fact("shape", row["shape"]))
    lines = [f"<b>{html.escape(fmt.text(row['label']))}</b>" if not fmt.missing(row["label"]) and row["label"] else ""]
    lines.append(f"{shape}, {html.escape(str(row['facet']))}")
    if row["cases"] > 1:
        lines.append(f"and {row['cases'] - 1} more; most often fastest: {html.escape(fmt.text(row['winner']))}")
        lines.append(f"in {row['won']:.0f} of {row['cases']}, for instance here:")
    if fmt.missing(row["winner"]):
        return "<br>".join(filter(None, [*lines, "nobody wins: nothing was measured successfully"]))
    lines.append(f"<b>{html.escape(str(row['winner']))}</b> {fmt.seconds(row['seconds'])}")
    ratio = (row["ratio"], row["ratio_low"], row["ratio_high"])
    if not fmt.missing(ratio[0]):
        lines.append(f"{fmt.ratio(ratio[0])} {fmt.ratio_interval(*ratio)} the reference's time")
    if row["ties"]:
        lines.append(f"ties: {html.escape(row['ties'])}")
    return "<br>".join(filter(None, lines))
