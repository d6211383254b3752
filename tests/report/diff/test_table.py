import pytest
from rich.console import Console

from gapbench.report.diff import lines, table
from gapbench.verdicts import Verdict


def rendered(diff, width=100):
    return table.rendered(diff, Console(width=width, force_terminal=False))


def test_equivalents_are_counted_and_everything_else_is_listed_by_relevance(every):
    out = rendered(every)
    places = [out.index(f"impl_{verdict}") for verdict in Verdict if verdict not in lines.FOLDED]
    assert places == sorted(places)
    assert "impl_equivalent" not in out
    last = out.splitlines()[-1]
    assert last.endswith("margin 1 %")
    assert all(f"1 {verdict}" in last for verdict in Verdict)


def test_every_red_row_has_its_command_on_one_line(every):
    out = rendered(every, 80).splitlines()
    for row in lines.red(every):
        assert f"  {lines.command(row)}" in out


@pytest.mark.parametrize("width", [80, 140])
def test_no_number_or_reason_is_lost(make, make_row, width):
    out = rendered(make(make_row(reason="because [of] this")), width)
    for needed in ("regressed", "1.05×", "[1.031, 1.072]", "because [of] this"):  # noqa: RUF001
        assert needed in out


def test_differences_of_the_environment_are_said_once(make, make_row):
    rows = [make_row(Verdict.ENVIRONMENT_MISMATCH, reason="torch is 2, was 1") for _ in range(30)]
    out = rendered(make(*rows, environment=("torch is 2, was 1",)))
    assert out.count("torch is 2, was 1") == 1
    assert "30 environment_mismatch" in out


def test_terminal_codes_appear_on_terminals_only(make, make_row):
    diff = make(make_row())
    assert "\x1b[" in table.rendered(diff, Console(force_terminal=True, color_system="standard", no_color=False))
    assert "\x1b[" not in rendered(diff)
