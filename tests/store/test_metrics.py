from hypothesis import given
from hypothesis import strategies as st
from strategies import any_case

from gapbench.store.metrics import METRICS
from gapbench.store.records import RESULTS
from gapbench.workloads.cases import Case

BY_COLUMN = {metric.column: metric for metric in METRICS}


def test_every_metric_is_a_column_of_the_results_with_unit_and_description():
    assert len(BY_COLUMN) == len(METRICS)
    for metric in METRICS:
        assert RESULTS[metric.column] == "float64"
        assert metric.unit
        assert metric.description


def test_gbps_are_10_to_the_9_bytes_per_second():
    case = Case((8, 2048, 7, 7), dtype="float16")
    assert BY_COLUMN["gbps"].derive(case, 1e-3) == 2 * 8 * 2048 * 50 / 1e6


@given(any_case, st.floats(1e-9, 1e3))
def test_twice_the_time_is_half_the_bandwidth(case, seconds):
    faster, slower = (BY_COLUMN["gbps"].derive(case, factor * seconds) for factor in (1, 2))
    if faster is None:
        assert case.operation != "gap" or case.pass_ == "update"
    else:
        assert faster == 2 * slower
