"""The simulation on pools whose truth is known, and its tables."""

import json
from itertools import pairwise

import ablations
import numpy as np
import pool as pools
import pytest
import replay
import staged
import summaries
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from gapbench.statistics import verdicts
from gapbench.statistics.verdicts import Verdict

PLAN = staged.Plan(rounds=36)


def shares(found):
    return (found["verdict"] == Verdict.REGRESSED).groupby(found["diff"])


def test_without_noise_every_level_beyond_the_margin_is_found_and_identical_code_never(quiet):
    decide = staged.two_stages(PLAN)
    for level in (2, 5):
        for changed in (1, 5, 12):
            found = replay.simulate(decide, quiet, level, changed, 4, 0)
            assert (found["changed"] == (found["verdict"] == Verdict.REGRESSED)).all()
            assert (found["changed"].groupby(found["diff"]).sum() == changed).all()
    identical = replay.false_alarms(decide, quiet, 10, 0)
    assert (identical["verdict"] == Verdict.EQUIVALENT).all()


def test_any_case_may_be_the_changed_one(quiet):
    found = replay.simulate(staged.two_stages(PLAN), quiet, 5, 1, 60, 0)
    assert found.loc[found["changed"], "case"].nunique() > 9


def test_a_change_within_the_margin_is_not_red(quiet):
    found = replay.simulate(staged.two_stages(staged.Plan(36, margin=0.011)), quiet, 1, 12, 10, 0)
    assert (found["verdict"] == Verdict.EQUIVALENT).all()


def test_under_heavy_noise_intervals_are_wide_and_little_is_concluded(recorded):
    pool = pools.from_samples(recorded(levels=(0, 2), process_noise=0.2))
    found = replay.false_alarms(staged.two_stages(PLAN), pool, 20, 0)
    assert (found["verdict"] == Verdict.INCONCLUSIVE).mean() > 0.95
    assert (found["high"] - found["low"]).median() > 0.05


def test_the_interval_covers_the_truth_and_the_estimate_is_not_biased(noisy):
    found = replay.simulate(staged.two_stages(PLAN), noisy, 5, 12, 30, 0)
    same = replay.false_alarms(staged.two_stages(PLAN), noisy, 30, 0)
    _, row = summaries.accuracy([(5, 12, found)], same, truth())
    # one recording of 60 rounds has a mean of its own: its standard error is 2 % * sqrt(2 / 60) a case
    assert abs(row["bias %"]) < 0.4
    assert row["covered by the 95 % interval"]["share"] > 0.85
    assert row["true ratio"] == pytest.approx(1.05)


def truth():
    return {(f"case{case:02}", level): float(np.log1p(level / 100)) for case in range(12) for level in (0, 5)}


def test_a_wrong_truth_shows_as_bias(quiet):
    found = replay.simulate(staged.two_stages(PLAN), quiet, 5, 12, 5, 0)
    same = replay.false_alarms(staged.two_stages(PLAN), quiet, 5, 0)
    wrong = {key: value - 0.02 for key, value in truth().items()}
    rows = summaries.accuracy([(5, 12, found)], same, wrong)
    assert rows[1]["bias %"] == pytest.approx(2.02, abs=0.01)
    assert rows[1]["covered by the 95 % interval"]["share"] == 0


def test_the_second_stage_sees_rounds_that_the_first_did_not(noisy, monkeypatch):
    seen = []

    def weigh(row, draw, margin):
        count = len(draw.shares)
        seen.append((row, draw.start, {round_ % row.rounds for round_ in range(draw.start, draw.start + count)}))
        return staged.paired(row, draw, margin)

    staged.two_stages(PLAN, weigh)(noisy.diff(10, noisy.cases), np.random.default_rng(0))
    for row in {row for row, *_ in seen}:
        starts = [start for one, start, _ in seen if one is row]
        early = set().union(*(drawn for one, start, drawn in seen if one is row and start == starts[0]))
        (late,) = {frozenset(drawn) for one, start, drawn in seen if one is row and start != starts[0]}
        assert late
        assert not early & late


def played(pool, level, changed, plan=PLAN, seed=0):
    """Return the states of a replayed diff and what was flagged, by case."""
    states, flagged = staged.replay(pool.diff(level, changed), plan, staged.paired, np.random.default_rng(seed))
    return {state.case: state for state in states}, flagged


def test_confirming_rounds_are_as_many_as_the_screening_asks_for_and_there_is_time_for(quiet, recorded):
    states, flagged = played(quiet, 5, ["case03"])
    assert flagged == {"case03": 30}  # the others rest, and half of the recording is for the screening
    fewest = verdicts.fewest_to_confirm(PLAN.level / 2, verdicts.smallest_paired)
    assert states["case03"].rounds - flagged["case03"] == fewest
    # where all changed by little more than the margin, as many as there is time for
    pool = pools.from_samples(recorded(levels=(0, 2), process_noise=0.02, rounds=120))
    states, flagged = played(pool, 2, pool.cases)
    fresh = [state.rounds - flagged[case] for case, state in states.items() if case in flagged]
    assert len(fresh) > 8
    assert max(fresh) < PLAN.rounds
    # no more than wanted, but never fewer than can show anything
    for most, plan in ((20, staged.Plan(rounds=72, most=20)), (None, staged.Plan(rounds=72, most=1))):
        states, flagged = played(pool, 2, pool.cases, plan)
        fewest = verdicts.fewest_to_confirm(plan.level / 2 / len(flagged), verdicts.smallest_paired)
        fresh = {state.rounds - flagged[case] for case, state in states.items() if case in flagged}
        assert max(fresh) == (most or fewest)
        assert min(fresh) >= fewest


