# ruff: noqa: RUF001 - ratios are written with a multiplication sign
from frames import CASES, HOSTILE, check
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.analysis.history import Change, Point, Trend
from gapbench.report.charts import trend


def a_trend(seconds, changes=(), news=None, interval=0.01):
    points = [
        Point(
            f"run {index}", f"{index:07x}" * 5 if index % 2 else None, None, row,
            row * (1 - interval) if interval else None, row * (1 + interval) if interval else None,
            (news or {}).get(index, []),
        )
        for index, row in enumerate(seconds)
    ]  # fmt: skip
    result = [
        Change(at, points[at].run, points[at].commit, ratio, None, None, cause, points[at].environment)
        for at, ratio, cause in changes
    ]
    return Trend(CASES[0].id, "fast", "host", points, result)


@st.composite
def trends(draw):
    seconds = draw(st.lists(st.floats(1e-8, 100), max_size=40))
    places = draw(st.sets(st.integers(1, max(1, len(seconds) - 1)), max_size=4)) if len(seconds) > 1 else ()
    causes = st.sampled_from(["code", "environment", "unknown", "unexplained"])
    changes = [(index, draw(st.floats(0.1, 10)), draw(causes)) for index in sorted(places)]
    return a_trend(seconds, changes, {1: [HOSTILE]}, draw(st.sampled_from([None, 0.01])))


@settings(max_examples=25)
@given(trends())
def test_any_trend_is_drawn_with_all_its_runs_and_steps(row):
    figure, words, table = check(trend, row)
    assert len(table) == len(row.points)
    assert table["step (ratio)"].notna().sum() == len(row.changes)
    steps = [note for note in figure.layout.annotations if "×" in note.text]
    assert len(steps) == len(row.changes)
    if row.changes:
        assert f"cause: {row.changes[-1].cause}" in words


def test_steps_are_where_they_were_found_with_ratio_direction_and_cause():
    figure, words, _ = check(trend, a_trend([1e-5] * 4 + [2e-5] * 4, [(4, 2.0, "code")]))
    (line,), (note,) = figure.layout.shapes, figure.layout.annotations
    assert line.x0 == 3.5
    assert note.text == "<b>▲ 2.00×</b><br>code"
    assert words == "fast takes 20.0 µs in the newest of 8 runs, after one step: the last at run 4, 2.00×, cause: code."
    means = [trace.y[0] for trace in figure.data if trace.name == "mean"]
    assert [round(mean * 1e6) for mean in means] == [10, 20]


def test_changes_of_the_environment_are_marked_in_words():
    figure, words, table = check(trend, a_trend([1e-5] * 7, news={3: ["torch 2.12 → 2.13"]}))
    assert [note.text for note in figure.layout.annotations] == ["¦ torch 2.12 → 2.13"]
    assert figure.layout.shapes[0].line.dash == "dot"
    assert words.endswith("without a step. The environment changed once.")
    assert table["environment"].tolist()[3] == "torch 2.12 → 2.13"


def test_only_the_newest_runs_are_drawn_and_their_steps():
    figure, words, table = check(trend, a_trend([1e-5] * 700, [(100, 2.0, "code"), (600, 3.0, "code")]))
    assert table["run"].tolist()[0] == "run 200"
    assert [line.x0 for line in figure.layout.shapes] == [399.5]
    assert words.endswith("The newest 500 are drawn.")


def test_few_runs_cannot_show_a_step():
    assert trend.summary(a_trend([1e-5])) == "fast takes 10.0 µs in the newest of 1 run; a step needs 6 runs."
    assert trend.summary(a_trend([])) == "No run has a time for this."
