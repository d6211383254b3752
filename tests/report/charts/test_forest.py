# ruff: noqa: RUF001 - ratios are written with a multiplication sign
from dataclasses import replace

import pytest
from frames import CASES, EMPTY, HOSTILE, check, results, row, stored
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import two_sides

from gapbench.analysis.compare import Diff, Row, compare
from gapbench.report.charts import forest
from gapbench.statistics.verdicts import Verdict

CASE = CASES[0]

ratios = st.none() | st.floats(0.01, 100).map(lambda ratio: (ratio, ratio * 0.99, ratio * 1.01))


@st.composite
def diffs(draw):
    rows = [
        Row(
            "quick", CASE.id, f"{HOSTILE}{index}", draw(st.sampled_from(["host", "graph_warm"])), "spec",
            draw(st.sampled_from(list(Verdict))), draw(st.sampled_from(["", HOSTILE])), *(draw(ratios) or (None,) * 3),
        )
        for index in range(draw(st.integers(0, 45)))
    ]  # fmt: skip
    return Diff({}, {}, draw(st.sampled_from([0.0, 0.01, 0.1])), tuple(rows))


@settings(max_examples=25)
@given(results())
def test_any_run_gives_a_forest_that_counts_right(result):
    _, words, table = check(forest, result)
    compared = result[(result["status"] == "ok") & result["ratio"].gt(0) & result["seconds"].gt(0)]
    compared = compared[compared["implementation"] != "mean"]
    assert len(table) == min(len(compared), forest.MOST_ROWS)
    if len(compared):
        assert words.startswith(f"{len(compared)} row")
        slower = int((compared["ratio_low"] > 1).sum())
        assert (f"{slower} slower" in words) == (slower > 0)


@settings(max_examples=25)
@given(diffs())
def test_any_diff_gives_a_forest_with_every_verdict_counted_most_pressing_first(diff):
    _, words, table = check(forest, diff)
    for verdict, count in diff.summary.items():
        assert f"{count} {verdict.replace('_', ' ')}" in words
    order = [list(Verdict).index(Verdict(item)) for item in table["verdict"]]
    assert order == sorted(order)
    assert len(table) == min(len(diff.rows), forest.MOST_ROWS)


def test_what_surely_beats_the_reference_comes_first():
    result = stored(
        [
            row(CASE, "mean", 1e-5, 1.0),
            row(CASE, "slow", 1e-5, 3.0),
            row(CASE, "vague", 1e-5, 0.5, width=1.5),
            row(CASE, "good", 1e-5, 0.7),
            row(CASE, "best", 1e-5, 0.6),
            row(CASES[11], "head", 1e-5, 0.1),
        ]
    )
    assert forest.table(result)["implementation"].tolist() == ["best", "good", "slow", "vague", "head"]
    assert forest.summary(result) == (
        f"5 rows: 3 faster, 1 slower, 1 no difference shown. First: best on {CASE.id}, 0.60× [0.594, 0.606] the "
        "reference's time."
    )


def test_verdicts_differ_by_symbol_and_words():
    base, head = two_sides(head={"changes": {"fast": 1.08, "slow": 0.9}})
    diff = compare(base, head)
    figure, words, _ = check(forest, diff)
    symbols = {trace.name: trace.marker.symbol for trace in figure.data}
    assert {"regressed", "improved", "inconclusive"} <= set(symbols)
    assert len(set(symbols.values())) == len(symbols)
    message = " ".join(annotation.text for annotation in figure.layout.annotations)
    assert "<b>fast</b> regressed 1.08×" in message
    assert "First: fast on" in words


def test_the_margin_is_a_band():
    diff = compare(*two_sides())
    band = next(shape for shape in forest.figure(replace(diff, margin=0.05)).layout.shapes if shape.type == "rect")
    assert (band.x0, band.x1) == pytest.approx((1 / 1.05, 1.05))
    assert "5 %" in forest.figure(replace(diff, margin=0.05)).layout.xaxis.title.text
    assert all(shape.type == "line" for shape in forest.figure(EMPTY).layout.shapes)


def test_what_was_not_compared_is_a_row_of_text():
    diff = Diff({}, {}, 0.01, (Row("quick", CASE.id, "new", "host", "new", Verdict.ADDED, "not in base"),))
    figure = forest.figure(diff)
    assert figure.layout.annotations[0].text.startswith("<b>new</b> added")


def test_no_rows():
    assert forest.table(EMPTY).empty
    assert forest.summary(EMPTY) == "There are no ratios to draw: nothing was measured beside a reference."
