import dataclasses
import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.analysis import summary
from gapbench.analysis.summary import Outcome, results, totals, winners
from gapbench.statistics.stats import location, lower_bound, round_log_ratio
from gapbench.store.ceilings import Ceiling
from gapbench.store.records import RESULTS, SAMPLES, SLOWER, Qualification
from gapbench.workloads.cases import Case

CASE = Case((8, 64, 7, 7), label="small head")
OTHER = Case((8, 256, 56, 56), dtype="bfloat16", label="squeeze")

factors = st.floats(0.1, 10)


def batches(case, round_, name, turns, seconds):
    """Return the samples of one implementation in one round, a batch per turn."""
    return pd.DataFrame(
        {
            "run": "r",
            "case": case.id,
            "implementation": name,
            "contender": "this",
            "clock": "host",
            "round": round_,
            "process": round_,
            "turn": range(turns),
            "position": 0,
            "calls": 3,
            "seconds_per_call": seconds,
        }
    )


def measured(ratios, rounds=8, turns=5, case=CASE, disturb=lambda _round: 1.0, base=1e-5):
    """Return the samples of implementations that take ``ratios`` times ``base``.

    ``disturb(round)`` is what the machine does meanwhile: a factor on each turn's seconds, for all alike.
    """
    frames = []
    for round_ in range(rounds):
        machine = disturb(round_) * np.ones(turns)
        frames += [batches(case, round_, name, turns, base * ratio * machine) for name, ratio in ratios.items()]
    return pd.concat(frames, ignore_index=True)


def outcomes(*names, case=CASE, status="ok", stopped_by=None, reference="mean", **fields):
    qualification = Qualification(status, **fields)
    return [Outcome("quick", case, name, "host", qualification, stopped_by, reference) for name in names]


def summarized(samples, names=None, reference="mean", extra=()):
    """Return the results by implementation, and the winners."""
    own = outcomes(*(names or samples["implementation"].unique()), reference=reference)
    rows = results(samples, [*own, *extra])
    return rows.set_index("implementation"), winners(rows, samples)


# Ratios


@settings(max_examples=50)
@given(
    st.lists(st.lists(factors, min_size=4, max_size=4), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from(["fast", "slow", "odd"]), factors, min_size=1),
)
def test_spells_that_slow_whole_turns_leave_ratios_exact(machine, ratios):
    samples = measured({"mean": 1.0, **ratios}, len(machine), 4, disturb=lambda round_: np.array(machine[round_]))
    rows, _ = summarized(samples)
    for name, ratio in ratios.items():
        assert rows.loc[name, "ratio"] == pytest.approx(ratio, rel=1e-9)
        if len(machine) >= 6:
            assert rows.loc[name, ["ratio_low", "ratio_high"]].tolist() == pytest.approx([ratio, ratio], rel=1e-9)


def test_ratios_are_found_in_noise_that_hides_them_from_times():
    """Batches scatter by 2 %, rounds by 20 %, and spells of some turns make everything twice as slow."""
    rng = np.random.default_rng(4)

    def disturb(_round):
        return rng.lognormal(0, 0.2) * np.repeat(rng.choice([1.0, 2.0], 10), 4)

    samples = measured({"mean": 1.0, "fast": 0.97}, 20, 40, disturb=disturb)
    samples["seconds_per_call"] *= rng.lognormal(0, 0.02, len(samples))
    rows, best = summarized(samples)
    fast = rows.loc["fast"]
    assert fast["ratio"] == pytest.approx(0.97, abs=0.003)
    assert fast["ratio_low"] < 0.97 < fast["ratio_high"]
    assert fast["ratio_high"] - fast["ratio_low"] < 0.01
    assert fast["seconds_high"] / fast["seconds_low"] > 1.1
    assert (best["implementation"][0], best["ties"][0]) == ("fast", [])


def test_a_round_s_time_is_the_median_of_its_turns_and_its_ratio_that_of_their_fastest_tenths():
    mean = batches(CASE, 0, "mean", 11, 1e-5)
    other = batches(CASE, 0, "other", 11, 1e-5 * np.array([1, 2, *[3] * 8, 100]))
    rows, _ = summarized(pd.concat([mean, other]))
    assert rows.loc["other", "ratio"] == pytest.approx(2)
    assert rows.loc["other", "seconds"] == pytest.approx(3e-5)


def test_only_turns_that_both_took_are_compared():
    mean = batches(CASE, 0, "mean", 5, [1.0, 2.0, 4.0, 8.0, 0.1])
    other = batches(CASE, 0, "other", 4, [0.5, 1.0, 2.0, 4.0])
    rows, _ = summarized(pd.concat([mean, other]).sample(frac=1, random_state=1))
    assert rows.loc["other", "ratio"] == pytest.approx(0.5)


