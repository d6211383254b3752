# ruff: noqa: RUF001 - a ratio is written with a multiplication sign
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.report import rows
from gapbench.report.charts import style, times


@pytest.fixture
def case(frames):
    """The second case: avg_pool2d wins, sum_scale ties, two have no time."""
    _, results, winners = frames()
    return list(rows.cases(results, winners, results[:0]))[1].rows


def trace(figure, name):
    return next((trace for trace in figure.data if trace.name == name), None)


def test_rows_are_sorted_fastest_first(case):
    texts = [
        text.removeprefix("\u00a0\u00a0\u00a0") for text in trace(times.figure(case.sample(frac=1)), "values").text
    ]
    assert texts[:2] == ["157 µs  fastest", "159 µs  tie"]
    assert len(texts) == 9
    assert list(times.figure(case).layout.yaxis.ticktext)[::8] == ["<b>avg_pool2d</b>", "numpy"]


def test_the_winner_leads_even_where_times_alone_rank_otherwise(case):
    # The winner is chosen by ratios of neighbours in time, which noise moves less than times.
    case.loc[case["implementation"] == "avg_pool2d", "seconds"] *= 1.05
    assert times.figure(case).layout.yaxis.ticktext[0] == "<b>avg_pool2d</b>"
    assert times.summary(case).startswith("avg_pool2d is fastest at 165 µs")


def test_winner_ties_and_reference_differ_by_symbol_and_text_not_by_colour_alone(case):
    figure = times.figure(case)
    symbols = {name: trace(figure, name).marker.symbol for name in ("fastest", "tie", "reference", "other")}
    assert len(set(symbols.values())) == 4
    texts = " ".join(trace(figure, "values").text)
    assert [texts.count(mark) for mark in ("fastest", "tie", "reference")] == [1, 1, 1]
    assert [shape.x0 for shape in figure.layout.shapes] == list(case.loc[case["marks"] == "reference", "seconds"])


def test_a_reference_that_wins_says_both(frames):
    _, results, winners = frames(speeds={"mean": 1.0, "einsum": 2.0})
    case = list(rows.cases(results, winners, results[:0]))[1].rows
    assert trace(times.figure(case), "values").text[0].endswith("fastest, reference")
    assert "and it is the reference" in times.summary(case)


def test_intervals_are_drawn_on_a_log_axis(case):
    figure = times.figure(case)
    best = case.iloc[0]
    bar = trace(figure, "fastest").error_x
    assert figure.layout.xaxis.type == "log"
    assert bar.array[0] == pytest.approx(best["seconds_high"] - best["seconds"])
    assert bar.arrayminus[0] == pytest.approx(best["seconds"] - best["seconds_low"])
    low, high = figure.layout.xaxis.range
    assert low < math.log10(case["seconds_low"].min())
    assert high > math.log10(case["seconds_high"].max())


def test_a_row_without_interval_or_ratio_is_still_drawn(case):
    figure = times.figure(case.assign(seconds_low=None, seconds_high=None, ratio=None, gbps=None))
    assert set(trace(figure, "other").error_x.array) == {0.0}
    assert "×" not in trace(figure, "other").hovertext[0]
    assert "GB/s" not in trace(figure, "other").hovertext[0]


def test_names_are_text_not_markup(case):
    name = "<a href='https://example.org'>x</a>"
    figure = times.figure(case.replace({"implementation": {"avg_pool2d": name}}))
    assert "&lt;a href=" in figure.layout.yaxis.ticktext[0]
    assert "<a" not in figure.layout.yaxis.ticktext[0] + trace(figure, "fastest").hovertext[0]
    assert name in times.summary(case.replace({"implementation": {"avg_pool2d": name}}))  # plain text: escaped later


def test_long_names_are_cut_on_the_axis_only(case):
    figure = times.figure(case.replace({"implementation": {"avg_pool2d": "a" * 80}}))
    assert len(figure.layout.yaxis.ticktext[0]) < 40
    assert "a" * 80 in trace(figure, "fastest").hovertext[0]


def test_contenders_are_named_where_there_are_several(case):
    both = pd.concat([case.assign(contender="base"), case.assign(contender="head")])
    labels = times.figure(both).layout.yaxis.ticktext
    assert {"numpy (base)", "numpy (head)"} <= set(labels)


def test_the_summary_says_winner_ratio_ties_slowest_and_what_is_left_out(case):
    assert times.summary(case) == (
        "avg_pool2d is fastest at 157 µs, 0.43× the reference's time; 1 ties with it; slowest is numpy at 2.33 ms."
        " 2 of 11 without a time."
    )
    assert times.summary(case.assign(marks="")) == "9 measured, 157 µs to 2.33 ms. 2 of 11 without a time."
    assert times.summary(case[case["status"] != "ok"]) == "No time was measured. 2 of 2 without a time."


def test_a_case_of_which_nothing_was_measured_is_drawn_too(case):
    assert times.figure(case[case["status"] != "ok"]).layout.height
    assert times.summary(case[case["status"] != "ok"])


@given(st.floats(min_value=1e-9, max_value=10), st.floats(min_value=1.015, max_value=1e9))
def test_ticks_are_few_distinct_and_on_the_axis(low, span):
    axis = style.seconds_axis(low, low * span)
    assert 1 <= len(axis["tickvals"]) <= 8
    assert len(set(axis["ticktext"])) == len(axis["ticktext"])
    assert all(low * 0.999 <= mark <= low * span * 1.001 for mark in axis["tickvals"])


def test_ticks_read_as_round_times():
    assert style.seconds_axis(1.5e-5, 2.1e-4)["ticktext"] == ["20 µs", "50 µs", "100 µs", "200 µs"]
    assert style.seconds_axis(9.93e-5, 1.008e-4)["ticktext"] == ["99.5 µs", "100 µs", "100.5 µs"]
