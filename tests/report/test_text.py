import pandas as pd
import pytest
from msgspec import structs
from rich.console import Console

from gapbench.analysis.history import Change, Point, Trend
from gapbench.report import rows, text
from gapbench.store.records import KEPT_TUNABLES
from gapbench.store.run import PlannedCase, Run

WINNER = {
    "case": "8x256x56x56-bfloat16-channels_last-cpu-forward-t1", "label": "SE-ResNet-50 [squeeze]",
    "shape": "8x256x56x56", "dtype": "bfloat16", "layout": "channels_last", "device": "cpu", "pass": "forward",
    "threads": 1, "implementation": "compiled_avg_pool", "clock": "host", "seconds": 4.19e-4,
    "seconds_low": 4e-4, "seconds_high": 4.3e-4, "ratio": 0.2199, "ratio_low": 0.196, "ratio_high": 0.2311,
    "reference": "mean", "ties": ["avg_pool", "matmul"], "operation": "gap", "memory": None, "rounds": 12,
    "within": 1.008, "undecided_seconds": 0.0, "next": "mean", "next_ratio": 4.5, "next_ratio_low": 4.4,
    "next_ratio_high": 4.6, "max_error_ulp": 0.5, "deterministic": True, "batch_invariant": None,
}  # fmt: skip


