"""Is it fast because it is wrong? The largest error in ULP against time, per implementation and case.

Left is fast, up is inaccurate. Of one case the time is in seconds, of several it is the ratio to the reference's time.
Wrong results have a symbol of their own; where they were not timed, or have no finite error, they stand at the edge.
"""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style

LEAST_ULP = 0.1
"""Smaller errors, 0 among them, are drawn here: a log axis has no 0."""


def figure(results: pd.DataFrame) -> go.Figure:
    """Draw the rows of one run whose error is known, and those that are wrong."""
    drawn, _ = _drawn(results)
    if drawn.empty:
        return style.nothing()
    by = _by(results)
    ok = drawn[~drawn["wrong"]]
    marks = style.marks(points.by_wins(points.measured(results)))
    low, high = style.bounds(drawn["x"], 0.06)
    bottom, top = LEAST_ULP / 1.6, style.bounds([*drawn["y"].dropna(), 1.0], 0.04)[1]
    axis = style.seconds_axis if by == "seconds" else style.ratio_axis
    title = "time per call" if by == "seconds" else "time / the reference's time"
    left, above = low / (high / low) ** 0.12, top * (top / bottom) ** 0.12
    across, up = axis(low, high), style.number_axis(LEAST_ULP, top)
    edges = drawn[drawn["wrong"]]
    if edges["x"].isna().any():
        across |= {"tickvals": [left, *across["tickvals"]], "ticktext": ["not<br>timed", *across["ticktext"]]}
        across["range"] = [np.log10(left / (high / low) ** 0.08), np.log10(high)]
    if edges["y"].isna().any():
        up |= {"tickvals": [*up["tickvals"], above], "ticktext": [*up["ticktext"], "not<br>finite"]}
    up["tickvals"], up["ticktext"] = [LEAST_ULP, *up["tickvals"][1:]], [f"≤ {LEAST_ULP:g}", *up["ticktext"][1:]]
    figure = go.Figure(
        layout=style.LAYOUT
        | {
            "height": 400 + 22 * min(len(marks), 9),
            "margin": {"l": 8, "r": 16, "t": 8, "b": 50},
            "showlegend": True,
            "legend": style.LEGEND,
            "xaxis": across | {"title": {"text": title, "standoff": 6}},
            "yaxis": up
            | {
                "range": [np.log10(bottom), np.log10(above * 1.5 if edges["y"].isna().any() else top)],
                "title": {"text": "largest error, ULP"},
                "automargin": True,
            },
        }
    )
    for label, mark, some in style.grouped(ok, marks):
        if len(some):
            _add(figure, label, some, some["x"], some["y"], mark.symbol, mark.colour, 8)
    if len(edges):
        _add(figure, "wrong", edges, edges["x"].fillna(left), edges["y"].fillna(above), "x-thin-open", style.BAD, 12)
    return figure


def summary(results: pd.DataFrame) -> str:
    """Say who is least accurate, whether that is fast, and what is wrong."""
    found, left_out = _points(results)
    ok, wrong = found[~found["wrong"]], found[found["wrong"]]
    sentences = []
    if len(ok):
        worst = ok.sort_values("max_error_ulp").iloc[-1]
        sentences.append(
            f"The largest error of {fmt.count(len(ok))} accepted results is {fmt.number(worst['max_error_ulp'])} ULP, "
            f"of {worst['implementation']} on {worst['case']}, which takes {_time(worst, _by(results))}."
        )
    else:
        sentences.append("No accepted result has a known error and time.")
    if len(wrong):
        names = ", ".join(dict.fromkeys(map(str, wrong["implementation"])))
        untimed = int(wrong["x"].isna().sum())
        sentence = f"{fmt.count(len(wrong))} {'is' if len(wrong) == 1 else 'are'} wrong: {names}"
        sentences.append(f"{sentence}; {fmt.count(untimed)} of {fmt.count(len(wrong))} not timed.")
    else:
        sentences.append("No result is wrong.")
    if left_out:
        sentences.append(f"{fmt.count(left_out)} without an error or a time are left out.")
    drawn, _ = _drawn(results)
    if len(drawn) < len(found):
        sentences.append(f"{fmt.count(len(found))} results share {fmt.count(len(drawn))} marks.")
    return " ".join(sentences)


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the marks."""
    drawn, _ = _drawn(results)
    names = {
        "case": "case", "cases": "cases", "implementation": "implementation", "status": "status",
        "max_error_ulp": "largest error (ULP)", "x": "seconds" if _by(results) == "seconds" else "ratio to reference",
        "reason": "reason",
    }  # fmt: skip
    return drawn[[*names]].rename(columns=names).reset_index(drop=True)


def _by(results: pd.DataFrame) -> str:
    return "seconds" if len(results[[*rows.CASE]].drop_duplicates()) <= 1 else "ratio"


def _points(results: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the rows that have a place (``x``, ``y``; nan at the edge), and how many ok ones have none."""
    frame = points.numeric(results)
    wrong = frame["status"] == "wrong"
    time = frame[_by(results)]
    frame = frame.assign(wrong=wrong, x=time.where(time.gt(0) & np.isfinite(time)))
    error = frame["max_error_ulp"].where(np.isfinite(frame["max_error_ulp"]))
    frame["y"] = error.clip(lower=LEAST_ULP)
    known = frame["x"].notna() & frame["y"].notna()
    return frame[wrong | ((frame["status"] == "ok") & known)], int(((frame["status"] == "ok") & ~known).sum())


def _drawn(results: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    found, left_out = _points(results)
    ok = points.cells(found[~found["wrong"]], ["implementation"], "x", "y", style.MOST - 200)
    wrong = found[found["wrong"]]
    # What is wrong for one reason stands in one place: a mark for each, with their number.
    where = ["implementation", "x", "y"]
    first = wrong.drop_duplicates(where)
    counts = wrong.groupby(where, dropna=False).size().rename("cases").reset_index()
    first = first.merge(counts, on=where).sort_values("cases", ascending=False, kind="stable").head(200)
    drawn = pd.concat([ok, first], ignore_index=True) if len(first) else ok
    drawn.loc[(drawn["cases"] > 1) & ~drawn["wrong"].astype(bool), "max_error_ulp"] = drawn["y"]
    return drawn.assign(wrong=drawn["wrong"].astype(bool)), left_out


def _time(row: pd.Series, by: str) -> str:
    return fmt.seconds(row["x"]) if by == "seconds" else f"{fmt.ratio(row['x'])} the reference's time"


def _add(
    figure: go.Figure, name: str, some: pd.DataFrame, x: pd.Series, y: pd.Series, symbol: str, colour: str, size: int
) -> None:
    figure.add_scatter(
        name=name,
        mode="markers",
        x=x,
        y=y,
        marker={
            "symbol": symbol,
            "color": colour,
            "size": size,
            "opacity": 0.85,
            "line": {"width": 2, "color": colour},
        },
        cliponaxis=False,
        hovertext=[_hover(row) for row in rows.records(some)],
        hoverinfo="text",
    )


def _hover(row: rows.Row) -> str:
    many = row["cases"] > 1
    lines = [f"<b>{html.escape(fmt.text(row['implementation']))}</b>", html.escape(fmt.text(row["case"]))]
    if many:
        lines[1] = f"{row['cases']} results{', for instance ' + lines[1] if row['wrong'] else ' around'}"
    lines.append(f"largest error {fmt.number(row['max_error_ulp'])} ULP")
    return "<br>".join([*lines, *([html.escape(str(row["reason"]))] if row["wrong"] else [])])
