from hypothesis import given
from hypothesis import strategies as st
from strategies import any_case

from gapbench.analysis.summary import METRICS
from gapbench.store.records import RESULTS
from gapbench.workloads.cases import Case

BY_COLUMN = {metric.column: metric for metric in METRICS}


def test_every_metric_is_a_column_of_the_results_with_unit_and_description():
    assert len(BY_COLUMN) == len(METRICS)
    for metric in METRICS:
        assert metric.column in RESULTS
        assert metric.unit
        assert metric.description


def test_gbps_are_10_to_the_9_bytes_per_second():
    case = Case((8, 2048, 7, 7), dtype="float16")
    assert BY_COLUMN["gbps"].derive(case, 1e-3) == 2 * 8 * 2048 * 50 / 1e6
    assert BY_COLUMN["gbps"].higher_is_better


@given(any_case, st.floats(1e-9, 1e3))
def test_the_better_direction_is_the_one_of_less_time(case, seconds):
    for metric in METRICS:
        faster, slower = metric.derive(case, seconds), metric.derive(case, 2 * seconds)
        if faster is None:
            assert case.operation != "gap" or case.pass_ == "update"
            continue
        assert faster >= slower if metric.higher_is_better else faster <= slower