def test_intervals_are_over_rounds_however_many_turns_each_has():
    by_round = [0.5, 0.9, 0.6, 0.8, 0.55, 0.7]
    frames = []
    for round_, (ratio, turns) in enumerate(zip(by_round, [1, 200, 2, 3, 50, 4], strict=True)):
        frames += [batches(CASE, round_, "mean", turns, 1e-5), batches(CASE, round_, "other", turns, 1e-5 * ratio)]
    rows, _ = summarized(pd.concat(frames))
    row = rows.loc["other"]
    # from six rounds the interval is their whole range
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((0.5, 0.9))
    assert row["ratio"] == pytest.approx(math.exp(location(np.log(by_round)).estimate))
    assert (row["seconds_low"], row["seconds_high"]) == pytest.approx((0.5e-5, 0.9e-5))
    assert (row["rounds"], row["samples"]) == (6, 260)


def test_fewer_than_six_rounds_have_estimates_and_no_intervals():
    rows, _ = summarized(measured({"mean": 1.0, "fast": 0.5}, rounds=5))
    assert rows.loc["fast", "ratio"] == pytest.approx(0.5)
    assert rows[["seconds_low", "seconds_high", "ratio_low", "ratio_high"]].isna().all(axis=None)


def test_the_reference_is_exactly_itself():
    rows, _ = summarized(measured({"mean": 1.0, "fast": 0.5}))
    assert rows.loc["mean", ["ratio", "ratio_low", "ratio_high"]].tolist() == [1, 1, 1]


def test_any_implementation_can_be_the_reference():
    rows, best = summarized(measured({"mean": 1.0, "fast": 0.5}), reference="fast")
    assert rows.loc["mean", "ratio"] == pytest.approx(2)
    assert best["reference"].tolist() == ["fast"]


def test_without_the_reference_there_are_times_and_no_ratios():
    rows, best = summarized(measured({"fast": 0.5, "slow": 2.0}))
    assert rows[["ratio", "ratio_low", "ratio_high"]].isna().all(axis=None)
    assert rows.loc["fast", "seconds"] == pytest.approx(0.5e-5)
    assert best["implementation"].tolist() == ["fast"]
    assert math.isnan(best["ratio"][0])


def test_without_a_round_in_common_with_the_reference_there_is_no_ratio():
    early, late = measured({"mean": 1.0}, rounds=6), measured({"late": 0.5}, rounds=6)
    late["round"] += 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows, best = summarized(pd.concat([early, late]))
    assert math.isnan(rows.loc["late", "ratio"])
    assert rows.loc["late", "seconds"] == pytest.approx(0.5e-5)
    assert best["implementation"].tolist() == ["late"]


# Times and what follows from them


def test_seconds_are_the_median_of_a_round_s_turns():
    samples = measured({"mean": 1.0}, rounds=8, disturb=lambda _: np.array([1.0, 1.0, 1.0, 50.0, 99.0]))
    rows, _ = summarized(samples)
    assert rows.loc["mean", "seconds"] == pytest.approx(1e-5)


def test_gigabytes_per_second_follow_from_the_time():
    rows, _ = summarized(measured({"mean": 1.0}, base=2e-6))
    assert rows.loc["mean", "gbps"] == pytest.approx(4 * 8 * 64 * 50 / 2e-6 / 1e9)


def test_rows_have_the_columns_of_the_contract_and_their_case():
    extra = outcomes("triton", status="unsupported", reason="needs a GPU; use one")
    samples = measured({"mean": 1.0})
    rows = results(samples, [*outcomes("mean", max_error=1e-8, stopped_by="target"), *extra])
    assert list(rows.columns) == [column for column in RESULTS if column != "run"]
    first = rows.iloc[0]
    assert (first["suite"], first["case"], first["label"]) == ("quick", CASE.id, "small head")
    assert (first["clock"], first["contender"], first["stopped_by"]) == ("host", "this", "target")
    assert (first["max_error"], first["samples"], first["rounds"]) == (1e-8, 40, 8)
    assert rows["reason"].tolist()[1] == "needs a GPU; use one"
    assert len(rows) == 2


