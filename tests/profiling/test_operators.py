import pytest
from recorded import MEAN_OF_BFLOAT16, TEMPORARY_BYTES, US, given, host, kernel

from gapbench.profiling.events import nested
from gapbench.profiling.operators import allocates, computes, table


def of(events, calls=1):
    return table(nested(events), events, calls)


def test_the_table_of_a_mean_begins_with_the_copy_and_has_its_bytes_once():
    first = of(MEAN_OF_BFLOAT16)[0]
    assert (first.name, first.dtypes, first.calls) == ("aten::copy_", ("float32", "bfloat16"), 1)
    assert first.bytes == TEMPORARY_BYTES * 1.5
    assert first.self_seconds == pytest.approx(853 * US)
    assert first.gbps == pytest.approx(TEMPORARY_BYTES * 1.5 / (853 * US) / 1e9)


def test_who_leaves_the_work_to_others_has_no_bytes():
    rows = {row.name: row for row in of(MEAN_OF_BFLOAT16)}
    assert rows["aten::sum"].bytes is None
    assert rows["aten::to"].bytes is None
    assert rows["aten::empty_strided"].bytes is None
    assert rows["aten::sum"].total_seconds == pytest.approx(1130 * US)
    assert rows["aten::sum"].self_seconds == pytest.approx((1130 - 870 - 2) * US)


def test_what_an_operator_was_given_for_its_result_counts():
    events = [host("aten::sum", 0, 10, ((4, 8), "float32")), given(16, 2), given(-16, 8), given(1000, 20)]
    assert of(events)[0].bytes == 4 * 8 * 4 + 16


def test_figures_are_per_call_and_kernels_of_an_accelerator_are_rows():
    events = [
        host("aten::mean", 0, 10),
        host("aten::mean", 20, 32),
        kernel("reduce", 5, 105),
        kernel("reduce", 110, 310),
    ]
    reduce, mean = of(events, calls=2)
    assert (reduce.name, reduce.device, reduce.calls) == ("reduce", True, 1)
    assert reduce.self_seconds == pytest.approx(150 * US)
    assert mean.total_seconds == pytest.approx(11 * US)
    assert reduce.gbps is None


def test_own_times_add_up_to_the_call():
    assert sum(row.self_seconds for row in of(MEAN_OF_BFLOAT16)) == pytest.approx(1200 * US)


@pytest.mark.parametrize(
    ("name", "getting", "computing"),
    [
        ("aten::empty_like", True, False),
        ("aten::view", False, False),
        ("aten::copy_", False, True),
        ("my::op", False, True),
    ],
)
def test_operators_are_told_apart_by_name(name, getting, computing):
    assert (allocates(name), computes(name)) == (getting, computing)
