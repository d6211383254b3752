import pytest
from msgspec import structs
from rich.console import Console

from gapbench.report import diff as formats
from gapbench.report.diff import lines
from gapbench.statistics.verdicts import Verdict


def rendered(diff, width=100):
    return formats.table(diff, Console(width=width, force_terminal=False))


def test_equivalents_are_counted_and_everything_else_is_listed_by_relevance(every):
    out = rendered(every)
    places = [out.index(f"impl_{verdict}") for verdict in Verdict if verdict not in lines.FOLDED]
    assert places == sorted(places)
    assert "impl_equivalent" not in out
    last = out.splitlines()[-1]
    assert last.endswith("margin 1 %")
    assert all(f"1 {verdict}" in last for verdict in Verdict)


def test_one_command_on_one_line_measures_all_red_rows(every):
    out = rendered(every, 80).splitlines()
    (command,) = [line for line in out if line.startswith("  gapbench run ")]
    assert command == f"  {lines.command(*lines.red(every))}"
    assert "--impl impl_regressed --impl impl_failed_head" in command


@pytest.mark.parametrize("width", [60, 80, 140, 200])
@pytest.mark.parametrize("name", ["fast", "a_function_name_of_fifty_six_letters_is_long_and_ordinary", "f" * 260])
def test_no_number_or_reason_is_lost(make, make_row, width, name):
    out = rendered(make(make_row(implementation=name, reason="because [of] this")), width)
    assert ("…" in out) == (len(name) > 34)
    for needed in ("regressed", "1.05×", "[1.031, 1.072]"):  # noqa: RUF001
        assert needed in out
    assert "because" in out
    assert "this" in out


def test_differences_of_the_environment_are_reported_once(make, make_row):
    rows = [make_row(Verdict.ENVIRONMENT_MISMATCH, reason="torch is 2, was 1") for _ in range(30)]
    out = rendered(make(*rows, environment=("torch is 2, was 1",)))
    assert out.count("torch is 2, was 1") == 1
    assert "30 environment_mismatch" in out


def test_terminal_codes_appear_on_terminals_only(make, make_row):
    diff = make(make_row())
    assert "\x1b[" in formats.table(diff, Console(force_terminal=True, color_system="standard", no_color=False))
    assert "\x1b[" not in rendered(diff)


def test_ten_inconclusive_rows_are_listed_and_what_it_would_take_is_reported_once(make, make_row):
    rows = [make_row(Verdict.INCONCLUSIVE, f"impl_{n}", ratio=1 + n / 1000, rounds_needed=36) for n in range(30)]
    rows += [make_row(Verdict.INCONCLUSIVE, f"never_{n}", ratio=1.0) for n in range(5)]
    rows += [make_row(Verdict.REGRESSED, f"red_{n}") for n in range(25)]
    base, head = (structs.replace(make().base, wall_seconds=seconds) for seconds in (58.0, 62.0))
    out = rendered(make(*rows, base=base, head=head), 200)
    assert out.count("impl_") == 10
    assert "impl_29" in out
    assert out.count("red_") >= 25
    assert "25 more inconclusive rows are not listed" in out
    (message,) = [line for line in out.splitlines() if "rows are inconclusive" in line]
    assert message == (
        "35 rows are inconclusive: 95 % intervals reach from +3.1% to +7.2%; two runs of 3.5 min (--budget 210s) "
        "would decide about 30 of them; gapbench ab decides the others, measuring both commits together"
    )


def test_without_a_remedy_in_minutes_ab_is_the_remedy(make, make_row):
    out = rendered(make(make_row(Verdict.INCONCLUSIVE, rounds_needed=500)), 200)
    assert "gapbench ab decides them, measuring both commits together" in out
    assert "--budget" not in out
    assert "rows are inconclusive" not in rendered(make(make_row()))


def test_the_condition_of_memory_is_named_where_it_is_known(make, make_row):
    assert "fast, host, memory fresh" in rendered(make(make_row(memory="fresh")))
    assert "--memory fresh --clock host --impl" in rendered(make(make_row(memory="fresh")), 200)
