import io

import pytest
from rich.console import Console

from gapbench.report import steps


def way(name, ratio=1.0, half=0.02, pooling=0.05, out=None):
    if out:
        return {"name": name, "rounds": 0, "seconds": None, "ratio": None, "pooling": None, "out": out}
    ends = (ratio - half, ratio + half) if half else (None, None)
    interval = {"estimate": ratio, "low": ends[0], "high": ends[1]}
    seconds = {"estimate": 0.1 * ratio, "low": None, "high": None}
    return {"name": name, "rounds": 6, "seconds": seconds, "ratio": interval, "pooling": pooling, "out": None}


def step(*ways, **changes):
    own = {"step": "forward", "clock": "host", "reference": "mean", "sites": [(1, 8, 7, 7)], "ways": ways}
    return {**own, **changes}


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        (
            [way("fast", 0.9), way("faster", 0.8)],
            "5.00 % of it inside pooling forwards; faster saves 18.0 to 22.0 %",
        ),
        ([way("same", 0.99)], "no other way is shown to be faster (intervals of up to ±2.0 %)."),
        ([way("short", 0.5, half=None)], "no other way is shown to be faster."),
        ([way("gone", out="needs a GPU")], "nothing to compare with."),
        ([], "nothing to compare with."),
    ],
)
def test_what_switching_saves_is_said_only_where_it_is_shown(ways, words):
    assert words in steps.said(step(way("mean"), *ways))


def test_a_share_that_is_not_known_is_not_said():
    assert "inside" not in steps.said(step(way("mean", pooling=None), way("fast", 0.5)))


def test_the_fastest_comes_first_and_who_took_no_part_says_why():
    console = Console(file=io.StringIO(), width=120)
    ways = [way("mean"), way("slow", 1.5), way("fast", 0.5), way("gone", out="[bold]needs a GPU")]
    steps.print_steps("A network", [step(*ways, sites=[(1, 8, 7, 7), (1, 8, 7, 7), (1, 9, 1, 1)])], console)
    text = console.file.getvalue()
    assert "A network: 1x8x7x7 2 times, 1x9x1x1" in text
    assert text.index("\nfast ") < text.index("\nmean ") < text.index("\nslow ")
    assert "+50.0 %" in text
    assert "-50.0 %" in text
    assert "gone took no part: [bold]needs a GPU" in text
