"""Draw the winner by shape: over H·W (across) and N·C (up), with a panel for each dtype and layout.

A tile has the cases of one H·W and N·C. Its letter and colour identify the winner; hatching and ≈ mark a tie.
"""

import html
import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import style

CONTEXT = ("operation", "device", "pass", "threads", "clock", "memory", "contender")
"""Columns besides dtype and layout whose different values must not share a panel."""

_STEPS = 24  # with more sizes on an axis, sizes with the same power of two share a step
_ROW, _GAP = 24, 72  # pixels of a tile, pixels between panels
_WIDE, _TALL = 0.96, 0.86  # the filled shares of a tile's cell
_NOBODY = style.Mark("–", "#5b6672", "x", "dot")  # noqa: RUF001


def figure(results: pd.DataFrame, winners: pd.DataFrame) -> go.Figure:
    """Draw the winners of one run; ``winners`` is `summary.winners` of its results and samples."""
    tiles, _ = _tiles(results, winners)
    if tiles.empty:
        return style.nothing()
    marks = style.marks(map(str, tiles.groupby("winner")["cases"].sum().sort_values(ascending=False).index))
    groups = [group for _, group in tiles.groupby("facet_place")]
    heights = [_ROW * group["y"].nunique() for group in groups]
    height = sum(heights) + _GAP * len(heights) + 24 * math.ceil((len(marks) + 2) / 2) + 40
    legend = {"y": 1 + 28 / sum(heights), "traceorder": "normal"}
    figure = style.figure(height, legend=legend, barmode="overlay", bargap=0)
    for entry, marker in _legend(tiles, marks):
        figure.add_bar(name=entry, x=[None], y=[None], marker=marker)
    steps = _order(tiles["x"])
    title = {"text": "H·W", "font": {"size": 11}, "standoff": 4}
    across = _axis(steps, tiles["x_label"], tiles["x"]) | {"title": title}
    many = len(steps) > 8  # many labels must be rotated
    across |= {"tickangle": -90, "tickfont": {"size": 10}} if many else {"tickangle": 0}
    inside = {"textposition": "inside", "insidetextanchor": "middle", "textangle": 0, "cliponaxis": False}
    inside |= {"textfont": {"color": "#ffffff", "size": 12}, "hoverinfo": "text"}
    for group, panel in zip(groups, style.panels(heights, _GAP), strict=True):
        order = _order(group["y"])
        for name, some in group.groupby("winner", dropna=False):
            mark = _NOBODY if fmt.missing(name) else marks[str(name)]
            ties = some["tie"].to_numpy(dtype=bool)
            figure.add_bar(
                name=style.short(name), showlegend=False, x=some["x"].map(steps), y=[_TALL] * len(some),
                base=some["y"].map(order) - _TALL / 2, width=_WIDE, xaxis=panel.x, yaxis=panel.y,
                marker=_fill(mark.colour, np.where(ties, "/", "")),
                text=np.where(ties, f"{mark.letter}≈", mark.letter), hovertext=some["hover"], **inside,
            )  # fmt: skip
        up = _axis(order, group["y_label"], group["y"]) | {"title": {"text": "N·C", "font": {"size": 11}}}
        panel.show(figure, across, up, group["facet"].iloc[0])
    return figure


def summary(results: pd.DataFrame, winners: pd.DataFrame) -> str:
    """Summarize the winners, the ties, and what is not drawn."""
    tiles, words = _tiles(results, winners)
    sentence = rows.headline(results, winners)
    if ties := int(_cases(results, winners)["tie"].sum()):
        sentence += f" {fmt.counted(ties, 'case has', 'cases have')} a tie."
    if len(tiles) and tiles["cases"].max() > 1:
        sentence += (
            f" {fmt.count(int(tiles['cases'].sum()))} cases share {fmt.count(len(tiles))} tiles; each shows the winner "
            "of most of its cases, hatched unless it wins more than half of them without a tie."
        )
    return " ".join([sentence, *words])


