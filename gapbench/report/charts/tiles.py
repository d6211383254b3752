"""The tiles of the winners' map: the cases of one H·W and N·C in one panel, and who wins there."""

import html

import numpy as np
import pandas as pd

from gapbench.records import UNRANKED
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style

_STEPS = 24
"""With more sizes than this on an axis, sizes share a step with all that have the same power of two."""


def cases_of(results: pd.DataFrame, winners: pd.DataFrame) -> pd.DataFrame:
    """Return one row per contested case, clock and memory: H·W, N·C, the winner (None: nobody) and its ratio."""
    contested = points.numeric(results[~results["operation"].isin(UNRANKED)])
    cases = contested.drop_duplicates([*rows.CASE]).copy()
    sizes = cases["spatial"].fillna("").str.split("x", expand=True).reindex(columns=range(3))
    cases["hw"] = sizes.apply(pd.to_numeric, errors="coerce").prod(axis=1, min_count=1)
    cases["square"] = (sizes[0] == sizes[1]) & sizes[2].isna()
    cases["nc"] = cases["n"] * cases["c"]
    kept = [*rows.CASE, "implementation", "ties", "ratio", "ratio_low", "ratio_high", "seconds"]
    won = points.numeric(winners.reindex(columns=kept)).rename(columns={"implementation": "winner"})
    won = won.drop_duplicates([*rows.CASE]).astype(dict.fromkeys(rows.CASE, object))  # also without any
    own = [*rows.CASE, "operation", "label", "shape", "dtype", "layout", "device", "pass", "threads", "contender"]
    found = cases[[*own, "hw", "square", "nc"]].merge(won, on=[*rows.CASE], how="left")
    found["winner"] = found["winner"].astype(object).where(found["winner"].notna(), None)
    found["ties"] = [", ".join(rows.names(names)) for names in found["ties"]]
    found["tie"] = found["ties"] != ""
    return found


def tiles_of(results: pd.DataFrame, winners: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return one row per tile, and sentences on what is not drawn."""
    cases = cases_of(results, winners)
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
    names = {power: f"≥{_power(power)}" for power in powers.unique()}
    return powers, powers.map(names)


def _power(exponent: float) -> str:
    size = 2.0**exponent
    unit = next(((name, scale) for name, scale in (("M", 2**20), ("k", 2**10)) if size >= scale), ("", 1))
    return f"{size / unit[1]:g}{unit[0]}"


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
