"""Test verdicts on stored A/B runs with known rounds."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from msgspec import structs
from stored import MACHINE

from gapbench.analysis import summary
from gapbench.analysis.compare import Side, interleaved
from gapbench.analysis.summary import Outcome
from gapbench.cli.diff import render
from gapbench.errors import GapbenchError
from gapbench.statistics.verdicts import Verdict
from gapbench.store.records import RESULTS, Qualification
from gapbench.store.run import decode
from gapbench.workloads.cases import Case

CASES = [Case((1, channels, 8, 8)) for channels in range(8, 20)]
OK = Qualification()


def a_side(ref):
    git = {"commit": "abc1234" * 5, "branch": None, "subject": "Pool", "dirty": False, "diff_hash": None}
    return {"ref": ref, "git": git, "versions": {"torch": "2.13.0"}}


def run(screen=30, fresh=None, changes=None, confirmed=None, null=None, spread=0.01, statuses=None, seed=0, **fields):
    """Return an A/B run: ``fresh`` rounds by case after the first look, ``changes`` (ratios) by case before them.

    ``confirmed`` are the ratios in the fresh rounds, and ``null`` those of the copy of base.
    """
    rng = np.random.default_rng(seed)
    fresh, changes, null, statuses = fresh or {}, changes or {}, null or {}, statuses or {}
    confirmed = changes if confirmed is None else confirmed
    frames, outcomes = [], []
    for case in CASES:
        for side in ("base", "head"):
            result = statuses.get((side, case), OK)
            outcomes.append(Outcome("ci", case, "pool", "host", result, None, None, side))
        if any((side, case) in statuses for side in ("base", "head")):
            continue
        rounds = screen + fresh.get(case, 0)
        ratios = np.where(np.arange(rounds) < screen, changes.get(case, 1.0), confirmed.get(case, 1.0))
        noise = np.exp(rng.normal(0, spread, rounds))
        weather = np.exp(rng.normal(0, 0.3, rounds))  # both sides share it
        times = {"base": weather, "head": weather * ratios * noise}
        if case in null:
            times["null"] = weather * null[case] * np.exp(rng.normal(0, spread, rounds))
        for index, (side, values) in enumerate(times.items()):
            frames.append(
                pd.DataFrame(
                    {
                        "run": "r", "case": case.id, "implementation": "pool", "contender": side, "clock": "host",
                        "memory": None,
                        "round": np.repeat(np.arange(rounds), 3), "process": index, "turn": np.tile([0, 1, 2], rounds),
                        "position": index, "calls": 7,
                        "seconds_per_call": 1e-5 * np.repeat(values, 3) * np.tile([1.0, 5.0, 1.0], rounds),
                    }
                )
            )  # fmt: skip
    samples = pd.concat(frames, ignore_index=True)
    results = pd.concat(
        summary.results(samples[samples["contender"] == side], [o for o in outcomes if o.contender == side]).dropna(
            axis="columns", how="all"
        )
        for side in ("base", "head")
    )
    flagged = [{"case": case.id, "implementation": "pool", "clock": "host", "round": screen} for case in fresh]
    described = {
        "base": a_side("main"), "head": a_side("HEAD"), "margin": 0.01, "command": ["main", "HEAD"], "flagged": flagged,
    }  # fmt: skip
    document = {
        "schema": 1, "run": "r", "started": "2026-11-22T10:11:12Z", "ended": "2026-11-22T10:12:14Z", "tag": None,
        "suites": ["ci"], "git": None, "machine": MACHINE, "versions": {}, "warnings": [], "ab": described,
        "plan": [{"case": case.id, "specs": {"pool": "pool.py:pool"}} for case in CASES],
    } | fields  # fmt: skip
    return Side(decode(document), results.assign(run="r").reindex(columns=list(RESULTS)), samples)


def verdicts(diff):
    return {row.case: row.verdict for row in diff.rows}


def test_identical_sides_are_equivalent():
    assert interleaved(run()).summary == {Verdict.EQUIVALENT: 12}


def test_what_fresh_rounds_confirm_has_regressed_by_their_ratio_alone():
    diff = interleaved(run(fresh={CASES[0]: 40}, changes={CASES[0]: 1.2}, confirmed={CASES[0]: 1.05}))
    assert diff.summary == {Verdict.REGRESSED: 1, Verdict.EQUIVALENT: 11}
    (row,) = [row for row in diff.rows if row.verdict is Verdict.REGRESSED]
    assert row.ratio == pytest.approx(1.05, rel=0.01)
    assert row.ratio_low < 1.05 < row.ratio_high
    assert row.rounds == 40


def test_work_in_most_but_not_all_batches_is_not_called_equivalent():
    side = run(spread=0.001)
    samples = pd.concat([side.samples.assign(turn=side.samples["turn"] + 3 * more) for more in range(10)])
    case = samples["case"] == CASES[2].id
    slowed = case & (samples["contender"] == "head") & (samples["turn"] >= 6)
    samples.loc[slowed, "seconds_per_call"] *= 1.3
    diff = interleaved(replace(side, samples=samples))
    row = next(row for row in diff.rows if row.case == CASES[2].id)
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "typical batch is 30.0% farther above" in row.reason
    assert [row.verdict for row in diff.rows].count(Verdict.EQUIVALENT) == len(CASES) - 1


@pytest.mark.parametrize(("change", "word"), [(1.1, "slower"), (1 / 1.1, "faster")])
def test_a_change_of_the_clock_rate_is_no_change_of_the_code(change, word):
    """Head ran at another clock: its times differ, its cycles do not."""
    side = run(fresh={CASES[0]: 40, CASES[1]: 40}, changes={CASES[0]: change, CASES[1]: change})
    samples = side.samples.assign(sm_clock_mhz=1980.0)
    by_clock = (samples["case"] == CASES[0].id) & (samples["contender"] == "head")
    samples.loc[by_clock, "sm_clock_mhz"] /= change
    diff = interleaved(replace(side, samples=samples))
    row = next(row for row in diff.rows if row.case == CASES[0].id)
    assert row.verdict is Verdict.INCONCLUSIVE
    assert f"{word} by clock, not by code: head's SM clock was {1 / change - 1:+.1%} against base's" in row.reason
    assert verdicts(diff)[CASES[1].id] is (Verdict.REGRESSED if change > 1 else Verdict.IMPROVED)


def test_a_clock_rate_that_explains_a_part_of_a_change_excuses_nothing():
    side = run(fresh={CASES[0]: 40}, changes={CASES[0]: 1.2})
    samples = side.samples.assign(sm_clock_mhz=np.where(side.samples["contender"] == "head", 1800.0, 1980.0))
    assert verdicts(interleaved(replace(side, samples=samples)))[CASES[0].id] is Verdict.REGRESSED


def test_what_fresh_rounds_do_not_confirm_has_not():
    diff = interleaved(run(fresh={CASES[0]: 40}, changes={CASES[0]: 1.2}, confirmed={}))
    assert diff.summary == {Verdict.EQUIVALENT: 12}


def test_a_change_that_was_not_flagged_is_inconclusive_however_clear():
    diff = interleaved(run(changes={CASES[0]: 1.2}))
    assert verdicts(diff)[CASES[0].id] is Verdict.INCONCLUSIVE
    assert Verdict.REGRESSED not in diff.summary


def test_improvements_mirror_regressions():
    diff = interleaved(run(fresh={CASES[0]: 40}, changes={CASES[0]: 1 / 1.05}))
    assert verdicts(diff)[CASES[0].id] is Verdict.IMPROVED


def test_both_stages_together_show_what_few_fresh_rounds_cannot():
    diff = interleaved(run(fresh={CASES[0]: 6}, changes={CASES[0]: 1.5}))
    assert verdicts(diff)[CASES[0].id] is Verdict.REGRESSED


def test_too_few_rounds_can_show_nothing():
    diff = interleaved(run(4, fresh={CASES[0]: 4}, changes={CASES[0]: 1.5}))
    row = next(row for row in diff.rows if row.case == CASES[0].id)
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "4 rounds cannot decide, about 11 would" in row.reason


def test_a_copy_of_base_that_seems_to_have_changed_takes_the_reds_back():
    changed = {CASES[0]: 1.05, CASES[1]: 0.9}
    diff = interleaved(run(fresh={CASES[0]: 40, CASES[1]: 40}, changes=changed, null={CASES[0]: 1.04}))
    assert verdicts(diff)[CASES[0].id] is Verdict.INCONCLUSIVE
    assert verdicts(diff)[CASES[1].id] is Verdict.IMPROVED
    assert "second copy of base" in diff.notes[0]
    assert next(row for row in diff.rows if row.case == CASES[0].id).reason == diff.notes[0]
    for format_ in ("table", "markdown"):
        assert "copy of base" in " ".join(render(diff, format_).split())


def test_an_honest_copy_of_base_changes_nothing():
    diff = interleaved(run(fresh={CASES[0]: 40}, changes={CASES[0]: 1.05}, null=dict.fromkeys(CASES[:4], 1.0)))
    assert diff.notes == ()
    assert verdicts(diff)[CASES[0].id] is Verdict.REGRESSED


@pytest.mark.slow
def test_identical_code_is_hardly_ever_red(repetitions):
    """Use noise alone, with all 12 cases of 40 diffs (120 at night) flagged."""
    reds = sum(
        Verdict.REGRESSED in interleaved(run(4, dict.fromkeys(CASES, 12), spread=0.03, seed=seed)).summary
        for seed in range(40 * repetitions)
    )
    assert reds <= 1 + repetitions  # at 1 % each, more than 2 of 40 have a probability of 0.8 %


def test_what_fails_on_a_side_says_which_and_why():
    broken = Qualification("failed", "mine.py does not import")
    statuses = {
        ("base", CASES[0]): broken,
        ("head", CASES[1]): Qualification("wrong", "off by 2"),
        ("base", CASES[2]): Qualification("unsupported", "there is no implementation pool in this checkout"),
        ("head", CASES[3]): Qualification("unsupported", "there is no implementation pool in this checkout"),
    }
    diff = interleaved(run(statuses=statuses))
    result = {row.case: (row.verdict, row.reason) for row in diff.rows}
    assert result[CASES[0].id] == (Verdict.FAILED_BASE, "failed: mine.py does not import")
    assert result[CASES[1].id] == (Verdict.FAILED_HEAD, "wrong: off by 2")
    assert result[CASES[2].id][0] is Verdict.ADDED
    assert result[CASES[3].id][0] is Verdict.REMOVED
    assert diff.summary[Verdict.EQUIVALENT] == 8


def test_a_red_row_is_measured_again_by_ab():
    diff = interleaved(run(fresh={CASES[0]: 40}, changes={CASES[0]: 1.05}))
    table = render(diff, "table")
    assert "gapbench ab main HEAD --shape 1x8x8x8 " in table
    assert "--impl pool.py:pool" in table
    document = json.loads(render(diff, "json"))
    assert document["base"]["commit"] == "abc1234" * 5
    assert document["summary"] == {"regressed": 1, "equivalent": 11}


def test_an_interrupted_run_has_no_verdicts():
    with pytest.raises(GapbenchError, match="is not complete"):
        interleaved(run(ended=None))


def test_of_a_side_git_may_be_unknown():
    result = run()
    base, head = result.run.sides
    result = replace(result, run=structs.replace(result.run, sides=(structs.replace(base, git=None), head)))
    assert json.loads(render(interleaved(result), "json"))["base"]["commit"] is None


def test_versions_that_differ_between_the_sides_are_named():
    result = run()
    base, head = result.run.sides
    newer = structs.replace(head, versions={**base.versions, "torch": "9.9", "numpy": "2.0"})
    diff = interleaved(replace(result, run=structs.replace(result.run, sides=(base, newer))))
    assert [item.split(",")[0] for item in diff.environment] == ["torch is 9.9", "numpy is 2.0"]