def table(results: pd.DataFrame, winners: pd.DataFrame) -> pd.DataFrame:
    """Return the tiles: their positions, winners and ratios."""
    columns = "facet x_label y_label cases winner ties ratio ratio_low ratio_high seconds"
    titles = {"facet": "panel", "x_label": "H·W", "y_label": "N·C", "ratio": "ratio to reference"}
    return style.table(_tiles(results, winners)[0], columns, **titles)


def _order(values: pd.Series) -> dict[float, int]:
    return {value: index for index, value in enumerate(sorted(values.unique()))}


def _legend(tiles: pd.DataFrame, marks: dict[str, style.Mark]) -> Iterator[tuple[str, dict[str, object]]]:
    most = len(style.SERIES)
    for name, mark in [*marks.items()][: most + (len(marks) == most + 1)]:
        yield f"{mark.letter}  {style.short(name)}", {"color": mark.colour}
    if len(marks) > most + 1:
        yield f"+  {len(marks) - most} others", {"color": style.OTHER.colour}
    if tiles["winner"].isna().any():
        yield "–  no winner", {"color": _NOBODY.colour}  # noqa: RUF001
    if tiles["tie"].any():
        yield "≈  hatched: others tie", _fill(style.PLAIN, ["/"])


def _fill(colour: str, shapes: object) -> dict[str, object]:
    faint = "rgba(255, 255, 255, 0.45)"
    pattern = {"shape": shapes, "fgcolor": faint, "fillmode": "overlay", "size": 7, "solidity": 0.3}
    return {"color": colour, "line": {"width": 0}, "pattern": pattern}


def _axis(order: dict[float, int], labels: pd.Series, values: pd.Series) -> dict[str, object]:
    names = dict(zip(values, labels, strict=True))
    return style.AXIS | {
        "range": [-0.5, len(order) - 0.5],
        "tickvals": list(order.values()),
        "ticktext": [html.escape(names[value]) for value in order],
        "showgrid": False,
        "automargin": True,
    }


def _cases(results: pd.DataFrame, winners: pd.DataFrame) -> pd.DataFrame:
    """Return one row per ranked case, clock and memory: H·W, N·C, the winner (None without one) and its ratio."""
    contested = rows.numeric(results[results["ranked"].astype(bool)])
    cases = contested.drop_duplicates([*rows.CASE]).copy()
    sizes = cases["spatial"].fillna("").str.split("x", expand=True).reindex(columns=range(3))
    cases["hw"] = sizes.apply(pd.to_numeric, errors="coerce").prod(axis=1, min_count=1)
    cases["square"] = (sizes[0] == sizes[1]) & sizes[2].isna()
    cases["nc"] = cases["n"] * cases["c"]
    kept = [*rows.CASE, "implementation", "ties", "ratio", "ratio_low", "ratio_high", "seconds"]
    won = rows.numeric(winners.reindex(columns=kept)).rename(columns={"implementation": "winner"})
    won = won.drop_duplicates([*rows.CASE]).astype(dict.fromkeys(rows.CASE, object))  # also without any
    own = [*rows.CASE, "operation", "label", "shape", "dtype", "layout", "device", "pass", "threads", "contender"]
    decided = cases[[*own, "hw", "square", "nc"]].merge(won, on=[*rows.CASE], how="left")
    decided["winner"] = decided["winner"].astype(object).where(decided["winner"].notna(), None)
    decided["ties"] = [", ".join(rows.names(names)) for names in decided["ties"]]
    decided["tie"] = decided["ties"] != ""
    return decided


