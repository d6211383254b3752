import pandas as pd
import pytest
from rich.console import Console

from gapbench.report import text

WINNER = {
    "case": "8x256x56x56-bfloat16-channels_last-cpu-forward-t1", "label": "SE-ResNet-50 [squeeze]",
    "shape": "8x256x56x56", "dtype": "bfloat16", "layout": "channels_last", "device": "cpu", "pass": "forward",
    "threads": 1, "implementation": "compiled_avg_pool", "clock": "host", "seconds": 4.19e-4,
    "seconds_low": 4e-4, "seconds_high": 4.3e-4, "ratio": 0.2199, "ratio_low": 0.196, "ratio_high": 0.2311,
    "reference": "mean", "ties": ["avg_pool", "matmul"], "operation": "gap",
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
    rows = [
        {"implementation": name, "status": "unsupported", "reason": "needs a [GPU]", "case": case}
        for name in ("triton", "cupy") for case in ("a", "b", "c")
    ]  # fmt: skip
    out = printed(text.print_troubles, pd.DataFrame([*rows, {"implementation": "mean", "status": "ok"}]), width=100)
    assert out.count("needs a [GPU]") == 1
    assert "triton, cupy" in out
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


ROW = {
    **WINNER, "implementation": "flatten_linear", "operation": "classifier_head", "status": "ok", "pass": "training",
    "reference": "gap_linear", "parameters": 100_353_000, "peak_extra_bytes": 3 * 2**20, "recompilations": None,
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
def test_contenders_show_what_each_costs(width):
    out = printed(text.print_contenders, pd.DataFrame([ROW]), "what each costs", width=width)
    for needed in ("flatten_linear", "419 µs", "÷ gap_linear", "[0.196, 0.231]", "100,353,000", "3.00 MiB"):
        assert needed in out
    assert all(len(line.rstrip()) <= width for line in out.splitlines())


def test_contenders_without_weights_have_no_columns_for_them():
    rows = pd.DataFrame([{**ROW, "parameters": None, "recompilations": 3}, {**ROW, "status": "wrong"}])
    out = printed(text.print_contenders, rows, "yours", width=140)
    assert "weights" not in out
    assert "compiled 3 more times" in out
    assert out.count("flatten_linear") == 1
    assert printed(text.print_contenders, rows.assign(status="failed"), "yours", width=140) == ""


def test_totals_show_one_choice_beside_the_best_of_each():
    total = {
        "suite": "squeeze", "dtype": "bfloat16", "layout": "contiguous", "cases": 17, "implementation": "sum_scale",
        "seconds": 0.012, "ratio": 0.25, "best_of_each": 0.01,
    }  # fmt: skip
    out = printed(text.print_totals, pd.DataFrame([total]), width=80)
    for needed in ("squeeze bfloat16 contiguous", "17", "sum_scale", "12.0 ms", "0.25×", "10.0 ms"):  # noqa: RUF001
        assert needed in out
    assert printed(text.print_totals, pd.DataFrame(), width=80) == ""


def test_each_operation_has_a_table_with_its_reference():
    winners = pd.DataFrame(
        [{**WINNER, "operation": "gap"}, {**WINNER, "operation": "masked_mean", "reference": "other"}]
    )
    out = printed(text.print_winners, winners, width=80)
    assert "÷ mean" in out
    assert "÷ other" in out
    assert "\nmasked_mean " in out
