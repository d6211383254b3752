import numpy as np
import pandas as pd
from frames import EMPTY, results, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.report.charts import points


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(1e-9, 1e9), st.floats(1e-9, 1e9)), max_size=60),
    st.integers(2, 50),
)
def test_cells_keep_every_point_and_are_no_more_than_asked(rows, most):
    frame = pd.DataFrame(rows, columns=["by", "x", "y"]).astype({"x": float, "y": float})
    result = points.cells(frame, ["by"], "x", "y", most)
    assert len(result) <= most
    assert result["cases"].sum() == len(frame)
    for name, own in result.groupby("by"):
        mine = frame[frame["by"] == name]
        assert own["cases"].sum() == len(mine)
        assert own["x"].between(mine["x"].min(), mine["x"].max()).all()


@settings(max_examples=30)
@given(results())
def test_facets_hold_all_rows_until_there_are_too_many(result):
    frame, left_out = points.faceted(result, most=3)
    assert frame["facet"].nunique() <= 3
    if not left_out:
        assert len(frame) == len(result)
    if len(result):
        sizes = frame.groupby("facet_place").size()
        assert (np.diff(sizes) <= 0).all()


@settings(max_examples=30)
@given(results())
def test_measured_is_what_has_a_time(result):
    assert len(points.measured(result)) == (result["seconds"].notna() & (result["status"] == "ok")).sum()


def test_columns_of_any_kind_become_numbers():
    rows = stored([{"case": "a", "threads": 1, "seconds": 1.0}])
    for kind in ("object", "Int64", "float64"):
        assert points.numeric(rows.astype({"threads": kind}))["threads"].dtype == "float64"
    assert points.numeric(EMPTY.astype("object"))["seconds"].dtype == "float64"
