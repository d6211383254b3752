import math

from frames import CASES, EMPTY, HOSTILE, check, results, row, stored
from hypothesis import given, settings

from gapbench.report.charts import accuracy

CASE, OTHER = CASES[0], CASES[3]


def trace(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


@settings(max_examples=25)
@given(results())
def test_any_run_is_drawn_with_everything_wrong_in_it(result):
    _, words, table = check(accuracy, result)
    wrong = int((result["status"] == "wrong").sum())
    assert table.loc[table["status"] == "wrong", "cases"].sum() == wrong
    assert f"{wrong} {'is' if wrong == 1 else 'are'} wrong" in words if wrong else "No result is wrong" in words
    by = "seconds" if result["case"].nunique() <= 1 else "ratio"
    timed = result[(result["status"] == "ok") & result["max_error_ulp"].abs().lt(math.inf) & result[by].notna()]
    assert (table["status"] == "ok").sum() == len(timed)
    assert ("left out" in words) == ((result["status"] == "ok").sum() > len(timed))


def test_fast_but_wrong_stands_left_and_up_with_a_symbol_of_its_own():
    result = stored(
        [
            row(CASE, "mean", 2e-5, 1.0, max_error_ulp=0.5),
            row(CASE, "cheat", 1e-5, 0.5, max_error_ulp=4000.0, status="wrong"),
        ]
    )
    figure, words, _ = check(accuracy, result)
    right, wrong = trace(figure, "mean"), trace(figure, "wrong")
    assert wrong.x[0] < right.x[0]
    assert wrong.y[0] > right.y[0]
    assert wrong.marker.symbol != right.marker.symbol
    assert "1 is wrong: cheat; 0 of 1 not timed." in words


def test_wrong_without_a_time_or_a_finite_error_stands_at_the_edge_that_says_so():
    result = stored(
        [
            row(CASE, "mean", 2e-5, 1.0, max_error_ulp=0.5),
            row(CASE, "inf", max_error_ulp=math.inf, status="wrong", reason=HOSTILE),
        ]
    )
    figure, words, _ = check(accuracy, result)
    assert figure.layout.xaxis.ticktext[0] == "not<br>timed"
    assert figure.layout.yaxis.ticktext[-1] == "not<br>finite"
    wrong = trace(figure, "wrong")
    assert (wrong.x[0], wrong.y[0]) == (figure.layout.xaxis.tickvals[0], figure.layout.yaxis.tickvals[-1])
    assert "1 of 1 not timed" in words


def test_no_error_at_all_is_drawn_at_the_foot():
    result = stored([row(CASE, "mean", 2e-5, 1.0, max_error_ulp=0.0), row(CASE, "b", 1e-5, 1.0, max_error_ulp=9.0)])
    figure, _, table = check(accuracy, result)
    assert trace(figure, "mean").y[0] == accuracy.LEAST_ULP
    assert figure.layout.yaxis.ticktext[0] == "≤ 0.1"
    assert sorted(table["largest error (ULP)"]) == [0, 9]


def test_several_cases_are_drawn_by_ratio_one_case_by_seconds():
    item = stored([row(CASE, "fast", 2e-5, 0.5, max_error_ulp=1.0)])
    two = stored([row(case, "fast", 2e-5, 0.5, max_error_ulp=1.0) for case in (CASE, OTHER)])
    assert trace(accuracy.figure(item), "fast").x[0] == 2e-5
    assert trace(accuracy.figure(two), "fast").x[0] == 0.5
    assert "which takes 20.0 µs" in accuracy.summary(item)
    assert "0.50× the reference's time" in accuracy.summary(two)  # noqa: RUF001


def test_no_rows():
    assert accuracy.table(EMPTY).empty
    assert accuracy.summary(EMPTY) == "No accepted result has a known error and time. No result is wrong."
