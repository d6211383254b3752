"""Draw the roofline: GB/s over the bytes that must move, below the ceilings that apply to the run's rows."""

import html
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from gapbench.report import format as fmt
from gapbench.report import plain_text, rows
from gapbench.report.charts import style
from gapbench.store import ceilings as limits

Ceilings = limits.Known


def figure(results: pd.DataFrame, ceilings: Ceilings = None, peak: float | None = None) -> go.Figure:
    """Draw the rows of one run that have GB/s; ``peak`` is the memory's bandwidth by its datasheet, in GB/s."""
    drawn = _drawn(_measured(results))
    if drawn.empty:
        return style.nothing()
    levels = _levels(results, ceilings)
    marks = style.marks(_by_wins(drawn))
    left, right = style.bounds(drawn["bytes_moved"])
    low, high = style.bounds([*drawn["gbps"], *(limit.gbps or 0.0 for limit, _ in levels), *([peak] if peak else [])])
    figure = style.figure(
        420 + 22 * min(len(marks), 9),
        legend={},
        xaxis=style.bytes_axis(left, right) | {"title": {"text": "bytes that must move", "standoff": 6}},
        yaxis=style.log_axis(low, high) | {"title": {"text": "GB/s"}, "automargin": True},
    )
    for label, mark, some in style.grouped(drawn, marks):
        hover = [_hover(row) for row in rows.records(some)]
        x, y, look = some["bytes_moved"], some["gbps"], (mark.symbol, mark.colour)
        figure.add_trace(style.dots(label, x, y, hover, look, marker={"opacity": 0.85}))
    for limit, start in levels:
        ends = [max(left, start), min(right, _holds(limit))]
        if ends[0] < ends[1]:
            at_left = ends[0] * ends[1] < left * right  # the label is at the end with more room
            threads = "" if limit.threads is None else f", {rows.fact('threads', limit.threads)}"
            name = f"{fmt.text(limit.level)} {limit.kind} {fmt.number(limit.gbps)} GB/s{threads}"
            _line(figure, ends, limit.gbps or 0.0, html.escape(name), "solid", at_left)
    if peak:
        _line(figure, [left, right], peak, f"datasheet peak {fmt.number(peak)} GB/s", "dash")
    return figure


def summary(results: pd.DataFrame, ceilings: Ceilings = None, peak: float | None = None) -> str:
    """Summarize the highest bandwidth and its share of the limit, or say that no limit is known."""
    timed = _measured(results)
    if timed.empty:
        return "No bandwidth is known: nothing that moves a known number of bytes was measured."
    share, by_speed = timed["gbps"] / _limits(timed, ceilings), timed.sort_values("gbps")
    largest = by_speed[by_speed["bytes_moved"] == by_speed["bytes_moved"].max()]  # caches may serve smaller ones
    nearest = timed.iloc[int(np.nanargmax(share))] if share.notna().any() else None
    return plain_text.sentences(
        "roofline.txt.j2", best=by_speed.iloc[-1], nearest=nearest, share=share.max(), above=(share > 1).sum(),
        largest=largest.iloc[-1], peak=peak, timed=len(timed), drawn=len(_drawn(timed)), most=style.MOST,
    )  # fmt: skip


def table(results: pd.DataFrame, ceilings: Ceilings = None, peak: float | None = None) -> pd.DataFrame:
    """Return the marks, and what share of its ceiling each reaches."""
    drawn = _drawn(_measured(results))
    drawn = drawn.assign(ceiling=_limits(drawn, ceilings), peak=np.nan if peak is None else peak)
    drawn["share"] = 100 * drawn["gbps"] / drawn["ceiling"]
    titles = {"gbps": "GB/s", "ceiling": "ceiling GB/s", "share": "% of ceiling", "peak": "datasheet peak GB/s"}
    return style.table(drawn, "case cases implementation bytes_moved gbps ceiling share peak", **titles)


def _measured(results: pd.DataFrame) -> pd.DataFrame:
    frame = rows.numeric(results)
    timed = (frame["status"] == "ok") & frame["seconds"].gt(0) & frame["gbps"].gt(0) & np.isfinite(frame["gbps"])
    kept: pd.DataFrame = frame[timed & frame["bytes_moved"].gt(0)]
    return kept


def _by_wins(results: pd.DataFrame) -> list[str]:
    """Return the implementations of measured rows, those that are fastest in most cases first, then by name."""
    if results.empty:
        return []
    key = [name for name in ("run", "case", "clock", "memory") if results[name].notna().any()]
    best = results["seconds"] == results.groupby(key, dropna=False)["seconds"].transform("min") if key else False
    wins = results.assign(best=best).groupby("implementation")["best"].sum()
    return [str(name) for name in wins.sort_index().sort_values(ascending=False, kind="stable").index]


def _drawn(timed: pd.DataFrame) -> pd.DataFrame:
    """Return the marks: of many rows the medians of each implementation in each quarter of an octave of sizes."""
    if len(timed) <= style.MOST:
        return timed.assign(cases=1)
    groups = timed.groupby([timed["implementation"], np.round(4 * np.log2(timed["bytes_moved"]))])
    medians = {name: groups[name].transform("median") for name in ("bytes_moved", "gbps")}
    drawn = groups.head(1).assign(cases=groups["case"].transform("size"), **medians).head(style.MOST)
    return drawn.reset_index(drop=True)


def _levels(results: pd.DataFrame, ceilings: Ceilings) -> list[tuple[limits.Ceiling, float]]:
    """Return the ceilings that apply to rows, smallest level first, each with the size from which it limits."""
    kinds = {kind for pass_, kind in limits.KIND_OF_PASS.items() if (results["pass"] == pass_).any()}
    threads, devices = ({None, *results[name].dropna()} for name in ("threads", "device"))
    of_device: dict[object, list[limits.Ceiling]] = defaultdict(list)
    for limit in sorted(limits.bandwidths(ceilings, kinds), key=_holds):
        if limit.threads in threads and limit.device in devices:
            of_device[limit.device, limit.kind, limit.threads].append(limit)
    return [pair for alike in of_device.values() for pair in zip(alike, [0.0, *map(_holds, alike)], strict=False)]


def _holds(limit: limits.Ceiling) -> float:
    return math.inf if limit.bytes is None else limit.bytes


def _limits(timed: pd.DataFrame, ceilings: Ceilings) -> pd.Series:
    of = [limits.limit_of(ceilings, row) for row in rows.records(timed)]
    return pd.Series([np.nan if limit is None else limit.gbps for limit in of], index=timed.index, dtype=float)


def _line(figure: go.Figure, ends: list[float], gbps: float, label: str, dash: str, at_left: bool = False) -> None:
    text, look = [label, ""] if at_left else ["", label], (style.PLAIN, dash)
    position = "top right" if at_left else "top left"
    more = {"mode": "lines+text", "text": text, "textposition": position, "showlegend": False}
    figure.add_trace(style.line(None, ends, [gbps, gbps], label, look, **more))


def _size(row: Any) -> str:
    return fmt.size(row["bytes_moved"])


def _hover(row: rows.Row) -> str:
    case = f"{row['cases']} measurements around" if row["cases"] > 1 else fmt.text(row["case"])
    return style.hover(row["implementation"], case, f"{fmt.number(row['gbps'])} GB/s at {_size(row)}")
