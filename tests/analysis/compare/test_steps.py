"""The versions of a matrix: ratios to the first, verdicts on steps, and changes of the winner."""

import json

import pytest
from rich.console import Console
from stored import CASE, NAMES, OTHER, a_matrix, keep, side

from gapbench.analysis.compare import compare, of_sides
from gapbench.errors import GapbenchError
from gapbench.report.diff import lines, steps
from gapbench.statistics.verdicts import STEP_LOOKS, Verdict
from gapbench.store.store import Store

PLANTED = [{}, {}, {"fast": 1.02}, {"fast": 1.02}, {"fast": 1.02}]


def verdicts(matrix, verdict):
    return [(cell.version, cell.result["implementation"]) for cell in matrix.cells
            if cell.step and cell.step.verdict is verdict]  # fmt: skip


@pytest.mark.parametrize("step", range(1, 5))
def test_two_percent_in_a_version_are_put_down_to_its_step(step):
    changes = [{"fast": 1.02 if number >= step else 1.0} for number in range(5)]
    matrix = of_sides(a_matrix(*changes, rounds=24, seed=step))
    assert verdicts(matrix, Verdict.REGRESSED) == [(f"v{step + 1}", "fast")]
    assert verdicts(matrix, Verdict.IMPROVED) == []
    (planted,) = [cell for cell in matrix.cells if (cell.version, cell.result["implementation"]) == ("v5", "fast")]
    assert planted.ratio.low < 1.02 < planted.ratio.high


def test_an_improvement_is_one_and_the_way_back_a_regression():
    matrix = of_sides(a_matrix({}, {"slow": 0.9}, {}, rounds=20))
    assert verdicts(matrix, Verdict.IMPROVED) == [("v2", "slow")]
    assert verdicts(matrix, Verdict.REGRESSED) == [("v3", "slow")]
    assert matrix.summary[Verdict.EQUIVALENT] == 6


def test_intervals_widen_with_the_number_of_ratios_that_are_shown():
    few, many = (of_sides(a_matrix({}, {}, rounds=30, names=names)) for names in (NAMES[:1], NAMES))
    widths = [cells.ratio.high / cells.ratio.low for cells in (few.cells[1], many.cells[1])]
    assert widths[0] < widths[1]


def test_too_few_rounds_have_no_interval_and_no_change():
    matrix = of_sides(a_matrix({}, {"fast": 2.0}, rounds=5))
    assert {cell.ratio.low for cell in matrix.cells if cell.ratio} == {None}
    assert set(matrix.summary) == {Verdict.INCONCLUSIVE, Verdict.EQUIVALENT} - (
        set() if Verdict.EQUIVALENT in matrix.summary else {Verdict.EQUIVALENT}
    )


def test_a_version_without_a_time_has_structural_steps_and_the_others_their_ratios():
    matrix = of_sides(a_matrix({}, {}, {}, rounds=20, statuses=[{}, {"odd": "failed"}, {}]))
    odd = {cell.version: cell for cell in matrix.cells if cell.result["implementation"] == "odd"}
    assert [odd[name].step.verdict for name in ("v2", "v3")] == [Verdict.FAILED_HEAD, Verdict.FAILED_BASE]
    assert odd["v2"].ratio is None
    assert odd["v3"].ratio.low < 1 < odd["v3"].ratio.high


def test_a_new_winner_is_told_where_both_versions_show_it():
    matrix = of_sides(a_matrix({}, {}, {"mean": 0.9, "fast": 0.3}, rounds=12))
    ((cell, before),) = matrix.winners
    assert (cell.version, cell.result["implementation"], before) == ("v3", "fast", "mean")
    assert "v3: fast is the fastest on" in steps.table(matrix)
    tied = of_sides(a_matrix(*[{"fast": 0.5 + 1e-5 * sign} for sign in (1, -1, 1, -1)], rounds=12))
    assert tied.winners == ()


def test_the_document_has_every_version_of_every_row():
    matrix = of_sides(a_matrix(*PLANTED, rounds=20, cases=(CASE, OTHER), names=NAMES[:2]))
    document = json.loads(steps.document(matrix))
    assert document["schema"] == 1
    assert [version["name"] for version in document["versions"]] == ["v1", "v2", "v3", "v4", "v5"]
    assert document["versions"][0]["commit"] == "v1" * 20
    assert len(document["rows"]) == 5 * 2 * 2
    assert sum(document["summary"].values()) == 4 * 2 * 2
    first = document["rows"][0]
    assert (first["contender"], first["ratio"], first["step"]) == ("v1", None, None)
    changed = [row for row in document["rows"] if row["step"] and row["step"]["verdict"] == "regressed"]
    assert {(row["contender"], row["implementation"]) for row in changed} == {("v3", "fast")}


@pytest.mark.parametrize("width", [40, 100])
def test_the_table_has_a_column_a_version_and_names_the_step(width):
    text = steps.table(of_sides(a_matrix(*PLANTED, rounds=20)), Console(width=width))
    assert "v3: regressed 1.02" in text
    assert text.count("regressed") == 3  # in its cell, below the table, and in the count
    assert "v5: v5v5v5v5v5v5" in text
    assert "steps: 1 regressed, " in text
    assert text.endswith("margin 1 %; 95 % intervals that hold together")


def test_a_matrix_is_not_compared_with_another_run():
    with pytest.raises(GapbenchError, match="measured all its sides"):
        compare(a_matrix({}, {}), side())


def test_a_stored_matrix_is_read_as_it_was(tmp_path):
    store = Store(str(tmp_path))
    run = keep(store, a_matrix({}, {}, {}))
    assert store.describe(run).is_matrix
    assert store.listing().runs[run].is_matrix
    assert STEP_LOOKS == 3


def test_the_steps_below_the_table_have_the_intervals_of_the_whole_table():
    matrix = of_sides(a_matrix(*PLANTED, rounds=20))
    (cell,) = [cell for cell in matrix.cells if cell.step and cell.step.verdict is Verdict.REGRESSED]
    (alone,) = [row for row in matrix.steps[1].rows if row.verdict is Verdict.REGRESSED]
    assert cell.step.ratio_low < alone.ratio_low < alone.ratio_high < cell.step.ratio_high
    assert lines.change(cell.step) in steps.table(matrix)
