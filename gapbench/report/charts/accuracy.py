"""Draw accuracy against speed: the largest error in ULP over time, per implementation and case.

Left is fast, up is inaccurate. The time of a single case is in seconds, that of several is the ratio to the reference.
Wrong results have their own symbol, and are at the edge if they were not timed or have no finite error.
"""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report import rows
from gapbench.report.charts import points, style

LEAST_ULP = 0.1  # smaller errors, including 0, are drawn here: a log axis has no 0


def figure(results: pd.DataFrame) -> go.Figure:
    """Draw the rows of one run with a known error, and the wrong ones."""
    drawn, _ = _drawn(results)
    if drawn.empty:
        return style.nothing()
    ok, edges = drawn[~drawn["wrong"]], drawn[drawn["wrong"]]
    marks = style.marks(points.by_wins(points.measured(results)))
    low, high = style.bounds(drawn["x"], 0.06)
    bottom, top = LEAST_ULP / 1.6, style.bounds([*drawn["y"].dropna(), 1.0], 0.04)[1]
    in_seconds = _by(results) == "seconds"
    left, above = low / (high / low) ** 0.12, top * (top / bottom) ** 0.12
    across, up = (style.seconds_axis if in_seconds else style.ratio_axis)(low, high), style.number_axis(LEAST_ULP, top)
    if edges["x"].isna().any():
        across |= {"tickvals": [left, *across["tickvals"]], "ticktext": ["not<br>timed", *across["ticktext"]]}
        across["range"] = [np.log10(left / (high / low) ** 0.08), np.log10(high)]
    if edges["y"].isna().any():
        up |= {"tickvals": [*up["tickvals"], above], "ticktext": [*up["ticktext"], "not<br>finite"]}
        top = above * 1.5
    up["tickvals"], up["ticktext"] = [LEAST_ULP, *up["tickvals"][1:]], [f"≤ {LEAST_ULP:g}", *up["ticktext"][1:]]
    up |= {"range": [np.log10(bottom), np.log10(top)], "title": {"text": "largest error, ULP"}, "automargin": True}
    time = "time per call" if in_seconds else "time / the reference's time"
    axes = {"xaxis": across | {"title": {"text": time, "standoff": 6}}, "yaxis": up}
    figure = style.figure(400 + 22 * min(len(marks), 9), {"r": 16, "b": 50}, legend={}, **axes)
    series = [(label, (mark.symbol, mark.colour), 8, some) for label, mark, some in style.grouped(ok, marks)]
    for label, look, size, some in [*series, ("wrong", ("x-thin-open", style.BAD), 12, edges)]:
        if len(some):
            hover = [_hover(row) for row in rows.records(some)]
            x, y = some["x"].fillna(left), some["y"].fillna(above)
            more = {"edge": True, "marker": {"opacity": 0.85}, "cliponaxis": False}
            figure.add_trace(style.dots(label, x, y, hover, look, size, **more))
    return figure


def summary(results: pd.DataFrame) -> str:
    """Summarize the least accurate result with its time, and the wrong results."""
    shown, left_out = _points(results)
    ok, wrong = shown[~shown["wrong"]], shown[shown["wrong"]]
    sentences = ["No accepted result has a known error and time."]
    if len(ok):
        worst = ok.sort_values("max_error_ulp").iloc[-1]
        in_seconds = _by(results) == "seconds"
        time = fmt.seconds(worst["x"]) if in_seconds else f"{fmt.ratio(worst['x'])} the reference's time"
        sentences = [
            f"The largest error of {fmt.count(len(ok))} accepted results is {fmt.number(worst['max_error_ulp'])} ULP, "
            f"of {worst['implementation']} on {worst['case']}, which takes {time}."
        ]
    if len(wrong):
        names = ", ".join(dict.fromkeys(map(str, wrong["implementation"])))
        count, untimed = fmt.count(len(wrong)), fmt.count(int(wrong["x"].isna().sum()))
        verb = "is" if len(wrong) == 1 else "are"
        sentences.append(f"{count} {verb} wrong: {names}; {untimed} of {count} not timed.")
    else:
        sentences.append("No result is wrong.")
    if left_out:
        sentences.append(f"{fmt.count(left_out)} without an error or a time are left out.")
    drawn, _ = _drawn(results)
    if len(drawn) < len(shown):
        sentences.append(f"{fmt.count(len(shown))} results share {fmt.count(len(drawn))} marks.")
    return " ".join(sentences)


def table(results: pd.DataFrame) -> pd.DataFrame:
    """Return the marks."""
    time = "seconds" if _by(results) == "seconds" else "ratio to reference"
    columns = "case cases implementation status max_error_ulp x reason"
    return style.table(_drawn(results)[0], columns, max_error_ulp="largest error (ULP)", x=time)


def _by(results: pd.DataFrame) -> str:
    return "seconds" if len(results[[*rows.CASE]].drop_duplicates()) <= 1 else "ratio"


def _points(results: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the rows to draw (at ``x``, ``y``; nan for the edge), and the number of ok rows left out."""
    frame = points.numeric(results)
    wrong, ok = frame["status"] == "wrong", frame["status"] == "ok"
    time, error = frame[_by(results)], frame["max_error_ulp"]
    x, y = time.where(time.gt(0) & np.isfinite(time)), error.where(np.isfinite(error)).clip(lower=LEAST_ULP)
    complete = x.notna() & y.notna()
    return frame.assign(wrong=wrong, x=x, y=y)[wrong | (ok & complete)], int((ok & ~complete).sum())


def _drawn(results: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    shown, left_out = _points(results)
    ok = points.cells(shown[~shown["wrong"]], ["implementation"], "x", "y", style.MOST - 200)
    # Wrong results at one position share a mark, with the number of cases.
    wrong = shown[shown["wrong"]]
    mark = ["implementation", "x", "y"]
    wrong = wrong.assign(cases=wrong.groupby(mark, dropna=False)["wrong"].transform("size"))
    wrong = wrong.drop_duplicates(mark).sort_values("cases", ascending=False, kind="stable").head(200)
    drawn = pd.concat([ok, wrong], ignore_index=True) if len(wrong) else ok.reset_index(drop=True)
    drawn.loc[(drawn["cases"] > 1) & ~drawn["wrong"].astype(bool), "max_error_ulp"] = drawn["y"]
    return drawn.assign(wrong=drawn["wrong"].astype(bool)), left_out


def _hover(row: rows.Row) -> str:
    case = fmt.text(row["case"])
    if row["cases"] > 1:
        case = f"{row['cases']} results{f', for example {case}' if row['wrong'] else ' around'}"
    error = f"largest error {fmt.number(row['max_error_ulp'])} ULP"
    return style.hover(row["implementation"], case, error, str(row["reason"]) if row["wrong"] else "")