def test_nothing_measured_is_no_winner():
    empty = measured({"mean": 1.0}).iloc[:0]
    rows = results(empty, outcomes("triton", status="unsupported"))
    assert rows["status"].tolist() == ["unsupported"]
    best = winners(rows, empty)
    assert best.empty
    assert {"case", "implementation", "seconds", "ratio", "ties", "reference"} <= set(best.columns)
    nothing = results(empty, [])
    assert nothing.empty
    assert winners(nothing, empty).empty


# Who takes no part


@pytest.mark.parametrize("status", ["unsupported", "wrong", "failed", "timeout", "oom"])
def test_what_is_not_ok_has_no_numbers_and_is_never_ranked(status):
    samples = measured({"mean": 1.0, "fast": 0.5, "broken": 0.1})
    bad = outcomes("broken", status=status, reason="it is")
    rows, best = summarized(samples, ["mean", "fast"], extra=bad)
    numbers = ["seconds", "seconds_low", "ratio", "ratio_low", "rounds", "samples", "gbps"]
    assert rows.loc["broken", numbers].isna().all()
    assert (rows.loc["broken", "status"], rows.loc["broken", "reason"]) == (status, "it is")
    assert best["implementation"].tolist() == ["fast"]
    assert best["ties"].tolist() == [[]]


def test_what_is_not_ok_is_not_ranked_even_with_a_time():
    samples = measured({"mean": 1.0, "broken": 0.1})
    rows = results(samples, outcomes("mean", "broken"))
    rows.loc[rows["implementation"] == "broken", "status"] = "wrong"
    assert winners(rows, samples)["implementation"].tolist() == ["mean"]


def test_a_contender_that_was_dropped_midway_changes_nothing_for_the_others():
    samples = measured({"mean": 1.0, "fast": 0.5, "dies": 0.4}, rounds=8)
    until = samples[(samples["implementation"] != "dies") | (samples["round"] < 3)]
    without = samples[samples["implementation"] != "dies"]
    with_it, best = summarized(until, ["mean", "fast"], extra=outcomes("dies", status="failed"))
    alone, best_alone = summarized(without)
    pd.testing.assert_frame_equal(with_it.drop(index="dies"), alone, check_dtype=False)
    pd.testing.assert_frame_equal(best, best_alone)


def test_a_contender_is_compared_in_the_rounds_that_it_took_part_in():
    samples = measured({"mean": 1.0, "late": 0.5}, rounds=10, disturb=lambda round_: 1.0 if round_ < 4 else 3.0)
    samples = samples[(samples["implementation"] != "late") | (samples["round"] >= 4)]
    rows, _ = summarized(samples)
    assert rows.loc["late", "rounds"] == 6
    assert rows.loc["mean", "rounds"] == 10
    assert rows.loc["late", ["ratio", "ratio_low", "ratio_high"]].tolist() == pytest.approx([0.5, 0.5, 0.5])
    assert rows.loc["late", "seconds"] == pytest.approx(1.5e-5)


def test_what_was_not_reached_before_an_interruption_has_no_row():
    rows, _ = summarized(measured({"mean": 1.0}), ["mean", "never_reached"])
    assert list(rows.index) == ["mean"]


# Winners


def test_the_winner_is_the_fastest_with_its_numbers():
    rows, best = summarized(measured({"mean": 1.0, "slow": 2.0, "fast": 0.25}))
    (winner,) = best.to_dict("records")
    assert (winner["implementation"], winner["case"], winner["label"]) == ("fast", CASE.id, "small head")
    for column in ("seconds", "seconds_low", "seconds_high", "ratio", "ratio_low", "ratio_high"):
        assert winner[column] == rows.loc["fast", column]
    assert (winner["reference"], winner["ties"]) == ("mean", [])


def test_the_winner_is_found_by_ratio_where_rounds_differ():
    """A time that comes from quiet rounds only must not win over a better ratio from all of them."""
    samples = measured(
        {"mean": 1.0, "lucky": 0.95, "better": 0.9}, 12, disturb=lambda round_: 1.0 if round_ < 6 else 2.0
    )
    samples = samples[(samples["implementation"] != "lucky") | (samples["round"] < 6)]
    rows, best = summarized(samples)
    assert rows.loc["lucky", "seconds"] < rows.loc["better", "seconds"]
    assert best["implementation"].tolist() == ["better"]


@pytest.mark.parametrize(
    ("slower_by", "ties"), [(0.0, True), (0.004, True), (0.0099, True), (0.0101, False), (0.2, False)]
)
def test_an_implementation_ties_unless_it_is_shown_to_be_over_one_percent_slower(slower_by, ties):
    _, best = summarized(measured({"mean": 1.0, "fast": 0.5, "next": 0.5 * (1 + slower_by)}))
    assert best["implementation"][0] in ({"fast", "next"} if slower_by == 0 else {"fast"})
    assert best["ties"][0] == (["next"] if ties and best["implementation"][0] == "fast" else ["fast"] if ties else [])


