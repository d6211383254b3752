"""Draw the ratios of a diff, head over base, with their 95 % intervals on a log axis around 1.

The most urgent verdicts come first, and the margin is a band. Symbols and words carry the meaning, colour only repeats
it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.analysis.compare import Diff
from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import style
from gapbench.statistics.verdicts import Verdict

MOST_ROWS = 30  # about two screens; the table has all rows
_MARK = 0.36  # rows below its middle
_ROW = 54  # pixels: two lines of text and one for the mark

STYLES: Mapping[str, tuple[str, str]] = {
    "regressed": ("triangle-right", style.BAD),
    "improved": ("triangle-left", style.GOOD),
    "equivalent": ("diamond", style.PLAIN),
}
"""Symbol and colour by verdict; other verdicts, which show no change, are open circles."""


def figure(diff: Diff) -> go.Figure:
    """Draw the `MOST_ROWS` most urgent ratios of a diff."""
    drawn = _rows(diff).head(MOST_ROWS).reset_index(drop=True)
    if drawn.empty:
        return style.nothing()
    margin = diff.margin
    title = f"time of head / base; the band is the margin, {100 * margin:.3g} %"
    ends = drawn[["ratio", "ratio_low", "ratio_high"]].to_numpy(dtype=float).ravel()
    low, high = style.bounds([*ends, 1 / (1 + margin), 1 + margin])
    height = _ROW * len(drawn)
    across = style.ratio_axis(low, high) | {"title": {"text": title, "standoff": 6}}
    up = style.AXIS | {"range": [len(drawn) - 0.5, -0.5], "showticklabels": False, "showgrid": False, "tickvals": []}
    legend = {"y": 1 + 6 / height}
    figure = style.figure(height + 92, {"t": 40}, legend, shapes=_lines(margin), xaxis=across, yaxis=up)
    for verdict, some in drawn.groupby("verdict", sort=False):
        symbol, colour = STYLES.get(str(verdict), ("circle-open", style.PLAIN))
        ratio = some["ratio"]
        bars = style.error_bars(some["ratio_low"].fillna(ratio), ratio, some["ratio_high"].fillna(ratio), color=colour)
        hover = [style.hover(row["implementation"], fmt.text(row["case"]), _verdict(row), row["reason"])
                 for row in rows.records(some)]  # fmt: skip
        name, x, y = str(verdict).replace("_", " "), ratio.where(ratio.notna(), None), some.index + _MARK
        figure.add_trace(style.dots(name, x, y, hover, (symbol, colour), 11, edge=True, error_x=bars))
    # names are above their marks, because a narrow screen has no room beside them
    for index, row in enumerate(rows.records(drawn)):
        clock = f", {style.short(row['clock'])}" if drawn["clock"].nunique() > 1 else ""
        text = f"<b>{style.short(row['implementation'])}</b> {_verdict(row)}{clock}<br>{style.short(row['case'], 52)}"
        figure.add_annotation(style.caption(text, index - 0.14))
    return figure


def summary(diff: Diff) -> str:
    """Summarize the ratios: their counts, the most important one, and what is not drawn."""
    ratios = _rows(diff)
    if ratios.empty:
        return "There are no ratios to draw: the diff has no rows."
    counts = ratios["verdict"].value_counts(sort=False)
    each = ", ".join(f"{fmt.count(count)} {str(verdict).replace('_', ' ')}" for verdict, count in counts.items())
    sentence = f"{fmt.counted(len(ratios), 'row')}: {each}."
    surest = ratios[ratios["verdict"].isin(["regressed", "improved"])]
    if len(surest):
        first = surest.iloc[0]
        sentence += f" First: {first['implementation']} on {first['case']}, {_ratio(first)} the time before."
    if len(ratios) > MOST_ROWS:
        sentence += f" The first {MOST_ROWS} are drawn."
    return sentence


def table(diff: Diff) -> pd.DataFrame:
    """Return the rows drawn."""
    drawn = _rows(diff).head(MOST_ROWS)
    return style.table(drawn, "case implementation clock verdict ratio ratio_low ratio_high reason")


def _rows(diff: Diff) -> pd.DataFrame:
    columns = ["case", "implementation", "clock", "verdict", "reason", "ratio", "ratio_low", "ratio_high"]
    ratios = pd.DataFrame([[getattr(row, name) for name in columns] for row in diff.rows], columns=columns)
    order = {verdict: index for index, verdict in enumerate(Verdict)}
    ratios["pressing"], ratios["verdict"] = ratios["verdict"].map(order), ratios["verdict"].map(str)
    ratios = ratios.astype(dict.fromkeys(("ratio", "ratio_low", "ratio_high"), "float64"))
    # The end of the interval that is nearer to 1 bounds the difference from below; without an interval it is 0.
    low, high, size = (np.log(ratios[name].where(ratios[name] > 0)) for name in ("ratio_low", "ratio_high", "ratio"))
    ratios = ratios.assign(least=np.maximum(np.maximum(low, -high), 0).fillna(0), size=size.abs().fillna(0))
    return ratios.sort_values(["pressing", "least", "size"], ascending=[True, False, False], kind="stable")


def _lines(margin: float) -> list[dict[str, object]]:
    line = style.vertical(1, "dot", layer="below")
    if not margin:
        return [line]
    ends = {"x0": 1 / (1 + margin), "x1": 1 + margin}
    return [line | ends | {"type": "rect", "fillcolor": style.GRID, "line": {"width": 0}}, line]


def _ratio(row: Any) -> str:
    return fmt.ratio_with_interval(row["ratio"], row["ratio_low"], row["ratio_high"])


def _verdict(row: rows.Row) -> str:
    return f"{str(row['verdict']).replace('_', ' ')} {'' if fmt.missing(row['ratio']) else _ratio(row)}".strip()