def test_what_is_clearly_unchanged_rests_and_leaves_its_time_to_the_others(quiet, recorded):
    states, flagged = played(quiet, 5, [])
    assert flagged == {}
    assert {state.rounds for state in states.values()} == {8}  # the first look
    frame = recorded(levels=(0, 5), cases=2)
    loud = frame["case"] == "case01"
    noise = np.exp(np.random.default_rng(1).normal(0, 0.05, len(frame)))
    pool = pools.from_samples(
        frame.assign(seconds_per_call=frame["seconds_per_call"].where(~loud, lambda s: s * noise))
    )
    states, _ = played(pool, 5, [])
    assert states["case00"].rounds == 8
    assert states["case01"].rounds > 1.5 * PLAN.rounds


def test_a_replayed_diff_takes_the_time_that_it_has(noisy):
    for level, changed in ((2, noisy.cases), (5, noisy.cases[:1]), (0, [])):
        states, _ = played(noisy, level, changed)
        each = noisy.rows[noisy.cases[0], 0]
        spent = sum(state.rounds for state in states.values()) * (each.overhead + each.slice_seconds)
        assert spent <= PLAN.rounds * 12 * (each.overhead + each.slice_seconds) * 1.05


def test_a_round_with_less_time_has_a_share_of_its_turns(recorded):
    pool = pools.from_samples(recorded(cases=12, overheads={}, slice_seconds=0.4, process_noise=0.05))
    states, _ = played(pool, 5, [], staged.Plan(rounds=8))
    shares = {share for state in states.values() for share in state.shares}
    assert max(shares) < 8
    assert min(shares) >= 1
    assert sum(state.rounds for state in states.values()) >= 8 * 12


def test_the_copy_of_base_takes_part_in_a_quarter_of_the_cases(quiet):
    states, _ = played(quiet, 5, ["case03"])
    with_copy = {case for case, state in states.items() if state.nulls}
    assert 3 <= len(with_copy) <= 4  # of the screening; and of the one case that is confirmed
    assert "case03" in with_copy
    assert states["case03"].nulls[-1] == states["case03"].rounds - 1


def test_draws_are_contiguous_windows_and_the_first_round_follows_the_last():
    assert staged.window(np.arange(5.0), 3, 4).tolist() == [3, 4, 0, 1]


def test_a_hidden_copy_that_differs_takes_the_reds_away(recorded):
    frame = recorded(levels=(0, 5), nulls=12)
    broken = frame["seconds_per_call"].where(frame["contender"] != "null", frame["seconds_per_call"] * 1.05)
    pool = pools.from_samples(frame.assign(seconds_per_call=broken))
    found = replay.simulate(staged.two_stages(PLAN), pool, 5, 12, 5, 0)
    assert (found["verdict"] == Verdict.INCONCLUSIVE).all()


def test_decisions_are_those_of_the_verdict_engine(noisy):
    rows, rng = noisy.diff(5, noisy.cases), np.random.default_rng(1)
    starts = [int(np.random.default_rng(1).integers(60)) for _ in rows[:1]]
    found = ablations.one_stage(PLAN)(rows, rng)
    values = np.take(rows[0].log_ratios, np.arange(starts[0], starts[0] + 36), mode="wrap")
    assert found[0].change == verdicts.paired(values, PLAN.margin).change


def test_ablations_lose_what_they_take_out(recorded):
    """Pairing cancels spells; confirmation and correction keep identical code quiet; processes are the replicates."""
    pool = pools.from_samples(recorded(levels=(0, 5), process_noise=0.02, spells=0.6, turns=12, cases=3))
    red = {}
    for name, decide in ablations.ablations(PLAN).items():
        identical = shares(replay.false_alarms(decide, pool, 25, 0)).any().mean()
        found = replay.simulate(decide, pool, 5, 1, 40, 0)
        red[name] = identical, (found.loc[found["changed"], "verdict"] == Verdict.REGRESSED).mean()
    assert red["gapbench"][0] <= 0.05
    assert red["gapbench"][1] > 0.9
    assert red["without pairing"][1] < red["gapbench"][1] - 0.1
    assert red["without fine alternation"][1] < red["(half the turns, alternating)"][1] - 0.2
    assert red["without fresh processes"][0] > 0.5