def test_a_difference_that_noise_may_explain_is_a_tie():
    rng = np.random.default_rng(8)
    samples = measured({"mean": 1.0, "fast": 0.5, "perhaps_slower": 0.515})
    noise = {pair: rng.lognormal(0, 0.05) for pair in itertools.product(range(8), samples["implementation"].unique())}
    samples["seconds_per_call"] *= [
        noise[pair] for pair in zip(samples["round"], samples["implementation"], strict=True)
    ]
    _, best = summarized(samples)
    assert {best["implementation"][0], *best["ties"][0]} == {"fast", "perhaps_slower"}


def test_too_few_rounds_show_nothing_so_that_all_tie():
    _, best = summarized(measured({"mean": 1.0, "fast": 0.5}, rounds=5))
    assert best["ties"].tolist() == [["mean"]]


# The ratio to the fastest


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 0.6), st.integers(1, 9))
def test_ratios_to_the_best_are_of_turns_that_both_took(seed, lost, rounds):
    rng = np.random.default_rng(seed)
    names = ("mean", "adaptive", "einsum")
    samples = measured(dict.fromkeys(names, 1.0), rounds=rounds, turns=4)
    samples["seconds_per_call"] *= np.exp(rng.normal(0, 0.1, len(samples)))
    samples = samples[rng.random(len(samples)) >= lost]
    rows, _ = summarized(samples)
    for name, row in rows.iterrows():
        both = samples[samples["implementation"] == row["best"]].merge(
            samples[samples["implementation"] == name], on=["round", "turn"]
        )
        logs = np.log(both.set_index("round")[["seconds_per_call_x", "seconds_per_call_y"]])
        tenths = logs.groupby("round").quantile(0.1)
        ratios = tenths["seconds_per_call_y"] - tenths["seconds_per_call_x"]
        expected = np.exp(location(ratios.to_numpy()).estimate)
        assert row["best_ratio"] == pytest.approx(expected, nan_ok=True)


@settings(deadline=None)
@given(st.lists(factors, min_size=2, max_size=6, unique_by="{:.9g}".format), st.integers(2, 12), st.randoms())
def test_the_fastest_is_the_one_with_the_least_ratio_whatever_rounds_and_turns_each_took(ratios, rounds, random):
    """Rounds differ by a factor of 8, so an implementation that is only in the quick ones has the smallest time."""
    named = {f"i{index}": ratio for index, ratio in enumerate(ratios)}
    speeds = [random.uniform(0.5, 4) for _ in range(rounds)]
    samples = measured(named, rounds, 4, disturb=lambda round_: speeds[round_])
    takes = {name: set(random.sample(range(rounds), random.randint(1, rounds))) | {0} for name in named}
    every = {name: random.choice([1, 2, 4]) for name in named}
    kept = [
        round_ in takes[name] and turn % every[name] == 0
        for name, round_, turn in zip(samples["implementation"], samples["round"], samples["turn"], strict=True)
    ]
    rows, best = summarized(samples[kept])
    fastest = min(named, key=named.__getitem__)
    assert set(rows["best"]) == {fastest} == set(best["implementation"])
    assert rows.loc[fastest, ["best_ratio", "best_ratio_low", "best_ratio_high"]].tolist() == [1, 1, 1]
    for name, ratio in named.items():
        assert rows.loc[name, "best_ratio"] == pytest.approx(ratio / named[fastest])


def test_what_was_never_timed_beside_the_fastest_has_no_ratio_to_it():
    early, late = measured({"mean": 1.0}, rounds=6), measured({"late": 0.5}, rounds=6)
    late["round"] += 6
    rows, best = summarized(pd.concat([early, late]))
    assert rows["best"].tolist() == ["late", "late"]
    assert rows["best_ratio"].isna().tolist() == [True, False]
    assert best["ties"].tolist() == [["mean"]]
    assert best["within"].isna().all()
    assert best["undecided_seconds"].isna().all()


def test_there_is_no_best_where_contenders_compute_different_things():
    case = dataclasses.replace(CASE, operation="pooling")
    rows = results(measured({"mean": 1.0, "fast": 0.5}, case=case), outcomes("mean", "fast", case=case))
    assert rows[["best", "best_ratio"]].isna().all(axis=None)