def printed(function, *arguments, width, **named):
    console = Console(width=width, record=True, force_terminal=False, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    function(*arguments, console, **named)
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


UNDECIDED = {**WINNER, "within": 1.037, "undecided_seconds": 2.0}
RUN = Run(id="20261122T101112Z-abc1234-0001", wall_seconds=60.0, timed_seconds=6.0)


@pytest.mark.parametrize("width", [80, 140])
def test_what_is_undecided_is_reported_with_what_would_decide(width):
    folded = " ".join(printed(text.print_winners, pd.DataFrame([UNDECIDED]), width=width, run=RUN).split())
    if width == 80:
        assert "or 2 more" in folded
        assert (
            "8x256x56x56 bfloat16, channels_last: compiled_avg_pool or one of 2 others (each within 4 %); about 20 s "
            "more would decide"
        ) in folded
    row = pd.DataFrame([{**UNDECIDED, "ties": ["avg_pool"]}])
    assert "or avg_pool (within 4 %); about" in rows.certainty(row.iloc[0], RUN)


def test_a_clock_is_named_where_the_run_asked_for_several_and_one_is_left():
    """Where event clocks were refused, times by host_call looked like the device's."""
    row = pd.DataFrame([{**WINNER, "clock": "host_call"}])
    plan = (PlannedCase(case="c", clocks=("event_cold", "host_call")),)
    assert "host_call" in printed(text.print_winners, row, width=80, run=structs.replace(RUN, plan=plan))
    assert "host_call" not in printed(text.print_winners, row, width=80, run=RUN)


def test_too_few_rounds_for_an_interval_are_reported():
    few = {**UNDECIDED, "within": float("nan"), "rounds": 3}
    expected = "or one of 2 others (no interval: they shared fewer than 6 rounds); about 20 s more would decide"
    assert rows.certainty(few, RUN) == expected
    never = {**few, "undecided_seconds": float("nan")}
    assert rows.certainty(never, RUN) == "or one of 2 others (not timed in the same rounds)"
    assert "more would decide" not in rows.certainty(few, {})


def test_of_many_undecided_cases_the_first_are_reported():
    out = printed(text.print_winners, pd.DataFrame([UNDECIDED] * 9), width=80, run=RUN)
    assert out.count("would decide") == 5
    assert "4 more cases are undecided" in out


def test_the_next_is_named_where_nothing_ties():
    alone = {**WINNER, "ties": [], "within": 1.0}
    assert "next 4.40×" in printed(text.print_winners, pd.DataFrame([alone]), width=80)  # noqa: RUF001
    assert "next is mean, 4.50× [4.400, 4.600] slower" in " ".join(  # noqa: RUF001
        printed(text.print_winners, pd.DataFrame([alone]), width=200).split()
    )
    raced = {**alone, "next_ratio_low": 1.6, "next_ratio_high": None}
    assert "next ≥ 1.60×" in printed(text.print_winners, pd.DataFrame([raced]), width=80)  # noqa: RUF001
    assert rows.certainty(raced, RUN) == "next is mean, at least 1.60× slower"  # noqa: RUF001
    assert rows.certainty({**alone, "next": None}, RUN) == ""


def test_troubles_are_reported_once_with_the_number_of_cases():
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
    result = {"event_warm": {"floor_seconds": 1.2e-6, "launch_seconds": None}, "host": {"floor_seconds": None}}
    out = printed(text.print_clocks, result, width=80)
    assert "event_warm: floor 1.20 µs" in out
    assert "host" not in out
    assert "launch" not in out


def test_the_clock_is_named_where_there_are_several():
    winners = pd.DataFrame([WINNER, {**WINNER, "clock": "host_cold"}])
    assert "host_cold" in printed(text.print_winners, winners, width=100)
    assert "host" not in printed(text.print_winners, winners[:1], width=100)


ROW = {
    **WINNER, "implementation": "flatten_linear", "operation": "classifier_head", "status": "ok", "pass": "training",
    "best": None, "reference": "gap_linear", "parameters": 100_353_000, "peak_extra_bytes": 3 * 2**20,
    "recompilations": None,
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
def test_contenders_show_what_each_costs(width):
    out = printed(text.print_contenders, pd.DataFrame([ROW]), "what each costs", width=width)
    for needed in ("flatten_linear", "419 µs", "÷ gap_linear", "[0.196, 0.231]", "100,353,000", "3.00 MiB"):
        assert needed in out
    assert "÷ gap_linear 0.22" not in out  # a table, not line by line
    assert all(len(line.rstrip()) <= width for line in out.splitlines())


def test_contenders_without_weights_have_no_columns_for_them():
    rows = pd.DataFrame([{**ROW, "parameters": None, "recompilations": 3}, {**ROW, "status": "wrong"}])
    out = printed(text.print_contenders, rows, "yours", width=140)
    assert "weights" not in out
    assert "compiled 3 more times" in out
    assert out.count("flatten_linear") == 1
    assert printed(text.print_contenders, rows.assign(status="failed"), "yours", width=140) == ""


def test_one_that_stopped_early_is_known_by_its_bound_alone():
    yours = {**ROW, "best": "mean", "best_ratio": 3.1, "best_ratio_low": 1.612, "best_ratio_high": None}
    out = printed(text.print_contenders, pd.DataFrame([yours]), "yours", width=80)
    assert "÷ fastest" in out
    assert "at least 1.61×" in out  # noqa: RUF001
    assert "3.1" not in out
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines())


BOTH = {**ROW, "contender": "this", "implementation": "mean", "shape": "8x2048x7x7", "layout": "contiguous",
        "pass": "forward", "case": "c"}  # fmt: skip


@pytest.mark.parametrize(("factor", "is_reported"), [(1.9, True), (1.11, True), (1.05, False), (0.8, False)])
def test_what_fresh_memory_costs_is_reported_with_the_setting_that_saves_it(factor, is_reported):
    kept = {**BOTH, "memory": "kept", "seconds": 1e-3, "page_faults": 0.0}
    fresh = {**BOTH, "memory": "fresh", "seconds": factor * 1e-3, "page_faults": 412.0}
    out = printed(text.print_memory, pd.DataFrame([kept, fresh]), width=80)
    sentence = f"mean on 8x2048x7x7 bfloat16: {factor:.2g}x slower with fresh memory (412 page faults a call)."
    remedy = f"Set GLIBC_TUNABLES={KEPT_TUNABLES} in the service's environment, or preload jemalloc."
    assert out == (f"\n{sentence}\n{remedy}\n" if is_reported else "")
    assert printed(text.print_memory, pd.DataFrame([kept]), width=80) == ""


def test_what_fresh_memory_costs_is_reported_of_the_worst():
    frames = []
    for index in range(8):
        kept = {**BOTH, "implementation": f"i{index}", "memory": "kept", "seconds": 1.0, "page_faults": None}
        frames += [kept, {**kept, "memory": "fresh", "seconds": 2.0 + index}]
    message = rows.memory_effects(pd.DataFrame(frames))
    assert message[0] == "i7 on 8x2048x7x7 bfloat16: 9x slower with fresh memory."
    assert (len(message), message[-1]) == (6, "3 more are slower by less.")


def test_totals_show_one_choice_beside_the_best_of_each():
    total = {
        "suite": "squeeze", "dtype": "bfloat16", "layout": "contiguous", "calls": 17, "implementation": "sum_scale",
        "seconds": 0.012, "ratio": 0.25, "best_of_each": 0.01,
    }  # fmt: skip
    out = printed(text.print_totals, pd.DataFrame([total]), width=80)
    for needed in ("squeeze bfloat16 contiguous", "17", "sum_scale", "12.0 ms", "0.25×", "10.0 ms"):  # noqa: RUF001
        assert needed in out
    assert printed(text.print_totals, pd.DataFrame(), width=80) == ""


@pytest.mark.parametrize("width", [60, 80, 200])
def test_an_answer_that_was_rounded_more_than_once_says_so_in_its_row(width):
    """Sums in float16 are within the tolerance of bfloat16 over a window of 7 by 7; one rounding is off by less."""
    message = " ".join(
        printed(text.print_winners, pd.DataFrame([{**WINNER, "max_error_ulp": 0.83}]), width=width).split()
    )
    assert "off by 0.83 ULP" in message
    exact = {**WINNER, "max_error_ulp": 0.501}
    for other in (exact, {**exact, "max_error_ulp": None}, {**exact, "dtype": "float32", "max_error_ulp": 40.0}):
        assert "ULP" not in printed(text.print_winners, pd.DataFrame([other]), width=width)


def test_remarks_leave_the_table_a_table():
    """Check a regression: at 80 columns a sentence below an unbreakable name split every row into lines."""
    unusual = {**WINNER, "max_error_ulp": 0.83, "deterministic": False, "batch_invariant": False}
    header, *_ = printed(text.print_winners, pd.DataFrame([unusual]), width=80).splitlines()
    assert header.split() == ["case", "fastest", "time", "÷", "mean", "95", "%", "interval"]


def test_an_answer_with_other_bits_each_time_says_so():
    message = printed(text.print_winners, pd.DataFrame([{**WINNER, "deterministic": False}]), width=200)
    assert "not deterministic" in message
    message = printed(text.print_winners, pd.DataFrame([{**WINNER, "batch_invariant": False}]), width=200)
    assert "not batch invariant" in message


def test_each_operation_has_a_table_with_its_reference():
    winners = pd.DataFrame(
        [{**WINNER, "operation": "gap"}, {**WINNER, "operation": "masked_mean", "reference": "other"}]
    )
    out = printed(text.print_winners, winners, width=80)
    assert "÷ mean" in out
    assert "÷ other" in out
    assert "\nmasked_mean " in out


LONG = {4: "mean", 56: "a_function_name_of_fifty_six_letters_is_long_and_ordinary", 260: "f" * 130 + "g" * 130}
UNITS = ("419 µs", "0.22×", "[0.196, 0.231]")  # noqa: RUF001


def tables(name):
    """Yield every table with names: its function, its arguments, and the texts that must not be broken."""
    winner = {**WINNER, "implementation": name, "label": name}
    yield text.print_winners, [pd.DataFrame([winner])], UNITS
    yield text.print_contenders, [pd.DataFrame([{**ROW, "implementation": name}]), "yours"], UNITS
    total = {"suite": "squeeze", "dtype": "bfloat16", "layout": "channels_last", "calls": 17, "implementation": name,
             "seconds": 0.012, "ratio": 0.25, "best_of_each": 0.01}  # fmt: skip
    yield text.print_totals, [pd.DataFrame([total])], (" 17 ", "12.0 ms", "0.25×", "10.0 ms")  # noqa: RUF001
    trouble = {"implementation": name, "status": "unsupported", "reason": "needs a GPU", "case": "c"}
    yield text.print_troubles, [pd.DataFrame([trouble])], (" 1 ",)
    listed = {"name": name, "suite": name, "bytes_moved": 12_345_678_901, "label": "a label of several words"}
    yield text.print_rows, [[listed]], ("12345678901",)
    parts = ("python", "dispatch", "allocation", "kernels", "gaps", "unexplained")
    profile = {
        "implementation": name, "status": "ok", "seconds": 4.19e-4, "shares": dict.fromkeys(parts, 16.7),
        "peak_extra_bytes": 3 * 2**20, "gbps": 123.4, "operators": [], "generated": None, "notes": [],
    }  # fmt: skip
    yield text.print_profiles, [[profile]], ("419 µs", "3.00 MiB", "123")
    run = "20261122T101112Z-abc1234-0001"
    point = Point(run, "abc1234", None, 4.19e-4, 4e-4, 4.3e-4, [])
    step = Change(0, run, "abc1234", 0.2199, 0.196, 0.2311, "code", [])
    trend = Trend(WINNER["case"], name, "host", [point] * 30, [step])
    yield text.print_trends, [[trend]], UNITS
    yield text.print_points, [trend], (*UNITS[:2], "[400, 430]")


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("length", LONG)
def test_long_names_are_shortened_and_numbers_never(width, length):
    for show, arguments, needed in tables(LONG[length]):
        out = printed(show, *arguments, width=width)
        for number in needed:
            assert number in out, (show, out)
        assert all(len(line.rstrip()) <= width for line in out.splitlines()), (show, out)
        if length == 260:
            assert "f" * width not in out
            assert "…" in out, (show, out)
        assert len(out.splitlines()) < 60


def test_a_table_without_room_is_printed_line_by_line():
    *_, (show, arguments, _) = tables("mean")
    assert "\n  time 419 µs\n" in printed(show, *arguments, width=40)
    assert "\n  time" not in printed(show, *arguments, width=80)
