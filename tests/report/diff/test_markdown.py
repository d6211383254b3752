import re

import pytest

from gapbench.report.diff import github, lines
from gapbench.statistics.verdicts import Verdict


def test_what_is_pressing_is_open_and_the_rest_is_folded(every):
    out = github.document(every)
    assert out.startswith("**gapbench: 1 regressed, 1 failed_head,")
    assert "### regressed" in out
    for verdict in (Verdict.INCONCLUSIVE, Verdict.EQUIVALENT, Verdict.ADDED):
        assert f"<details><summary>1 {verdict}</summary>" in out
    assert out.count("<details>") == out.count("</details>")
    for row in lines.red(every):
        assert f"    {lines.command(row)}" in out.splitlines()


def test_a_table_follows_an_empty_line_or_it_is_no_table(every):
    rows = github.document(every).splitlines()
    starts = [index for index, line in enumerate(rows) if line.startswith("| implementation")]
    assert starts
    assert all(rows[index - 1] == "" and rows[index + 1].startswith("|---") for index in starts)


@pytest.mark.parametrize("limit", [github.COMMENT_BYTES, 5000])
def test_a_large_diff_keeps_its_size_and_what_is_most_pressing(make, make_row, limit):
    rows = [make_row(Verdict.ADDED, f"same_{n}", reason="ünïcode " * 9) for n in range(2000)]
    out = github.document(make(*rows, make_row(implementation="culprit")), limit)
    assert len(out.encode()) <= limit
    assert "culprit" in out
    missing = int(re.search(r"(\d+) more rows do not fit", out)[1])
    assert missing + out.count("| same") == 2000
    assert "2000 added" in out.splitlines()[0]


def test_ten_rows_are_listed_of_what_was_not_decided_or_did_not_change(make, make_row):
    rows = [make_row(verdict, f"impl_{n}") for verdict in (Verdict.EQUIVALENT, Verdict.INCONCLUSIVE) for n in range(57)]
    out = github.document(make(*rows))
    assert out.count("| impl\\_") == 20
    assert out.count("<summary>57 ") == 2
    assert re.search(r"47 more equivalent rows are not listed", out)


def test_a_large_diff_of_red_rows_keeps_its_size_too(make, make_row):
    out = github.document(make(*(make_row(implementation=f"red_{n}", reason="x" * 500) for n in range(900))))
    assert len(out.encode()) <= github.COMMENT_BYTES


def test_hostile_names_are_shown_and_do_nothing(make, make_row, hostile):
    diff = make(make_row(implementation=hostile, spec=hostile, reason=hostile), environment=(hostile,))
    out = github.document(diff)
    text = "\n".join(line for line in out.splitlines() if not line.startswith("    "))  # code is shown as it is
    assert "<script" not in text
    assert "](http" not in text
    assert not re.search(r"@\w", text)
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 6  # five cells
    assert not re.search(r"^::", out, re.MULTILINE)


def test_words_are_left_as_they_are():
    assert github.escaped("torch 2 was fast") == "torch 2 was fast"
    assert github.escaped("a\r\nb") == "a b"
    assert github.escaped("a_b") == r"a\_b"
