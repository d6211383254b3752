# ruff: noqa: RUF001 - ratios are written with a multiplication sign, nobody is a dash
import numpy as np
from frames import CASES, EMPTY, HOSTILE, check, results, row, stored, winners
from hypothesis import given, settings

from gapbench.report import rows
from gapbench.report.charts import winners_map
from gapbench.workloads.cases import Case

SMALL, WIDE = CASES[0], CASES[3]


def tiles(figure):
    """Return the letters drawn."""
    return [text for trace in figure.data for text in (trace.text if trace.text is not None else ())]


def won(*rows, ties=()):
    """Return results and their winners, which only ``ties`` tie with."""
    result = stored(rows)
    best = winners(result)
    return result, best.assign(ties=[list(ties)] * len(best))


@settings(max_examples=25)
@given(results())
def test_any_run_gives_a_map_whose_tiles_hold_every_contested_case(result):
    best = winners(result)
    figure, words, table = check(winners_map, result, best)
    contested = result[result["ranked"].astype(bool)].drop_duplicates(["case", "clock"])
    panels = contested[["dtype", "layout", "device", "pass", "threads", "operation"]].drop_duplicates()
    if len(panels) <= 12:
        assert table["cases"].sum() == len(contested)
        assert len(tiles(figure)) == len(table)
    if len(best):
        assert words.startswith(rows.headline(result, best))
    else:
        assert words.startswith("No ")


def test_a_winner_and_a_tie_differ_by_hatching_and_letter_not_by_colour():
    rows = [row(SMALL, "mean", 2e-5, 1.0), row(SMALL, "fast", 1e-5, 0.5)]
    clear, tied = (winners_map.figure(*won(*rows, ties=ties)) for ties in ((), ("mean",)))
    assert (tiles(clear), tiles(tied)) == (["A"], ["A≈"])
    drawn = [next(trace for trace in figure.data if trace.text is not None) for figure in (clear, tied)]
    assert [list(trace.marker.pattern.shape) for trace in drawn] == [[""], ["/"]]
    assert drawn[0].marker.color == drawn[1].marker.color
    assert "0.50× [0.495, 0.505] the reference's time" in drawn[0].hovertext[0]
    assert "ties: mean" in drawn[1].hovertext[0]


def test_a_panel_for_each_dtype_and_layout_and_for_what_else_differs():
    result, best = won(*(row(case, "mean", 1e-5, 1.0) for case in (SMALL, WIDE, CASES[4], CASES[9])))
    titles = [annotation.text for annotation in winners_map.figure(result, best).layout.annotations]
    assert sorted(titles) == [
        "<b>bfloat16, contiguous, 1 thread</b>",
        "<b>float32, channels_last, 1 thread</b>",
        "<b>float32, contiguous, 1 thread</b>",
        "<b>float32, contiguous, 2 threads</b>",
    ]


def test_a_case_that_no_implementation_is_ok_in_is_drawn_as_that():
    result, best = won(row(SMALL, "mean", 1e-5, 1.0), row(CASES[1], "mean", status="failed"))
    assert sorted(tiles(winners_map.figure(result, best))) == ["A", "–"]
    assert "is fastest in 1 of 2 cases" in winners_map.summary(result, best)


def test_cases_of_one_place_share_a_tile_that_says_so():
    shapes = [(8, 64, 7, 7), (16, 32, 7, 7), (32, 16, 7, 7), (64, 8, 7, 7)]
    names = ["fast", "fast", "fast", "slow"]
    rows = [row(Case(shape), name, 1e-5, 0.5) for shape, name in zip(shapes, names, strict=True)]
    result, best = won(*rows)
    figure, words, table = check(winners_map, result, best)
    assert tiles(figure) == ["A"]
    assert table[["cases", "winner"]].to_numpy().tolist() == [[4, "fast"]]
    assert "4 cases share 1 tiles" in words
    # one of two: at most half
    result, best = won(rows[0], rows[3])
    assert tiles(winners_map.figure(result, best)) == ["A≈"]


def test_many_sizes_share_steps_of_powers_of_two():
    rows = [row(Case((1, 64, side, side)), "mean", 1e-5, 1.0) for side in range(1, 60)]
    figure, _, table = check(winners_map, *won(*rows))
    assert list(figure.layout.xaxis.ticktext)[:3] == ["≥1", "≥4", "≥8"]
    assert table["cases"].sum() == 59


def test_what_computes_different_things_has_no_winner_and_is_left_out():
    figure, words, table = check(winners_map, *won(row(CASES[11], "head", 1e-5)))
    assert table.empty
    assert not tiles(figure)
    assert words.startswith("No winner: these contenders compute different things")


def test_the_legend_names_the_first_and_counts_the_others():
    shapes = [Case((1, 64, size)) for size in range(1, 12)]
    figure = winners_map.figure(*won(*(row(case, f"winner {index}", 1e-5) for index, case in enumerate(shapes))))
    legend = [trace.name for trace in figure.data if trace.showlegend is None]
    assert [name[0] for name in legend] == [*"ABCDEFGH+"]
    assert legend[-1] == "+  3 others"


def test_names_are_text():
    figure, words, _ = check(winners_map, *won(row(SMALL, HOSTILE, 1e-5, 1.0, label=HOSTILE)))
    assert any("&lt;script&gt;" in str(trace.hovertext) for trace in figure.data)
    assert HOSTILE in words  # plain text: escaped by the page


def test_no_rows():
    assert winners_map.table(EMPTY, winners(EMPTY)).empty
    check(winners_map, EMPTY, winners(EMPTY))


@settings(max_examples=30)
@given(results())
def test_facets_hold_all_rows_until_there_are_too_many(result):
    frame, left_out = winners_map.faceted(result, most=3)
    assert frame["facet"].nunique() <= 3
    if not left_out:
        assert len(frame) == len(result)
    if len(result):
        sizes = frame.groupby("facet_place").size()
        assert (np.diff(sizes) <= 0).all()
