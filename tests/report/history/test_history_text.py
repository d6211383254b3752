import io

import pytest
from rich.console import Console

from gapbench.analysis.history import Change, Point, Trend
from gapbench.report import text as history

CASE = "2x3x4x4-float32-contiguous-cpu-forward-t1"


def points(*seconds, moved=()):
    return [
        Point(f"run{index}", "abcdef0123", None, value, value * 0.99, value * 1.01, ["torch 1 → 2"] * (index in moved))
        for index, value in enumerate(seconds)
    ]


def trend(*seconds, moved=(), changes=()):
    return Trend(CASE, "mean", "host", points(*seconds, moved=moved), list(changes))


STEP = Change(3, "run3", "abcdef0123", 2.0, 1.9, 2.1, "environment", ["torch 1 → 2"])
STEPPED = trend(*[1e-5] * 3, *[2e-5] * 3, moved=[3], changes=[STEP])


def printed(show, *arguments, width=200):
    console = Console(file=io.StringIO(), width=width)
    show(*arguments, console)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "drawn"),
    [([1e-5], "▁"), ([1e-5, 1e-5], "▁▁"), ([1e-5, 1e-4], "▁█"), ([1e-5, 1.001e-5], "▁▁"), ([1e-5] * 99, "▁" * 24)],
)
def test_a_trend_is_drawn_to_scale_but_noise_is_not(seconds, drawn):
    assert history.sparkline(points(*seconds)) == drawn


def test_a_new_environment_is_marked():
    assert history.sparkline(STEPPED.points) == "▁▁▁¦███"


def test_trends_show_their_newest_step_and_what_may_have_caused_it():
    out = printed(history.print_trends, [STEPPED, trend(1e-5)])
    assert "▁▁▁¦███" in out
    assert "20.0 µs" in out
    assert "2.00×" in out  # noqa: RUF001
    assert "[1.900, 2.100]" in out
    assert "abcdef0: environment; torch 1 → 2" in out
    assert "2x3x4x4 float32" in out
    assert "contiguous, cpu, host" in out
    assert "too few runs" in out


def test_points_are_listed_with_what_happened():
    lines = printed(history.print_points, STEPPED).splitlines()
    (stepped,) = (line for line in lines if line.startswith("run3"))
    assert "2.00×" in stepped  # noqa: RUF001
    assert "step, environment; torch 1 → 2" in stepped
    assert "step" not in next(line for line in lines if line.startswith("run4"))


def test_of_many_runs_the_newest_and_those_with_a_step_are_listed():
    step = Change(4, "run4", "abcdef0123", 2.0, 1.9, 2.1, "code", [])
    lines = printed(history.print_points, trend(*[1e-5] * 4, *[2e-5] * 1000, changes=[step])).splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("run") and line.split()[0] != "run"]
    assert listed == ["run4", *(f"run{number}" for number in range(964, 1004))]
    assert lines[-1] == "the newest 40 of 1,004 runs, and those with a step; --json has all"
    assert "--json" not in printed(history.print_points, trend(*[1e-5] * 40))


def test_markup_in_names_is_text():
    assert "[red]mean" in printed(history.print_trends, [Trend(CASE, "[red]mean", "host", points(1e-5), [])])