def test_results_of_older_versions_get_their_ratios_to_the_best_from_their_samples():
    samples = pd.concat([measured({"mean": 1.0, "fast": 0.5}), measured({"mean": 1.0, "fast": 2.0}, case=OTHER)])
    rows = results(samples, [*outcomes("mean", "fast"), *outcomes("mean", "fast", case=OTHER)])
    old = rows.assign(best=None, best_ratio=None, best_ratio_low=None, best_ratio_high=None)
    pd.testing.assert_frame_equal(summary.with_best(old, samples), rows)
    pd.testing.assert_frame_equal(winners(old, samples), winners(rows, samples))
    assert summary.with_best(rows, samples.iloc[:0]) is rows


# Racing


def raced(ratio, rounds=3, reference="mean", **scatter):
    """Return the rows of a case in which one takes ``ratio`` times the time of the fastest and stops early."""
    rng = np.random.default_rng(3)
    samples = measured({"mean": 1.0, "fast": 0.5, "slow": 0.5 * ratio}, rounds=12)
    samples = samples[
        (samples["implementation"] != "slow") | ((samples["round"] < rounds) & (samples["turn"] % 2 == 0))
    ]
    samples["seconds_per_call"] *= np.exp(rng.normal(0, 0.02, len(samples)))
    made = [*outcomes("mean", "fast", reference=reference)]
    made += outcomes("slow", stopped_by=SLOWER, reference=reference)
    rows = results(samples, made)
    return rows.set_index("implementation"), winners(rows, samples)


def test_a_slower_one_that_stopped_early_has_a_lower_bound_and_no_upper_one():
    rows, best = raced(3.0)
    slow = rows.loc["slow"]
    assert (slow["rounds"], slow["samples"]) == (3, 9)
    assert 1.5 < slow["best_ratio_low"] < slow["best_ratio"] == pytest.approx(3, rel=0.05)
    assert slow["ratio_low"] < slow["ratio"] == pytest.approx(1.5, rel=0.05)
    assert math.isnan(slow["best_ratio_high"])
    assert math.isnan(slow["ratio_high"])
    assert best["ties"].tolist() == [[]]
    assert best["next"].tolist() == ["mean"]


def test_the_bound_is_the_one_that_racing_stopped_at():
    rows, _ = raced(3.0, rounds=4)
    samples_bound = rows.loc["slow", "best_ratio_low"]
    rng = np.random.default_rng(3)
    samples = measured({"mean": 1.0, "fast": 0.5, "slow": 1.5}, rounds=12)
    samples = samples[(samples["implementation"] != "slow") | ((samples["round"] < 4) & (samples["turn"] % 2 == 0))]
    samples["seconds_per_call"] *= np.exp(rng.normal(0, 0.02, len(samples)))
    wide = samples.pivot(index=["round", "turn"], columns="implementation", values="seconds_per_call")
    values = [round_log_ratio(part["slow"].to_numpy(), part["fast"].to_numpy()) for _, part in wide.groupby("round")]
    assert samples_bound == pytest.approx(math.exp(lower_bound(np.array(values[:4]))))


def test_against_a_reference_that_stopped_early_a_ratio_has_an_upper_bound():
    rows, _ = raced(3.0, reference="slow")
    assert rows.loc["fast", "ratio"] == pytest.approx(1 / 3, rel=0.05)
    assert rows.loc["fast", "ratio"] < rows.loc["fast", "ratio_high"] < 1 / 1.5
    assert pd.isna(rows.loc["fast", "ratio_low"])
    assert rows.loc["slow", "ratio"] == 1
    assert rows.loc["slow", ["ratio_low", "ratio_high"]].isna().all()


def test_who_stopped_early_is_never_the_fastest_and_its_one_round_bounds_nothing():
    samples = measured({"mean": 1.0, "lucky": 0.4, "fast": 0.5}, rounds=6)
    samples = samples[(samples["implementation"] != "lucky") | (samples["round"] < 1)]
    rows = results(samples, [*outcomes("mean", "fast"), *outcomes("lucky", stopped_by=SLOWER)])
    assert set(rows["best"]) == {"fast"}
    lucky = rows.set_index("implementation").loc["lucky"]
    assert lucky[["best_ratio_low", "best_ratio_high"]].isna().all()


# Memory


