import re

import pytest

from gapbench.errors import GapbenchError
from gapbench.report.diff import github
from gapbench.statistics.verdicts import Verdict


def annotations(out):
    return [line for line in out.splitlines() if line.startswith("::")]


def test_red_rows_are_errors_with_their_command_and_broken_comparisons_are_warnings(every):
    result = annotations(github.render(every))
    assert [line.split()[0] for line in result] == ["::error"] * 2 + ["::warning"] * 4
    assert result[0].startswith("::error title=gapbench%3A regressed::impl_regressed ")
    assert "1.05×" in result[0]  # noqa: RUF001
    assert "measure again: gapbench run --shape" in result[0]


def test_there_are_at_most_ten_and_the_last_counts_the_rest(make, make_row):
    ten = annotations(github.render(make(*(make_row() for _ in range(10)))))
    assert [line.split()[0] for line in ten] == ["::error"] * 10
    many = annotations(github.render(make(*(make_row() for _ in range(57)))))
    assert len(many) == 10
    assert many[-1].startswith("::warning title=gapbench::48 more rows")


def test_an_environment_that_differs_is_one_annotation(make, make_row):
    rows = [make_row(Verdict.ENVIRONMENT_MISMATCH, reason="torch is 2, was 1") for _ in range(40)]
    (only,) = annotations(github.render(make(*rows)))
    assert only == "::warning title=gapbench%3A environment_mismatch::torch is 2, was 1"


def test_hostile_names_cannot_give_commands(make, make_row, hostile):
    out = github.render(make(make_row(implementation=hostile, spec=hostile, reason=hostile)))
    assert len(annotations(out)) == 1
    assert "%250A" in out
    assert re.search(r"</script>%0A::error::", out)


def test_summaries_and_outputs_are_appended(every, tmp_path):
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    summary.write_text("before\n")
    github.write(every, str(summary), str(outputs))
    assert summary.read_text().startswith("before\n**gapbench: 1 regressed")
    result = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    assert result["regressed"] == "1"
    assert result["head"] == every.head.id
    assert set(result) == {"base", "head", *(verdict.value for verdict in Verdict)}


def test_outside_of_github_nothing_is_written(every, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    github.write(every, None, "")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_an_error_of_one_line(every, tmp_path):
    with pytest.raises(GapbenchError, match="cannot write"):
        github.write(every, str(tmp_path / "no" / "folder"), None)


def test_the_summary_keeps_its_size(make, make_row):
    rows = [make_row(Verdict.INCONCLUSIVE, f"impl_{n}", reason="why " * 40) for n in range(8000)]
    assert len(github.summary(make(*rows)).encode()) <= github.SUMMARY_BYTES
