from hypothesis import given
from hypothesis import strategies as st

from gapbench.cli.static import changes


def kernel(name="column", arch="sm_90", **figures):
    usual = {"registers": 40, "spills": 0, "shared_bytes": 0, "load_bytes": 16, "store_bytes": 16, "occupancy": 0.75}
    return {"kernel": name, "dtype": "float16", "arch": arch, **usual, **figures}


def test_what_costs_time_is_worse_and_comes_first():
    now = [kernel(registers=48, load_bytes=2), kernel("row", spills=4, occupancy=1.0)]
    result = changes(now, [kernel(), kernel("row")])
    assert [(row.sentence, row.worse) for row in result] == [
        ("column float16 sm_90: load bytes 16, now 2", True),
        ("row float16 sm_90: spills 0, now 4", True),
        ("column float16 sm_90: registers 40, now 48", False),
        ("row float16 sm_90: occupancy 0.75, now 1", False),
    ]


def test_kernels_that_come_and_go_are_named():
    result = changes([kernel("new")], [kernel("old")])
    assert [(row.sentence, row.worse) for row in result] == [
        ("old float16 sm_90 is gone", True),
        ("new float16 sm_90 is new", False),
    ]


figures = st.fixed_dictionaries(
    {"registers": st.integers(1, 255), "spills": st.integers(0, 9), "occupancy": st.floats(0, 1)}
)


@given(figures)
def test_a_list_does_not_differ_from_itself(row):
    assert changes([kernel(**row)], [kernel(**row)]) == []