def test_conditions_of_memory_are_cases_of_their_own():
    kept = measured({"mean": 1.0, "fast": 0.5}).assign(memory="kept", page_faults=0.0)
    fresh = measured({"mean": 1.0, "fast": 2.0}).assign(memory="fresh", page_faults=[10.0, 400.0, 500.0, 400.0] * 20)
    samples = pd.concat([kept, fresh])
    made = [
        dataclasses.replace(item, memory=memory) for memory in ("kept", "fresh") for item in outcomes("mean", "fast")
    ]
    rows = results(samples, made)
    best = winners(rows, samples)
    assert rows["memory"].tolist() == ["kept", "kept", "fresh", "fresh"]
    assert rows["page_faults"].tolist() == [0, 0, 400, 400]
    assert list(zip(best["memory"], best["implementation"], strict=True)) == [("kept", "fast"), ("fresh", "mean")]
    assert rows["best_ratio"].tolist() == pytest.approx([2, 1, 1, 2])
    pd.testing.assert_frame_equal(winners(rows.iloc[:2], kept), best.iloc[:1])


# What is known, and what would tell


@pytest.mark.parametrize("rounds", [6, 12, 24])
def test_ties_within_the_margin_are_decided(rounds):
    _, best = summarized(measured({"mean": 1.0, "fast": 0.5, "next": 0.504}, rounds=rounds))
    assert best["ties"].tolist() == [["next"]]
    assert best["within"].tolist() == pytest.approx([1.008])
    assert best["undecided_seconds"].tolist() == [0]
    assert (best["next"][0], best["next_ratio"][0], best["next_ratio_low"][0]) == ("mean", 2, 2)


def noisy(spread, rounds=8, seed=8, slower=1.0):
    rng = np.random.default_rng(seed)
    samples = measured({"fast": 0.5, "other": 0.5 * slower}, rounds=rounds)
    noise = rng.normal(0, spread, rounds)
    shift = np.where(samples["implementation"] == "other", noise[samples["round"]], 0.0)
    samples["seconds_per_call"] *= np.exp(shift - noise.mean() * (shift != 0))
    return samples


def test_a_wide_tie_is_undecided_and_told_by_as_much_more_time_as_halves_its_interval():
    samples = noisy(0.05)
    _, best = summarized(samples)
    row = best.iloc[0]
    assert row["ties"]
    assert row["within"] > 1.01
    rows, _ = summarized(samples)
    tie = rows.loc[row["ties"][0]]
    half = np.log(tie["best_ratio_high"] / tie["best_ratio_low"]) / 2
    timed = (samples["calls"] * samples["seconds_per_call"]).sum()
    enough = max(np.log(1.01), np.log(tie["best_ratio"]) - np.log(1.01))
    assert row["undecided_seconds"] == pytest.approx(timed * ((half / enough) ** 2 - 1))


@settings(deadline=None, max_examples=30)
@given(st.floats(0, 0.1), st.integers(1, 20), st.integers(0, 99), st.floats(1, 1.2))
def test_what_is_undecided_is_a_tie_and_takes_longer_the_noisier_it_is(spread, rounds, seed, slower):
    _, quiet = summarized(noisy(spread, rounds, seed, slower))
    (row,) = quiet.to_dict("records")
    assert row["undecided_seconds"] >= 0
    if row["undecided_seconds"] > 0:
        assert row["ties"]
    if not row["ties"]:
        assert row["within"] == 1
        assert row["next_ratio_low"] > 1.01
    if rounds < 6:
        assert math.isnan(row["within"])
        assert row["undecided_seconds"] > 0  # as many more as an interval takes


def test_ties_are_listed_fastest_first():
    _, best = summarized(measured({"mean": 1.0, "c": 0.5 * 1.008, "a": 0.5 * 1.002, "b": 0.5 * 1.005, "fast": 0.5}))
    assert best["ties"].tolist() == [["a", "b", "c"]]


def test_every_case_has_its_own_winner_in_the_order_of_the_results():
    samples = pd.concat(
        [measured({"mean": 1.0, "fast": 0.5}, case=OTHER), measured({"mean": 1.0, "fast": 2.0}, case=CASE)]
    )
    both = [*outcomes("mean", "fast", case=OTHER), *outcomes("mean", "fast", case=CASE)]
    rows = results(samples, both)
    best = winners(rows, samples)
    assert best["case"].tolist() == [OTHER.id, CASE.id]
    assert best["implementation"].tolist() == ["fast", "mean"]
    assert best["dtype"].tolist() == ["bfloat16", "float32"]
    alone = results(samples[samples["case"] == CASE.id], outcomes("mean", "fast"))
    pd.testing.assert_frame_equal(rows.iloc[2:].reset_index(drop=True), alone)


