import math
from dataclasses import replace

import pandas as pd
import pytest

from gapbench.report import quality
from gapbench.report.quality import Check, Level
from gapbench.store.run import Run


@pytest.fixture
def sound(stored):
    """A run that passes every check."""
    speeds = {"mean": 1.0, "avg_pool2d": 0.42}
    return lambda **run: stored(speeds=speeds, settings={"target": 0.02}, **run)


def result(stored, name):
    return next(check for check in quality.judge(stored).checks if check.name == name)


def test_a_sound_run_is_trusted(sound):
    judged = quality.judge(sound())
    assert judged.badge == "trusted"
    assert judged.reasons == []


def test_an_interrupted_run_calls_for_caution_and_says_how_to_complete_it(sound):
    judged = quality.judge(sound(ended=None))
    assert judged.badge == "caution"
    assert judged.reasons[0].remedy == "gapbench run --resume 20261122T101112Z-abc1234-9f3c"


def test_without_any_time_a_run_is_untrusted(sound):
    run = sound()
    run.results["status"] = "failed"
    run.results["seconds"] = None
    assert quality.judge(run).badge == "untrusted"
    assert result(run, "measured").evidence == "nothing was measured successfully"


def test_failures_call_for_caution_and_many_make_it_untrusted(sound):
    run = sound()
    run.results.loc[0, ["status", "seconds"]] = ["wrong", None]
    assert quality.judge(run).badge == "caution"
    assert result(run, "correct").evidence == "1 wrong (mean)"
    run.results.loc[:6, "status"] = "oom"
    assert result(run, "measured").level is Level.UNTRUSTED


def test_what_is_not_supported_here_does_not_count(sound):
    run = sound()
    run.results.loc[:6, ["status", "seconds"]] = ["unsupported", None]
    assert quality.judge(run).badge == "trusted"


def test_times_without_intervals_are_no_evidence(sound):
    run = sound()
    run.results.loc[0, ["seconds_low", "seconds_high"]] = None
    assert result(run, "intervals").level is Level.CAUTION
    run.results[["seconds_low", "seconds_high"]] = None
    assert quality.judge(run).badge == "untrusted"
    assert "--rounds 6" in result(run, "intervals").remedy


def test_ratios_wider_than_the_target_call_for_caution_when_they_are_many(stored):
    names = {"mean": 1.0, **{f"one_{number}": 1.5 for number in range(19)}}
    run = stored(speeds=names, settings={"target": 0.05})
    run.results.loc[3, ["best_ratio_low", "best_ratio_high"]] = (
        run.results.loc[3, "best_ratio"] * 0.9,
        run.results.loc[3, "best_ratio"] * 1.1,
    )
    assert result(run, "precision").level is Level.PASSED
    assert "1 of 95 ratios" in result(run, "precision").evidence
    run.results["best_ratio_high"] = run.results["best_ratio_low"] * math.exp(2)
    assert result(run, "precision").level is Level.CAUTION
    assert result(run, "precision").evidence.endswith("the worst to ±100 %")


def test_what_was_not_looked_at_is_unknown(sound):
    run = sound()
    run.results["max_error"] = None
    run.results[["best_ratio_low", "best_ratio_high"]] = None
    for name in ("correct", "precision"):
        assert result(run, name).level is Level.UNKNOWN
    alone = sound()
    alone = replace(alone, results=alone.results[alone.results["implementation"] == alone.results["best"]])
    assert result(alone, "precision").level is Level.UNKNOWN  # a ratio to itself says nothing
    assert result(alone, "correct").level is Level.PASSED
    empty = replace(alone, results=alone.results[:0])
    assert {result(empty, name).level for name in ("correct", "intervals", "precision")} == {Level.UNKNOWN}


def test_results_that_were_not_compared_are_counted(sound):
    run = sound()
    run.results.loc[0, "max_error"] = None
    assert result(run, "correct").evidence.endswith("reference, except for 1 that were not compared")


def test_others_that_are_known_to_be_slower_by_a_bound_are_precise_enough(sound):
    run = sound()
    others = run.results["implementation"] != run.results["best"]
    run.results.loc[others, ["stopped_by", "best_ratio_high"]] = ["slower", None]
    assert result(run, "precision").level is Level.PASSED


def test_every_warning_is_a_reason_with_its_remedy(sound):
    judged = quality.judge(
        sound(warnings=[{"topic": "load", "evidence": "the load was 9; ratios suffer", "remedy": "stop other work"}])
    )
    (reason,) = judged.reasons
    assert reason == Check("load", Level.CAUTION, "the load was 9; ratios suffer", "stop other work")


def test_thousands_of_warnings_are_counted(sound):
    judged = quality.judge(sound(warnings=[f"w{number}" for number in range(2000)]))
    assert len(judged.reasons) == quality.SHOWN + 1
    assert judged.reasons[-1].evidence.startswith("1,950 more")


def test_the_worst_reason_comes_first(sound):
    run = sound(warnings=["something"])
    run.results[["seconds_low", "seconds_high"]] = None
    assert [check.level for check in quality.judge(run).reasons] == [Level.UNTRUSTED, Level.CAUTION]


def test_what_could_not_be_read_is_unknown_and_says_what_to_do(sound):
    run = sound(load_before=None)
    assert result(run, "machine state").level is Level.UNKNOWN
    assert "gapbench doctor" in result(run, "machine state").remedy
    assert quality.judge(run).badge == "trusted"
    assert result(sound(), "machine state").level is Level.PASSED


@pytest.mark.parametrize("git", [None, {}, {"commit": "abc1234def", "dirty": True}])
def test_code_that_others_cannot_find_is_a_note(sound, git):
    assert result(sound(git=git), "code").level is Level.NOTE


def test_a_run_that_says_nothing_of_itself_is_judged_too(stored):
    run, results, winners = Run(id="r"), stored().results, stored().winners
    bare = stored((run, results, winners))
    assert quality.judge(bare).badge in ("trusted", "caution")
    assert quality.judge(stored((run, results[:0], pd.DataFrame()))).badge == "untrusted"


def test_times_above_a_ceiling_are_a_note_and_unknown_ceilings_are_reported(sound):
    run = sound(ceilings=[{"level": None, "kind": "read", "gbps": None, "reason": "no C compiler; install gcc"}])
    assert result(run, "ceilings").level is Level.UNKNOWN
    assert result(run, "ceilings").evidence == "no C compiler; install gcc"
    run.results["ceiling_fraction"] = 0.5
    assert result(run, "ceilings").level is Level.PASSED
    run.results.loc[0, "ceiling_fraction"] = 1.25
    assert result(run, "ceilings").level is Level.NOTE
    assert f"1 of {len(run.results)} times are above" in result(run, "ceilings").evidence
    assert "at 125 %" in result(run, "ceilings").evidence
