# ruff: noqa: RUF001 - ratios are written with a multiplication sign
from frames import CASES, EMPTY, check, results, row, stored
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
def test_any_run_is_drawn_with_all_who_compete_and_all_who_do_not(result):
    figure, words, table = check(regret, result)
    expected = regrets(result)
    assert len(table) == len(expected)
    dots = sum(len(trace.x) for trace in figure.data if trace.name == "geometric mean")
    assert dots == (expected["lacks"] == 0).sum() if len(expected) else True
    assert words.startswith("There is nothing to choose from") == expected.empty


def test_the_answer_in_words():
    assert regret.summary(RUN) == (
        "suite quick: always choosing a costs 1.41× the best of each of 2 cases (geometric mean), 2.00× at worst, "
        "190 µs in total, against 110 µs; 1 more lacks cases."
    )


def test_who_lacks_cases_is_listed_below_without_a_mark():
    figure = regret.figure(RUN)
    message = [note.text for note in figure.layout.annotations]
    assert message[-2:] == ["<b>c</b> lacks 1 of 2 cases", "<b>suite quick</b>"]
    assert message[0] == "<b>a</b> 1.41×, at worst 2.00×, 190 µs in total"
    worst = next(trace for trace in figure.data if trace.name == "worst case")
    mean = next(trace for trace in figure.data if trace.name == "geometric mean")
    assert worst.marker.symbol != mean.marker.symbol
    assert len(worst.x) == 2


def test_none_ok_everywhere_is_reported():
    result = stored([row(FIRST, "a", 1e-5), row(SECOND, "b", 1e-5)])
    assert regret.summary(result) == "suite quick: no implementation is ok in all 2 cases."


def test_no_rows():
    assert regret.table(EMPTY).empty