@settings(max_examples=10)
@given(st.randoms())
def test_the_order_of_samples_does_not_matter(random):
    samples = measured({"mean": 1.0, "fast": 0.5, "slow": 1.5}, rounds=6, turns=3)
    order = list(range(len(samples)))
    random.shuffle(order)
    rows, best = summarized(samples, ["mean", "fast", "slow"])
    shuffled_rows, shuffled_best = summarized(samples.iloc[order], ["mean", "fast", "slow"])
    pd.testing.assert_frame_equal(rows, shuffled_rows)
    pd.testing.assert_frame_equal(best, shuffled_best)


def test_without_rows_the_unranked_are_none_and_have_all_columns():
    """A run that was interrupted before its first row ended with 70: `~` of an empty column of objects is no mask."""
    rows = summary.results(pd.DataFrame(columns=list(SAMPLES)), [])
    assert list(rows[~rows["ranked"]]) == list(rows)


def test_an_outcome_is_what_is_known_besides_the_samples():
    fields = {field.name for kind in (Outcome, Qualification) for field in dataclasses.fields(kind)}
    assert fields - {"case", "qualification", "traits"} <= set(RESULTS)
    assert summary.TIE_MARGIN == 0.01


def test_rounds_that_are_far_off_are_flagged_and_kept():
    rows = [
        {"case": "c", "clock": "host", "implementation": name, "round": number, "turn": turn, "seconds_per_call": item}
        for name, times in {"steady": [1.0] * 6, "first": [5.0, 1.0, 1.1, 0.9, 1.0, 1.0]}.items()
        for number, item in enumerate(times)
        for turn in range(3)
    ]
    (warning,) = summary.outlying_rounds(pd.DataFrame(rows))
    assert warning.evidence.startswith(
        "1 of 12 rounds of an implementation are outliers, the worst 5x the median (round 0 of first, c)"
    )
    assert "--budget" in warning.remedy
    steady = [row for row in rows if row["implementation"] == "steady"]
    assert summary.outlying_rounds(pd.DataFrame(steady)) == []


def uneven_samples(shares, clean=1):
    """Return rounds of 40 batches, a share of which takes twice as long, by name; the first ``clean`` are even."""
    frames = [
        batches(CASE, number, name, 40, 1e-5 * np.where(np.arange(40) < 40 * share * (number >= clean), 2.0, 1.0))
        for number in range(6)
        for name, share in shares.items()
    ]
    return pd.concat(frames)


def test_an_implementation_whose_own_batches_vary_is_named():
    (warning,) = summary.uneven(uneven_samples({"mean": 0.1, "a": 0.0, "b": 0.3, "lazy": 0.7}))
    assert warning.topic == "uneven batches"
    assert warning.evidence.startswith(f"{CASE.id}: most batches of lazy take 100% more than its fastest")


@pytest.mark.parametrize(
    ("shares", "clean"),
    [({"mean": 0.7, "a": 0.7, "b": 0.7}, 0), ({"mean": 0.0, "a": 0.7, "b": 0.0}, 4), ({"mean": 0.2, "a": 0.3}, 0)],
)
def test_noise_that_all_share_or_that_few_rounds_have_is_not_uneven(shares, clean):
    assert summary.uneven(uneven_samples(shares, clean)) == []


# Totals


def rows_of(case, **seconds):
    """Return results of one case of a suite."""
    made = [
        Outcome("squeeze", case, name, "host", Qualification("ok" if value else "failed"))
        for name, value in seconds.items()
    ]
    samples = measured({name: value or 1.0 for name, value in seconds.items()}, 6, 4, case=case, base=1.0)
    return results(samples, made)


def test_totals_count_cases_as_often_as_they_occur():
    often = dataclasses.replace(CASE, shape=(8, 64, 7, 7), weight=3)
    once = dataclasses.replace(CASE, shape=(8, 64, 14, 14))
    result = totals(
        pd.concat([rows_of(often, mean=1.0, a=0.5, b=2.0, c=1.0), rows_of(once, mean=2.0, a=4.0, b=1.0, c=None)])
    )
    assert result["implementation"].tolist() == ["mean", "a", "b"]  # c is not ok everywhere
    np.testing.assert_allclose(result["seconds"], [5.0, 5.5, 7.0])
    np.testing.assert_allclose(result["ratio"], [1.0, 1.1, 1.4])
    np.testing.assert_allclose(result["best_of_each"], 3 * 0.5 + 1.0)
    assert (set(result["cases"]), set(result["calls"])) == ({2}, {4})


