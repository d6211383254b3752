import pytest
from frames import EMPTY, stored

from gapbench.report import rows

EXACT = {"dtype": "bfloat16", "max_error_ulp": 0.5, "deterministic": True, "batch_invariant": True}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"max_error_ulp": None, "deterministic": None, "batch_invariant": float("nan")}, []),
        ({"max_error_ulp": 40.0, "dtype": "float32"}, []),
        ({"max_error_ulp": 0.56}, ["off by 0.56 ULP"]),
        ({"max_error_ulp": 1.0, "dtype": "float16"}, ["off by 1 ULP"]),
        ({"deterministic": False, "batch_invariant": False}, ["not deterministic", "not batch invariant"]),
    ],
)
def test_remarks_are_of_what_is_unusual(changes, words):
    assert [short for short, _ in rows.remarks(EXACT | changes)] == words


def test_columns_of_any_kind_become_numbers():
    result = stored([{"case": "a", "threads": 1, "seconds": 1.0}])
    for kind in ("object", "Int64", "float64"):
        assert rows.numeric(result.astype({"threads": kind}))["threads"].dtype == "float64"
    assert rows.numeric(EMPTY.astype("object"))["seconds"].dtype == "float64"
