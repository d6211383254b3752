import itertools

import pandas as pd
import pytest
from frames import HOSTILE, check
from hypothesis import given, settings
from hypothesis import strategies as st
from profiled import document

from gapbench.report import profiles
from gapbench.report.charts import shares

PARTS = ("python", "dispatch", "allocation", "kernel", "gaps", "unexplained")
values = st.floats(-50, 150)


@st.composite
def documents(draw):
    names = draw(st.lists(st.sampled_from(["mean", HOSTILE, *(f"f{n}" for n in range(60))]), unique=True, max_size=50))
    return [
        document(name, seconds=draw(st.floats(1e-7, 10)), shares={part: draw(values) for part in PARTS})
        for name in names
    ]


@settings(max_examples=15)
@given(documents())
def test_any_profiles_are_drawn(result):
    frame = profiles.shares(result)
    figure, _, table = check(shares, frame)
    drawn = min(len(result), shares.MOST_ROWS)
    assert len(table) == drawn * len(PARTS)
    assert sum(len(trace.x) for trace in figure.data) == len(table)


def test_the_parts_of_a_bar_are_those_of_the_document_and_differ_by_more_than_colour():
    figure = shares.figure(profiles.shares([document()]))
    assert {trace.name: trace.x[0] for trace in figure.data} == document()["shares"]
    looks = [(trace.marker.color, trace.marker.pattern.shape) for trace in figure.data]
    assert len({colour for colour, _ in looks}) == len(PARTS)
    assert all(row[1] != other[1] for row, other in itertools.pairwise(looks))
    assert figure.data[3].text == ("64",)


def test_seconds_of_parts_add_up_to_the_time():
    table = shares.table(profiles.shares([document(seconds=2e-3)]))
    assert table["seconds"].sum() == pytest.approx(2e-3)


def test_the_answer_in_words():
    slow = document("slow", shares={"python": 80.0, "kernel": 18.0, "unexplained": -2.0})
    assert shares.summary(profiles.shares([document(), slow])) == (
        "Largest parts, fastest first: mean: 64 % kernel; slow: 80 % python. At most 2.0 % of a time is unexplained."
    )


def test_nothing_profiled_is_reported():
    nothing = [document(status="failed")]
    assert shares.summary(profiles.shares(nothing)) == "No implementation could be profiled."
    assert isinstance(shares.table(profiles.shares(nothing)), pd.DataFrame)
