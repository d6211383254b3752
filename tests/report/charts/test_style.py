import math

import pytest
from frames import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from gapbench.report.charts import style


def luminance(colour):
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("colour", [style.ACCENT, style.PLAIN, *(m.colour for m in style.SERIES)])
@pytest.mark.parametrize("paper", ["#ffffff", "#14181d"])
def test_colours_hold_on_light_and_on_dark_paper(colour, paper):
    low, high = sorted((luminance(colour), luminance(paper)))
    assert (high + 0.05) / (low + 0.05) >= 3


def test_series_differ_by_more_than_colour():
    for what in ("colour", "symbol", "dash"):
        assert len({getattr(mark, what) for mark in style.SERIES}) == len(style.SERIES)


def test_marks_go_to_the_first_and_the_others_look_alike():
    marks = style.marks(f"{index}" for index in range(10))
    assert [*marks.values()] == [*style.SERIES, style.OTHER, style.OTHER]


def test_nothing_to_draw_is_reported_without_axes():
    figure = style.nothing()
    assert not figure.data
    assert [axis.visible for axis in (figure.layout.xaxis, figure.layout.yaxis)] == [False, False]


def test_short_labels_are_escaped_after_they_are_cut():
    assert "<" not in style.short(HOSTILE)
    assert style.short("a" * 40) == "a" * 25 + "…"
    assert style.short("&" * 40) == "&amp;" * 25 + "…"


@given(st.lists(st.floats(1e-100, 1e12) | st.just(0.0) | st.sampled_from([math.nan, math.inf]), max_size=9))
def test_bounds_hold_all_that_a_log_axis_can_show(values):
    low, high = style.bounds(values)
    assert 0 < low < high
    assert all(low < value < high for value in values if 0 < value < math.inf)


@given(st.floats(1, 1e12), st.floats(1.3, 1e9))
def test_axes_of_bytes_have_few_round_labels(low, span):
    axis = style.bytes_axis(low, low * span)
    assert 1 <= len(axis["tickvals"]) <= 8
    assert all(float(text.split()[0]).is_integer() for text in axis["ticktext"])


def test_axes_of_bytes_read_as_sizes():
    assert style.bytes_axis(2**18, 2**24)["ticktext"] == ["256 KiB", "1 MiB", "4 MiB", "16 MiB"]
    assert style.bytes_axis(1000, 9000)["ticktext"] == ["1 KiB", "2 KiB", "4 KiB", "8 KiB"]
