from frames import CASES, EMPTY, check, results, row, stored
from hypothesis import given, settings

from gapbench.analysis import cost_model as model
from gapbench.report.charts import cost_model
from gapbench.workloads.cases import Case

SHAPES = tuple(Case((n, 64, side, side)) for n, side in ((1, 2), (1, 7), (4, 14), (8, 28), (16, 56)))


def run(lines, shapes=SHAPES):
    return stored(
        row(case, name, fixed + case.bytes_moved / gbps / 1e9)
        for name, (fixed, gbps) in lines.items()
        for case in shapes
    )


@settings(max_examples=25)
@given(results(cases=CASES + SHAPES, most=60))
def test_any_run_is_drawn_or_refused_with_reasons(result):
    figure, words, table = check(cost_model, result)
    fits, refusals = model.fits(result)
    assert len(table) == len(fits) + len(refusals)
    assert (table["why not"] == "").sum() == len(fits)
    assert words.startswith("No cost model") == (not fits)
    assert sum(trace.mode == "lines" for trace in figure.data) <= len(fits)


def test_parameters_and_crossover_are_reported_and_drawn():
    result = run({"cheap": (1e-6, 10), "wide": (5e-6, 100)})
    figure, words, table = check(cost_model, result)
    assert words == (
        "float32, contiguous: the smallest fixed cost is that of cheap, 1.00 µs [1.00, 1.00]; the highest bandwidth is "
        "that of wide, 100 GB/s [100, 100]. cheap is fastest below 43.4 KiB, wide above."
    )
    assert table[["fixed cost (µs)", "GB/s", "sizes"]].round(3).to_numpy().tolist() == [[1, 10, 5], [5, 100, 5]]
    assert [note.text for note in figure.layout.annotations] == ["43.4 KiB", "<b>float32, contiguous</b>"]
    assert len({trace.line.dash for trace in figure.data if trace.mode == "lines"}) == 2


def test_a_line_that_fits_poorly_is_called_so():
    result = run({"a": (1e-6, 10)})
    result.loc[2, "seconds"] *= 4
    assert "1 of 1 lines fit poorly" in cost_model.summary(result)


def test_a_refusal_is_in_words_and_table():
    result = run({"a": (1e-6, 10)}, SHAPES[:2])
    reason = "2 sizes measured, a line needs 3; measure more shapes"
    assert cost_model.summary(result) == f"No cost model could be fitted. 1 without a line: {reason}."
    assert cost_model.table(result)["why not"].tolist() == [reason]


def test_no_rows():
    assert cost_model.table(EMPTY).empty
    assert cost_model.summary(EMPTY) == "No cost model could be fitted. Nothing was measured."
