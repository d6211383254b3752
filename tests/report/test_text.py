import pandas as pd
import pytest
from rich.console import Console

from gapbench.report import text

WINNER = {
    "case": "8x256x56x56-bfloat16-channels_last-cpu-forward-t1", "label": "SE-ResNet-50 [squeeze]",
    "shape": "8x256x56x56", "dtype": "bfloat16", "layout": "channels_last", "device": "cpu", "pass": "forward",
    "threads": 1, "implementation": "compiled_avg_pool", "clock": "host", "seconds": 4.19e-4,
    "seconds_low": 4e-4, "seconds_high": 4.3e-4, "ratio": 0.2199, "ratio_low": 0.196, "ratio_high": 0.2311,
    "reference": "mean", "ties": ["avg_pool", "matmul"],
}  # fmt: skip


def printed(function, *arguments, width):
    console = Console(width=width, record=True, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    function(*arguments, console)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_number_is_cut_and_nothing_is_wider_than_the_terminal(width):
    out = printed(text.print_winners, pd.DataFrame([WINNER]), width=width)
    for needed in ("419 µs", "0.22×", "[0.196, 0.231]", "compiled_avg_pool", "8x256x56x56 bfloat16", "[squeeze]"):  # noqa: RUF001
        assert needed in out
    assert all(len(line.rstrip()) <= width for line in out.splitlines())


def test_ties_are_named_where_there_is_room_and_counted_where_not():
    assert "avg_pool, matmul" in printed(text.print_winners, pd.DataFrame([WINNER]), width=140)
    assert "ties with 2" in printed(text.print_winners, pd.DataFrame([WINNER]), width=80)


def test_troubles_are_said_once_with_the_number_of_cases():
    rows = [{"implementation": "triton", "status": "unsupported", "reason": "needs a [GPU]"}] * 3
    out = printed(text.print_troubles, pd.DataFrame([*rows, {"implementation": "mean", "status": "ok"}]), width=100)
    assert out.count("needs a [GPU]") == 1
    assert " 3 " in out
    assert "mean" not in out


def test_lists_keep_the_objects_columns():
    out = printed(text.print_rows, [{"name": "quick", "cases": 5, "summary": None}], width=80)
    assert out.split() == ["name", "cases", "summary", "quick", "5"]
    assert printed(text.print_rows, [], width=80) == ""


def test_clocks_say_what_they_found_out_about_themselves():
    found = {"event_warm": {"floor_seconds": 1.2e-6, "launch_seconds": None}, "host": {"floor_seconds": None}}
    out = printed(text.print_clocks, found, width=80)
    assert "event_warm: floor 1.20 µs" in out
    assert "host" not in out
    assert "launch" not in out


def test_the_clock_is_named_where_there_are_several():
    winners = pd.DataFrame([WINNER, {**WINNER, "clock": "host_cold"}])
    assert "host_cold" in printed(text.print_winners, winners, width=100)
    assert "host" not in printed(text.print_winners, winners[:1], width=100)
