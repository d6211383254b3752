# ruff: noqa: RUF001 - a ratio is written with a multiplication sign
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.report import format as fmt

NULLS = [None, math.nan, np.float64("nan"), pd.NA, pd.NaT]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9.31e-6, "9.31 µs"),
        (1.2345e-3, "1.23 ms"),
        (4.2e-8, "42.0 ns"),
        (3.3e-10, "0.330 ns"),
        (999.7e-9, "1.00 µs"),
        (999.4e-9, "999 ns"),
        (1e-6, "1.00 µs"),
        (2.5, "2.50 s"),
        (1234.0, "1,234 s"),
        (0.0, "0 ns"),
    ],
)
def test_a_time_reads_in_the_unit_that_suits_it(value, text):
    assert fmt.seconds(value) == text


@given(st.floats(min_value=1e-9, max_value=1e5))
def test_a_time_reads_back_within_its_three_digits(value):
    units = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}
    number, unit = fmt.seconds(value).split(" ")
    assert float(number.replace(",", "")) * units[unit] == pytest.approx(value, rel=0.0051)


@given(st.floats(min_value=1e-9, max_value=0.9))
def test_a_time_below_a_second_never_shows_1000_of_its_unit(value):
    assert 1 <= float(fmt.seconds(value).split(" ")[0]) < 1000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.42, "0.42×"),
        (0.0527, "0.053×"),
        (0.9999, "1.00×"),
        (1.0, "1.00×"),
        (9.999, "10.0×"),
        (12.34, "12.3×"),
        (1234.5, "1,234×"),
    ],
)
def test_a_ratio_has_two_digits_and_two_decimals_at_least(value, text):
    assert fmt.ratio(value) == text


def test_intervals_follow_the_unit_and_precision_of_their_value():
    assert fmt.seconds_interval(9.31e-6, 9.254e-6, 9.376e-6) == "[9.25, 9.38]"
    assert fmt.seconds_interval(0.999e-3, 0.9e-3, 1.1e-3) == "[900, 1,100]"  # µs, as the time itself
    assert fmt.ratio_interval(0.42, 0.4181, 0.4239) == "[0.418, 0.424]"
    assert fmt.ratio_interval(0.0527, 0.05, 0.06) == "[0.0500, 0.0600]"


def test_the_reference_has_no_interval_to_itself():
    assert fmt.ratio_interval(1.0, 1.0, 1.0) == ""


@pytest.mark.parametrize("null", NULLS)
def test_what_was_not_measured_is_never_zero(null):
    for function in (fmt.text, fmt.number, fmt.seconds, fmt.ratio, fmt.size, fmt.duration):
        assert function(null) == fmt.MISSING
    interval = fmt.seconds_interval
    assert interval(1.0, null, 2.0) == interval(1.0, 0.5, null) == interval(null, 0.5, 2.0) == ""
    assert fmt.ratio_interval(null, 0.5, 2.0) == fmt.ratio_interval(1.0, null, null) == ""


@pytest.mark.parametrize("null", NULLS)
def test_a_ratio_with_one_bound_says_so(null):
    assert fmt.ratio_interval(1.0, null, 2.0) == "at most 2.00×"
    assert fmt.ratio_interval(3.0, 1.612, null) == "at least 1.61×"


@pytest.mark.parametrize("value", [0, 0.0, "", False, [], ["x"], np.array([1, 2]), "nan"])
def test_only_nulls_are_missing(value):
    assert not fmt.missing(value)


def test_numbers_sizes_and_durations():
    numbers = [fmt.number(value) for value in (0.01234, 9.314, 412.3, 1234.4, 0)]
    assert numbers == ["0.0123", "9.31", "412", "1,234", "0"]
    assert fmt.number(math.inf) == "inf"
    assert [fmt.size(value) for value in (0, 1023, 1024, 8 * 2**30)] == ["0 B", "1023 B", "1.00 KiB", "8.00 GiB"]
    assert [fmt.duration(value) for value in (0.25, 42, 185, 8040)] == ["250 ms", "42 s", "3 min 5 s", "2 h 14 min"]
    assert [fmt.text(value) for value in (24.0, 1.5, "x", 3)] == ["24", "1.5", "x", "3"]


def test_a_name_is_shortened_in_its_middle():
    assert [fmt.shortened("abcdefgh", most) for most in (8, 7, 4, 3)] == ["abcdefgh", "abc…fgh", "ab…h", "a…h"]