def _tiles(results: pd.DataFrame, winners: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per tile, and sentences on what is not drawn."""
    cases = _cases(results, winners)
    shaped = cases.dropna(subset=["hw", "nc"])
    words = [f"{len(cases) - len(shaped)} without a shape are left out."] * (len(shaped) < len(cases))
    cases, panels = faceted(shaped)
    cases["x"], cases["x_label"] = _stepped(cases["hw"], cases["square"])
    cases["y"], cases["y_label"] = _stepped(cases["nc"], pd.Series(False, index=cases.index))
    if panels:
        drawn = cases["facet"].nunique()
        words.append(f"The {drawn} panels with the most cases are drawn, {panels} are not: filter for them.")
    tile = ["facet_place", "x", "y"]
    won = cases.assign(outright=~cases["tie"]).groupby([*tile, "winner"])
    cases = cases.assign(
        cases=cases.groupby(tile)["case"].transform("size"),
        won=won["case"].transform("size").fillna(0),
        outright=won["outright"].transform("sum").fillna(0),
    )
    # A tile shows one case of the implementation that wins most of its cases, the first of equals.
    tiles = cases.sort_values("won", ascending=False, kind="stable").drop_duplicates(tile).reset_index(drop=True)
    tiles["tie"] = tiles["winner"].notna() & (tiles["outright"] * 2 <= tiles["cases"])
    if len(tiles) > style.MOST:
        words.append(f"The first {fmt.count(style.MOST)} of {fmt.count(len(tiles))} tiles are drawn.")
        tiles = tiles.head(style.MOST)
    tiles["hover"] = [_hover(row) for row in rows.records(tiles)]
    many = tiles["cases"] > 1
    tiles.loc[many, ["ratio", "ratio_low", "ratio_high", "seconds"]] = np.nan  # of one case, not of the tile
    tiles.loc[many, "ties"] = ""
    return tiles, words


def faceted(frame: pd.DataFrame, most: int = 12) -> tuple[pd.DataFrame, int]:
    """Add ``facet``, the title of a row's panel; return the rows of the ``most`` largest facets, and count the others.

    A facet is a dtype and layout, and the columns of `CONTEXT` that vary.
    """
    columns = ["dtype", "layout", *rows.varying(frame, CONTEXT)]
    sizes = frame.groupby(columns, dropna=False, sort=True).size().sort_values(ascending=False, kind="stable")
    keys = sizes.index.to_frame(index=False)
    keys["facet"] = [", ".join(rows.fact(name, key[name]) for name in columns) for key in rows.records(keys)]
    kept = keys.head(most).assign(facet_place=range(min(most, len(keys))))
    return frame.merge(kept, on=columns, how="inner"), max(0, len(keys) - most)


def _stepped(values: pd.Series, square: pd.Series) -> tuple[pd.Series, pd.Series]:
    if values.nunique() <= _STEPS:
        roots = np.sqrt(values)
        labels = [
            f"{root:.0f}²" if is_square and root > 1 else fmt.count(value)
            for value, root, is_square in zip(values, roots, square & (roots % 1 == 0), strict=True)
        ]
        return values, pd.Series(labels, index=values.index, dtype=object)
    powers = np.floor(np.log2(values.clip(lower=0.5)))
    names = {}
    for power in powers.unique():
        scale, unit = next((step for step in ((2**20, "M"), (2**10, "k")) if 2**power >= step[0]), (1, ""))
        names[power] = f"≥{2**power / scale:g}{unit}"
    return powers, powers.map(names)


def _hover(row: rows.Row) -> str:
    lines = [] if fmt.missing(row["label"]) or not row["label"] else [f"<b>{html.escape(str(row['label']))}</b>"]
    lines.append(html.escape(f"{rows.fact('shape', row['shape'])}, {row['facet']}"))
    if row["cases"] > 1:
        lines.append(f"and {row['cases'] - 1} more; fastest in most: {html.escape(fmt.text(row['winner']))}")
        lines.append(f"in {row['won']:.0f} of {row['cases']}, for example here:")
    if fmt.missing(row["winner"]):
        return "<br>".join([*lines, "no winner: nothing was measured successfully"])
    lines.append(f"<b>{html.escape(str(row['winner']))}</b> {fmt.seconds(row['seconds'])}")
    ratio = (row["ratio"], row["ratio_low"], row["ratio_high"])
    if not fmt.missing(ratio[0]):
        lines.append(f"{fmt.ratio_with_interval(*ratio)} the reference's time")
    if row["ties"]:
        lines.append(f"ties: {html.escape(row['ties'])}")
    return "<br>".join(lines)
