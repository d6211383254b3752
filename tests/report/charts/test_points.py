import numpy as np
from frames import EMPTY, results, stored
from hypothesis import given, settings

from gapbench.report.charts import points


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