def test_blocks_take_turns_to_be_first_so_that_a_drift_within_rounds_cancels(recorded):
    frame = recorded(levels=(0,), cases=1, turns=8)
    row = pools.from_samples(
        frame.assign(seconds_per_call=frame["seconds_per_call"] * np.exp(0.1 * frame["turn"]))
    ).rows["case00", 0]
    assert ablations.in_blocks(row, staged.Draw.whole(0, 1), 0.01).change.estimate == pytest.approx(0.4)
    assert ablations.in_blocks(row, staged.Draw.whole(0, 2), 0.01).change.estimate == pytest.approx(0)


def test_rounds_of_both_stages_find_more_where_everything_changed(recorded):
    pool = pools.from_samples(recorded(levels=(0, 3), process_noise=0.017, turns=4, rounds=120))
    found = {
        name: (replay.simulate(ablations.ablations(PLAN)[name], pool, 3, 12, 15, 0)["verdict"] == "regressed").mean()
        for name in ("gapbench", "fresh rounds alone decide")
    }
    assert found["gapbench"] > found["fresh rounds alone decide"] + 0.2


def test_without_correction_more_identical_rows_go_red(recorded):
    pool = pools.from_samples(recorded(levels=(0,), process_noise=0.02, turns=4, rounds=60))
    plan = staged.Plan(rounds=36, margin=1e-9, level=0.2)
    alarms = {
        decision: shares(replay.false_alarms(staged.two_stages(plan, decision=decision), pool, 50, 0)).any().mean()
        for decision in (verdicts.decide, ablations.uncorrected)
    }
    assert alarms[ablations.uncorrected] > alarms[verdicts.decide] + 0.1


def test_tools_that_measure_one_side_after_the_other_see_the_machine_s_mood_as_a_change(recorded):
    frame = recorded(levels=(0, 5), turn_noise=0.001, turns=20)
    mood = np.where(frame["round"] % 20 < 10, 1.0, 1.3)
    pool = pools.from_samples(frame.assign(seconds_per_call=frame["seconds_per_call"] * mood))
    median = next(rule for rule in replay.RULES if rule.name == "pytest-benchmark median:5%")
    alarms = {
        later: shares(replay.false_alarms(replay.as_used(median, 10, later), pool, 50, 0)).any().mean()
        for later in (True, False)
    }
    assert alarms == {True: 1.0, False: 0.0}


@given(hits=st.integers(0, 50), of=st.integers(1, 50))
@settings(max_examples=20, deadline=None)
def test_shares_have_intervals_that_hold_them(hits, of):
    import pandas as pd

    hits = min(hits, of)
    found = summaries.share(pd.Series([True] * hits + [False] * (of - hits)))
    assert 0 <= found["low"] <= found["share"] <= found["high"] <= 1
    assert (found["hits"], found["of"]) == (hits, of)


def test_the_rule_of_three():
    import pandas as pd

    assert summaries.share(pd.Series([False] * 300))["high"] == pytest.approx(1 - 0.025 ** (1 / 300))


def test_fewer_implementations_leave_time_for_more_rounds(recorded):
    pool = pools.from_samples(recorded(levels=(0, 5, 10), cases=2, turns=4, seconds_per_round=0.05))
    rows = summaries.fitting(pool, 60.0)
    assert [row["implementations"] for row in rows] == [1, 2, 5, 3]
    assert all(a["rounds"] >= b["rounds"] for a, b in pairwise(sorted(rows, key=lambda row: row["implementations"])))
    assert rows[0]["rounds"] == 600
    assert summaries.fitting(pools.from_samples(recorded(cases=1)), 60.0) == []


def test_the_command_prints_every_table_and_writes_them_as_json(recorded, tmp_path):
    path, truth_path, output = tmp_path / "idle.parquet", tmp_path / "truth.json", tmp_path / "out.json"
    recorded(levels=(0, 5), cases=3, turns=5, process_noise=0.01, nulls=2, seconds_per_round=0.5).to_parquet(path)
    truths = [
        {"case": f"case0{case}", "level": level, "log_ratio": np.log1p(level / 100)}
        for case in range(3)
        for level in (0, 5)
    ]
    truth_path.write_text(json.dumps({"truths": truths}))
    arguments = [path, "--truth", truth_path, "--diffs", 5, "-o", output]
    done = CliRunner().invoke(replay.main, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    tables_written = json.loads(output.read_text())["idle.parquet"]["tables"]
    for title in tables_written:
        assert f"### {title}" in done.output
    assert len(tables_written["power"]) == 2  # 1 and all three cases
    assert len({row["rule"] for row in tables_written["rules"]}) == len(replay.RULES) + 8
    assert "| pytest-benchmark min:5% | 1 | head after base |" in done.output
    assert "measured, truth.json" in done.output


def test_a_pool_with_too_few_rounds_is_refused_in_a_line(recorded, tmp_path):
    recorded(cases=1, rounds=10).to_parquet(tmp_path / "short.parquet")
    done = CliRunner().invoke(replay.main, [str(tmp_path / "short.parquet"), "--rounds", "36"])
    assert done.exit_code == 2
    assert "short.parquet has 10 rounds, too few for 22 and fresh ones" in done.output
    done = CliRunner().invoke(replay.main, [str(tmp_path / "short.parquet")])
    assert "does not say what a round takes; give --rounds" in done.output
