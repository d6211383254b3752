# ruff: noqa: RUF001 - ratios are written with a multiplication sign
from frames import CASES, EMPTY, results, row, stored
from hypothesis import given, settings

from gapbench.analysis.regret import regrets
from gapbench.report.charts import regret

FIRST, SECOND = CASES[0], CASES[3]

RUN = stored(
    [
        row(FIRST, "a", 1e-5), row(SECOND, "a", 8e-5),
        row(FIRST, "b", 2e-5), row(SECOND, "b", 4e-5),
        row(FIRST, "c", 1e-4), row(SECOND, "c", status="wrong"),
    ]
)  # fmt: skip


@settings(max_examples=25)
@given(results())
def test_any_run_is_listed_with_all_who_compete_and_all_who_do_not(result):
    words, table = regret.summary(result), regret.table(result)
    expected = regrets(result)
    assert len(table) == len(expected)
    assert table["geometric mean ratio"].notna().sum() == (expected["lacks"] == 0).sum()
    assert words.startswith("There is nothing to choose from") == expected.empty


def test_the_answer_in_words():
    assert regret.summary(RUN) == (
        "suite quick: always choosing a costs 1.41× the best of each of 2 cases (geometric mean), 2.00× at worst, "
        "190 µs in total, against 110 µs; 1 more lacks cases."
    )


def test_who_lacks_cases_is_listed_below_without_a_cost():
    table = regret.table(RUN)
    assert table["implementation"].tolist() == ["a", "b", "c"]
    assert table["cases lacking"].tolist() == [0, 0, 1]
    assert table["worst ratio"].isna().tolist() == [False, False, True]


def test_none_ok_everywhere_is_reported():
    result = stored([row(FIRST, "a", 1e-5), row(SECOND, "b", 1e-5)])
    assert regret.summary(result) == "suite quick: no implementation is ok in all 2 cases."


def test_no_rows():
    assert regret.table(EMPTY).empty
