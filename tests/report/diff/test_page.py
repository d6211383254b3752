import json

from stored import two_sides

from gapbench.analysis.compare import compare
from gapbench.report import html
from gapbench.report.diff import lines
from gapbench.statistics.verdicts import Verdict


def rendered(diff, **options):
    return html.diff_page(diff, **{"pages": set(), "redact": False, "single_file": False, **options})


def decoded(column):
    if "constant" in column:
        return column["constant"]
    if "codes" not in column:
        return column["values"]
    return [column["names"][code] if code >= 0 else None for code in column["codes"]]


def test_every_row_is_in_the_data_the_most_pressing_first(every):
    result = html.diff_data(every)
    assert decoded(result["rows"]["columns"]["verdict"]) == [verdict.value for verdict in Verdict]
    assert result["folded"] == [verdict.value for verdict in lines.FOLDED]


def test_red_rows_have_the_command_that_measures_them_again(every):
    result = html.diff_data(every)["rows"]["columns"]
    commands = dict(zip(decoded(result["verdict"]), decoded(result["command"]), strict=True))
    assert commands["regressed"] == lines.command(lines.red(every)[0])
    assert commands["equivalent"] is None
    assert rendered(every).count("<code>gapbench run") == len(lines.red(every))


def test_the_page_counts_every_verdict_and_those_that_are_folded(every):
    text = rendered(every)
    for verdict in Verdict:
        assert f"<b>1</b> {verdict}" in text
    assert "Show 2 more" in text


def test_a_diff_of_two_stored_runs_names_both_and_links_those_that_have_pages():
    base, head = two_sides(head={"changes": {"fast": 1.3}})
    diff = compare(base, head)
    text = rendered(diff, pages={head.run.id})
    assert f'<a class="page" href="{head.run.id}.html">' in text
    assert f'href="{base.run.id}.html"' not in text
    assert text.count("abc1234 (main) Pool") == 2
    assert "Pool" not in rendered(diff, redact=True)


def test_nothing_to_compare_is_a_page(make):
    assert json.dumps(html.diff_data(make()))
    assert "<b>0</b> regressed" in rendered(make())


def test_hostile_names_stay_text(make, make_row, hostile):
    text = rendered(make(make_row(implementation=hostile, reason=hostile), environment=(hostile,)))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
