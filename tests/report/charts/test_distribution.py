import numpy as np
import pandas as pd
import pytest
from frames import check, samples
from hypothesis import given, settings
from stored import CASE, side

from gapbench.report.charts import distribution


def drawn(figure, axis):
    return [trace for trace in figure.data if trace.yaxis == axis]


@settings(max_examples=25)
@given(samples())
def test_any_samples_are_drawn(result):
    figure, words, _ = check(distribution, result)
    if result.empty:
        assert words.startswith("There are no samples")
        return
    names = result["implementation"].nunique()
    assert words.startswith(f"{len(result)} samples of {names} implementation")
    assert len(drawn(figure, "y")) == min(names, distribution.MOST_LINES)
    throttled = result[result["throttle"].notna() & (result["throttle"] != "none")]["round"].nunique()
    assert (f"{throttled} round" in words.partition("Not read")[2]) == (throttled > 0)


def test_samples_are_in_the_order_they_were_taken():
    result = side(names=("mean", "fast"), rounds=3).samples.sample(frac=1, random_state=0)
    first = drawn(distribution.figure(result), "y")[0]
    assert list(first.x) == list(range(9))
    own = result[result["implementation"] == "mean"].sort_values(["round", "turn"])
    assert list(first.y) == list(own["seconds_per_call"])


@pytest.mark.slow
def test_many_samples_are_thinned_without_hiding_the_extremes():
    result = side(rounds=110, names=("mean",)).samples
    result = pd.concat([result.assign(turn=result["turn"] + 3 * copy) for copy in range(3)], ignore_index=True)
    figure, words, _ = check(distribution, result)
    shown = drawn(figure, "y")[0].y
    assert len(shown) <= 900 < len(result)
    assert (min(shown), max(shown)) == (result["seconds_per_call"].min(), result["seconds_per_call"].max())
    assert "Only the smallest, middle and largest sample" in words


def test_rounds_have_their_medians():
    result = side(rounds=4, names=("mean",)).samples
    figure = distribution.figure(result)
    medians = result.groupby("round")["seconds_per_call"].median()
    assert list(drawn(figure, "y2")[0].y) == list(medians)


def test_rounds_that_differ_are_reported():
    result = side(rounds=4, names=("mean", "fast"), spread=0).samples
    result.loc[(result["round"] == 2) & (result["implementation"] == "fast"), "seconds_per_call"] *= 3
    assert "(fast)" in distribution.summary(result)
    assert "differ by up to 3" in distribution.summary(result)


def test_the_machine_is_drawn_where_it_was_read_and_named_where_not():
    result = side(rounds=4, names=("mean",)).samples
    assert "Not read on this machine: SM clock, temperature, power, stolen CPU time." in distribution.summary(result)
    assert len({trace.yaxis for trace in distribution.figure(result).data}) == 2
    read = result.assign(steal=0.25, sm_clock_mhz=1980.0, throttle=np.where(result["round"] == 2, "sw_thermal", "none"))
    figure, words, _ = check(distribution, read)
    assert "Drawn beside them: SM clock, stolen CPU time. Not read on this machine: temperature, power." in words
    assert words.endswith("1 round was throttled.")
    assert [annotation.text for annotation in figure.layout.annotations][2:] == [
        "<b>SM clock, MHz</b>",
        "<b>stolen CPU time, %</b>",
    ]
    assert list(drawn(figure, "y4")[0].y) == [25] * 4


def test_it_is_of_one_case():
    assert side(names=("mean",)).samples["case"].unique().tolist() == [CASE.id]