def test_a_list_is_totalled_over_its_dtypes_layouts_and_passes_even_if_its_cases_occur_once():
    cases = [
        dataclasses.replace(CASE, shape=(8, 64, 7, 7)),
        dataclasses.replace(CASE, shape=(8, 64, 14, 14), dtype="bfloat16", layout="channels_last", pass_="training"),
    ]
    rows = pd.concat([rows_of(cases[0], mean=1.0, a=0.5, b=0.1), rows_of(cases[1], mean=2.0, a=4.0, b=None)])
    result = totals(rows.assign(suite="nets/pooling.csv"))
    assert result["implementation"].tolist() == ["mean", "a"]
    np.testing.assert_allclose(result["seconds"], [3.0, 4.5])
    np.testing.assert_allclose(result["best_of_each"], 2.1)
    assert result[["dtype", "layout", "pass", "cases", "calls"]].drop_duplicates().to_numpy().tolist() == [
        ["", "", "", 2, 2]
    ]
    assert totals(rows).empty


def test_suites_whose_cases_occur_once_have_no_totals():
    assert totals(rows_of(CASE, mean=1.0, a=2.0)).empty


def test_runs_of_older_versions_that_name_no_reference_are_taken_against_mean():
    samples = measured({"mean": 1.0, "fast": 0.5})
    rows = results(samples, outcomes("mean", "fast")).assign(reference=None)
    assert winners(rows, samples)["reference"].tolist() == ["mean"]


def test_there_is_no_winner_where_contenders_compute_different_things():
    case = dataclasses.replace(CASE, operation="pooling")
    samples = measured({"mean": 1.0, "fast": 0.5}, case=case)
    rows = results(samples, outcomes("mean", "fast", case=case))
    assert rows["ratio"].notna().all()
    assert winners(rows, samples).empty


CEILINGS = [Ceiling("L2", "read", "cpu", 1, 2**20, 100.0), Ceiling("memory", "read", "cpu", 1, None, 10.0)]


def test_the_ceiling_fraction_is_of_the_level_that_holds_the_data():
    ratios = {"mean": 1.0, "fast": 0.5}
    frame = results(measured(ratios), outcomes("mean", "fast"), CEILINGS)
    np.testing.assert_allclose(frame["ceiling_fraction"], frame["gbps"] / 100)
    assert results(measured(ratios), outcomes("mean", "fast"))["ceiling_fraction"].isna().all()
    assert summary.above_ceilings(frame, CEILINGS) == []


@pytest.mark.parametrize(("case", "limit"), [(CASE, 100), (OTHER, 10)])
def test_who_is_faster_than_memory_can_deliver_is_wrong_and_not_ranked(case, limit):
    """For example it caches its outputs. A level that may serve a part of the data counts as serving all of it."""
    base = case.bytes_moved / (limit * 1e9)
    names = ("mean", "fast", "remembers")
    samples = measured({"mean": 2.0, "fast": 0.51, "remembers": 0.49}, base=base, case=case)
    frame = results(samples, outcomes(*names, case=case), CEILINGS).set_index("implementation")
    assert frame["status"].to_dict() == {"mean": "ok", "fast": "ok", "remembers": "wrong"}
    assert frame.loc["remembers", "reason"].startswith(
        f"faster than memory can deliver: {limit / 0.49:.0f} GB/s is 2.0"
    )
    assert frame.loc["remembers", ["seconds", "ratio", "best_ratio"]].isna().all()
    assert frame.loc["fast", "best_ratio"] == 1
    assert winners(frame.reset_index(), samples)["implementation"].tolist() == ["fast"]
    unlimited = results(samples, outcomes(*names, case=case))
    assert set(unlimited["status"]) == {"ok"}


def test_a_time_that_beats_the_ceiling_is_warned_of_unless_a_cache_explains_it():
    small = CASE.bytes_moved / 150e9  # 150 GB/s from a level that gives 100
    frame = results(measured({"mean": 1.0, "slow": 4.0}, base=small), outcomes("mean", "slow"), CEILINGS)
    (message,) = summary.above_ceilings(frame, CEILINGS)
    assert message.evidence.startswith(f"1 of 2 times are above their measured ceiling, the farthest mean on {CASE.id}")
    assert "read ceiling (L2)" in message.evidence
    large = OTHER.bytes_moved / 15e9  # 12.8 MB: beyond 8 times the L2
    frame = results(measured({"mean": 1.0}, base=large, case=OTHER), outcomes("mean", case=OTHER), CEILINGS)
    assert len(summary.above_ceilings(frame, CEILINGS)) == 1
    larger_cache = [dataclasses.replace(CEILINGS[0], bytes=2**22), CEILINGS[1]]
    assert summary.above_ceilings(frame, larger_cache) == []
    assert frame["ceiling_fraction"].iloc[0] == pytest.approx(1.5)
