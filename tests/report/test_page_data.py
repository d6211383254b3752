import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapbench.report.page_data import columns, script_json


def decoded(column, row):
    """What data.js reads."""
    if "constant" in column:
        return column["constant"]
    if "codes" in column:
        return column["names"][column["codes"][row]] if column["codes"][row] >= 0 else None
    value = column["values"][row]
    return value if value is None or "per" not in column else float(value) / column["per"]


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=30))
def test_texts_survive_whatever_the_encoding(texts):
    result = columns(pd.DataFrame({"a": pd.Series(texts, dtype=object)}))
    assert json.loads(str(script_json(result))) == result
    if not any(item is not None for item in texts):
        assert result == {}
    else:
        assert [decoded(result["a"], row) for row in range(len(texts))] == texts


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-(2**50), 2**50)), min_size=1))
def test_numbers_keep_their_digits_and_nulls_stay_nulls(numbers):
    frame = pd.DataFrame({"a": pd.Series(numbers, dtype="Float64")})
    result = columns(frame)
    for row, number in enumerate(numbers if result else ()):
        shown = decoded(result["a"], row)
        if number is None:
            assert shown is None
        elif math.isinf(number):
            assert float(shown) == number
        else:
            assert shown == pytest.approx(number, rel=1e-4)


def test_each_repeated_text_stands_once_and_lists_stay_lists():
    frame = pd.DataFrame({"a": ["x", "y"] * 50, "ties": [["b"], []] * 50, "same": ["z"] * 100, "none": [None] * 100})
    result = columns(frame)
    assert str(script_json(result)).count('"x"') == 1
    assert result["same"] == {"constant": "z"}
    assert result["ties"]["values"][:2] == [["b"], []]
    assert "none" not in result


def test_json_cannot_end_the_script_that_holds_it():
    text = "</script><!-- & <script>\u2028"
    encoded = str(script_json({"text": text}))
    assert not any(character in encoded for character in "<>&\u2028")
    assert json.loads(encoded) == {"text": text}
