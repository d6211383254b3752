"""Test that scripts and Python format values alike."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gapbench.report import assets
from gapbench.report import format as fmt


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.floats(1e-10, 1e5), min_size=3, max_size=40))
def test_numbers_read_the_same_in_the_page_and_in_the_terminal(formats, values):
    values = [value * math.pi for value in values]  # 0.5 rounds to even in Python only; nothing measured is so round
    calls = {
        "seconds": [fmt.seconds(row) for row in values],
        "ratio": [fmt.ratio(row) for row in values],
        "number": [fmt.number(row) for row in values],
        "bytes": [fmt.size(row) for row in values],
    }
    for name, expected in calls.items():
        assert formats(f"values.map((one) => {name}(one))", values) == expected
    for name, python in (("secondsInterval", fmt.seconds_interval), ("ratioInterval", fmt.ratio_interval)):
        shown = formats(f"values.map((one) => {name}(one, 0.97 * one, 1.049 * one))", values)
        assert shown == [python(row, 0.97 * row, 1.049 * row) for row in values]
    for bounds in ((0.97, None), (None, 1.049)):
        low, high = ("null" if bound is None else f"{bound} * one" for bound in bounds)
        shown = formats(f"values.map((one) => ratioInterval(one, {low}, {high}))", values)
        assert shown == [fmt.ratio_interval(row, *(bound and bound * row for bound in bounds)) for row in values]


@pytest.fixture(scope="module")
def formats(browser):
    """Evaluate an expression over ``values`` with the page's own formats."""
    source = (Path(assets.TEMPLATES) / "js" / "format.js").read_text(encoding="utf-8")
    page = browser.new_page()
    yield lambda expression, values: page.evaluate(
        f"(() => {{ {source}; const values = {json.dumps(values)}; return {expression}; }})()"
    )
    page.close()
