# ruff: noqa: RUF001 - ratios are written with a multiplication sign
from dataclasses import replace

import pytest
from frames import CASES, HOSTILE, check
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
@given(diffs())
def test_any_diff_gives_a_forest_with_every_verdict_counted_most_pressing_first(diff):
    _, words, table = check(forest, diff)
    for verdict, count in diff.summary.items():
        assert f"{count} {verdict.replace('_', ' ')}" in words
    order = [list(Verdict).index(Verdict(item)) for item in table["verdict"]]
    assert order == sorted(order)
    assert len(table) == min(len(diff.rows), forest.MOST_ROWS)


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
    assert all(shape.type == "line" for shape in forest.figure(replace(diff, margin=0.0)).layout.shapes)


def test_what_was_not_compared_is_a_row_of_text():
    diff = Diff({}, {}, 0.01, (Row("quick", CASE.id, "new", "host", "new", Verdict.ADDED, "not in base"),))
    figure = forest.figure(diff)
    assert figure.layout.annotations[0].text.startswith("<b>new</b> added")


def test_no_rows():
    empty = Diff({}, {}, 0.01, ())
    assert forest.table(empty).empty
    assert forest.summary(empty) == "There are no ratios to draw: the diff has no rows."
