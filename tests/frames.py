"""Results and samples as hypothesis draws them, typed as the store gives them; and what every chart must keep to."""

import re

import pandas as pd
from hypothesis import strategies as st

from gapbench.analysis import summary
from gapbench.store.records import RESULTS, SAMPLES, STATUSES, case_columns, former_traits
from gapbench.store.tables import frame, table
from gapbench.workloads.cases import Case

HOSTILE = "<script>alert(1)</script><a href='javascript:x'>%{x}&amp;"

NAMES = ("mean", "fast", "slow", HOSTILE, *(f"other {number}" for number in range(7)))

CASES = (
    Case((8, 64, 7, 7), label="small head", weight=3),
    Case((8, 64, 14, 14), label=HOSTILE),
    Case((16, 32, 14, 14)),
    Case((8, 256, 56, 56), dtype="bfloat16", weight=2),
    Case((8, 256, 56, 56), layout="channels_last"),
    Case((1, 768, 197)),
    Case((2, 16, 4, 8, 8), device="cuda:0"),
    Case((0, 64, 7, 7)),
    Case((2, 64, 0, 7)),
    Case((8, 64, 7, 7), threads=2),
    Case((8, 64, 7, 7), pass_="training"),
    Case((8, 64, 7, 7), pass_="update", operation="classifier_head"),
    Case((8, 64, 7, 7), operation="global_max"),
)


def stored(rows):
    """Return rows (dicts) of results with the store's types; what a row lacks is null."""
    known = {"run": "r", "suite": "quick", "contender": "this", "clock": "host", "reference": "mean", "status": "ok"}
    return frame([table(pd.DataFrame([known | row for row in rows], columns=list(RESULTS)), RESULTS)], RESULTS)


def row(case, implementation, seconds=None, ratio=None, width=0.01, **changes):
    """Return one row of results; intervals are ``width`` on both sides."""
    values = (
        case_columns(case)
        | former_traits(case.operation, changes.get("clock", "host"))
        | {"implementation": implementation, "seconds": seconds, "ratio": ratio}
    )
    for name, value in (("seconds", seconds), ("ratio", ratio)):
        if value is not None:
            values |= {f"{name}_low": value * (1 - width), f"{name}_high": value * (1 + width)}
    if seconds is not None and case.bytes_moved:
        values["gbps"] = case.bytes_moved / seconds / 1e9
    return values | changes


seconds = st.floats(1e-7, 10)
perhaps = st.booleans().flatmap(lambda known: st.floats(1e-3, 1e3) if known else st.none())


@st.composite
def results(draw, cases=CASES, names=NAMES, most=40):
    """Draw the results of a run: any subset of cases and implementations, anything null that may be null."""
    keys = draw(st.lists(st.tuples(st.sampled_from(cases), st.sampled_from(names)), unique=True, max_size=most))
    statuses = draw(st.sampled_from([("ok",), ("failed",), ("wrong",), STATUSES]))
    rows = []
    for case, name in keys:
        status = draw(st.sampled_from(statuses))
        timed = status == "ok" and draw(st.integers(0, 9)) > 0
        drawn = row(case, name, draw(seconds) if timed else None, draw(perhaps) if timed else None, status=status)
        drawn |= {"max_error_ulp": draw(st.sampled_from([None, 0.0, 0.5, 31.0, float("inf")]))}
        drawn |= {"suite": draw(st.sampled_from(["quick", "quick", None])), "reason": HOSTILE}
        rows.append(drawn)
    return stored(rows)


@st.composite
def samples(draw, rounds=4, turns=3):
    """Draw the samples of one case by one clock, with or without the state of the machine."""
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=8))
    count = draw(st.integers(0, rounds))
    state = draw(st.booleans())
    rows = [
        {
            "run": "r", "case": CASES[0].id, "implementation": name, "contender": "this", "clock": "host",
            "round": number, "process": 10 + number, "turn": turn, "position": place, "calls": 7,
            "seconds_per_call": draw(seconds),
            "sm_clock_mhz": draw(st.sampled_from([None, 1980.0])) if state else None,
            "throttle": draw(st.sampled_from([None, "none", "sw_thermal"])) if state else None,
        }
        for number in range(count)
        for turn in range(turns)
        for place, name in enumerate(names)
    ]  # fmt: skip
    return frame([table(pd.DataFrame(rows, columns=list(SAMPLES)), SAMPLES)], SAMPLES)


EMPTY = stored([])


def winners(found):
    """Return the winners of results without samples: where nothing is known of rounds, all others tie."""
    return summary.winners(found, frame([table(pd.DataFrame(), SAMPLES)], SAMPLES))


def texts(figure):
    """Return every text of a figure that plotly reads as HTML."""

    def walk(value, key=""):
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, name)
        elif isinstance(value, (list, tuple)):
            for inner in value:
                yield from walk(inner, key)
        elif isinstance(value, str) and key in ("text", "hovertext", "name", "ticktext"):
            yield value

    found = figure.to_plotly_json()
    for trace in found["data"]:
        yield from walk({key: list(value) if hasattr(value, "tolist") else value for key, value in trace.items()})
    yield from walk(found["layout"])


def check(chart, *arguments):
    """Return figure, summary and table of a chart, all of which hold for every input what charts promise."""
    figure, words = chart.figure(*arguments), chart.summary(*arguments)
    drawn = chart.table(*arguments) if hasattr(chart, "table") else pd.DataFrame()
    assert figure.to_json()
    tags = set(re.findall(r"<[^>]*>?", " ".join(texts(figure))))
    assert tags <= {"<b>", "</b>", "<br>"}
    assert sum(len(trace.x) for trace in figure.data if trace.x is not None) <= 2000
    assert words[-1] == "."
    assert not re.search(r"\bnan\b|None|<NA>|  ", words)
    assert isinstance(drawn, pd.DataFrame)
    return figure, words, drawn
