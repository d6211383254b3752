import shlex

import pytest
from stored import CASE

from gapbench.cli.selection import keyword_match
from gapbench.report.diff import lines
from gapbench.statistics.verdicts import Verdict
from gapbench.store.run import Run, decode
from gapbench.workloads.cases import Case


def test_red_comes_first_then_structure_then_improved_then_inconclusive(every):
    order = [row.verdict for row in lines.by_relevance(every)]
    assert order[:2] == [Verdict.REGRESSED, Verdict.FAILED_HEAD]
    assert order[-3:] == [Verdict.IMPROVED, Verdict.INCONCLUSIVE, Verdict.EQUIVALENT]
    assert [row.verdict for row in lines.red(every)] == order[:2]


def test_the_largest_changes_come_first(make, make_row):
    result = lines.by_relevance(make(make_row(ratio=1.02), make_row(ratio=1.5), make_row(ratio=1.1)))
    assert [row.ratio for row in result] == [1.5, 1.1, 1.02]


def test_the_command_selects_the_very_row_that_is_named(make_row):
    words = shlex.split(lines.command(make_row(spec="my file.py:f")))
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert words[:2] == ["gapbench", "run"]
    assert options == {
        "--shape": "8x64x7x7", "--dtype": "float32", "--layout": "contiguous", "--device": "cpu", "--pass": "forward",
        "--threads": "1", "--clock": "host", "--impl": "my file.py:f",
    }  # fmt: skip
    assert Case.from_id(make_row().case) == CASE


def test_one_command_measures_the_rows_and_no_other_cases(make_row):
    cases = [Case((8, 64, 7, 7)), Case((8, 64, 7, 7), dtype="bfloat16"), Case((1, 8, 4, 4))]
    alike = lines.command(*(make_row(case=case.id) for case in cases[:2]))
    assert "--dtype float32 --dtype bfloat16" in alike
    assert "-k" not in alike
    words = shlex.split(lines.command(*(make_row(case=case.id, implementation=f"i{case.n}") for case in cases)))
    assert words.count("--shape") == 2
    expression = words[words.index("-k") + 1]
    others = [Case((1, 8, 4, 4), dtype="bfloat16")]
    assert [keyword_match(expression, f"quick {case.id}") for case in cases + others] == [True, True, True, False]


def test_cases_of_other_operations_are_found_in_their_suite(make_row):
    case = Case((8, 64, 7, 7), operation="pooling")
    assert lines.command(make_row(suite="pooling", case=case.id)).startswith("gapbench run pooling --shape 8x64x7x7 ")


@pytest.mark.parametrize("git", [None, {"branch": "main", "dirty": True}])
def test_runs_are_described_by_what_is_known(git):
    text = lines.side(decode({"run": "r1", "tag": "mine", "git": git}))
    assert text.startswith("r1 (mine")
    assert ("uncommitted changes" in text) == (git is not None)
    assert lines.side(Run(id="r1")) == "r1"
