"""The measure of a quick run: samples whose certainty is known."""

import numpy as np
import pandas as pd
import pytest
import quick

from gapbench.statistics import stats


def samples(times, scatter=0.0, rounds=8, turns=5):
    """Return samples of implementations that take ``times``, with a scatter of rounds (a log) on all but the first."""
    rng = np.random.default_rng(0)
    mood = np.exp(np.arange(turns))  # the turns' own: shared by all, so that it cancels
    rows = []
    for round_ in range(rounds):
        for place, (name, seconds) in enumerate(times.items()):
            took = seconds * mood * np.exp(rng.normal(0, scatter) if place else 0.0)
            rows += [("a", "host", "kept", name, round_, turn, one) for turn, one in enumerate(took)]
    columns = ["case", "clock", "memory", "implementation", "round", "turn", "seconds_per_call"]
    return pd.DataFrame(rows, columns=columns)


def test_ratios_are_to_the_fastest_and_of_those_that_are_close():
    found = quick.half_widths(samples({"slow": 2e-5, "mean": 1.2e-5, "best": 1e-5, "near": 1.49e-5, "far": 1.51e-5}))
    assert found["implementation"].tolist() == ["mean", "near"]
    assert found["ratio"].tolist() == pytest.approx([1.2, 1.49])
    assert found["half_width"].tolist() == pytest.approx([0, 0], abs=1e-12)


def test_a_half_width_is_that_of_the_location_over_rounds():
    frame = samples({"best": 1e-5, "other": 1.2e-5}, scatter=0.03)
    wide = np.log(frame.pivot(index=["round", "turn"], columns="implementation", values="seconds_per_call"))
    tenths = wide.groupby("round").quantile(stats.UNDISTURBED)
    per_round = (tenths["other"] - tenths["best"]).to_numpy()
    (half_width,) = quick.half_widths(frame)["half_width"]
    assert half_width == pytest.approx(stats.location(per_round).half_width)


def test_turns_that_one_of_two_sat_out_do_not_count():
    frame = samples({"best": 1e-5, "other": 1.2e-5})
    rare = frame[(frame["implementation"] == "best") | (frame["turn"] % 4 == 0)]
    found = quick.half_widths(rare)
    assert found["ratio"].tolist() == pytest.approx([1.2])
    assert found["half_width"].tolist() == pytest.approx([0], abs=1e-12)


def test_shares_are_of_ratios_and_the_worst_is_named():
    found = pd.DataFrame(
        {"case": ["a"] * 4, "implementation": [*"wxyz"], "ratio": [1.1] * 4, "half_width": [0.005, 0.01, 0.015, 0.05]}
    )
    said = quick.certainty(found)
    assert (said["ratios"], said["within_1"], said["within_2"]) == (4, 0.5, 0.75)
    assert said["worst"] == pytest.approx(np.expm1(0.05))
    assert said["worst_row"] == "z of a"


def test_too_few_rounds_are_no_certainty():
    said = quick.certainty(quick.half_widths(samples({"best": 1e-5, "other": 1.2e-5}, rounds=3)))
    assert (said["within_1"], said["within_2"], said["worst"]) == (0, 0, None)
    assert quick.certainty(quick.half_widths(samples({"best": 1e-5})))["ratios"] == 0


def test_its_tables_are_for_people():
    one = {"wall_seconds": 61.2, "timed": 0.48, "ratios": 3, "within_1": 0.5, "within_2": 1.0, "worst": 0.021,
           "worst_row": "mean of a"}  # fmt: skip
    seven = {"wall_seconds": 301.0, "measured": 80, "begun": 90, "to_the_target": 40, "by_suite": {"heads": 80}}
    said = quick.show([one], seven)
    assert said.splitlines()[1].split() == ["61.2", "48%", "50%", "100%", "3", "±2.1%", "mean", "of", "a"]
    assert "80 cases measured of 90 that were begun, 40 to the target (heads 80)" in said
