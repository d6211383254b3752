from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from msgspec import structs
from stored import CASE, MACHINE, OTHER, side, two_sides

from gapbench.analysis.compare import compare
from gapbench.errors import ExitCode, GapbenchError, NothingMatchedError
from gapbench.statistics.verdicts import Verdict
from gapbench.store.run import COMPARED


def verdicts(*sides, **options):
    return {(row.case, row.implementation): row.verdict for row in compare(*sides, **options).rows}


def by_name(*sides, **options):
    return {row.implementation: row for row in compare(*sides, **options).rows}


# What rounds show


def test_a_slowdown_is_found_with_its_ratio_and_nothing_else_is_blamed():
    rows = by_name(*two_sides(head={"changes": {"slow": 1.06}}))
    assert rows["slow"].verdict is Verdict.REGRESSED
    assert rows["slow"].ratio_low < rows["slow"].ratio < rows["slow"].ratio_high
    assert rows["slow"].ratio == pytest.approx(1.06, abs=0.01)
    assert rows["slow"].p_value <= 0.01
    assert rows["slow"].rounds == 12
    assert {rows[name].verdict for name in ("fast", "odd")} <= {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}


def test_a_run_at_a_lower_clock_rate_is_slower_by_clock_and_not_by_code():
    base, head = two_sides(head={"changes": {"slow": 1.06}}, common=0.002, spread=0.001)
    rates = {"mean": 1980.0, "fast": 1980.0, "odd": 1980.0, "slow": 1980.0 / 1.06}
    base = replace(base, samples=base.samples.assign(sm_clock_mhz=1980.0))
    head = replace(head, samples=head.samples.assign(sm_clock_mhz=head.samples["implementation"].map(rates)))
    row = by_name(base, head)["slow"]
    assert row.verdict is Verdict.INCONCLUSIVE
    assert "slower by clock, not by code: head's SM clock was -5.7% against base's" in row.reason
    assert "lock the clock with gapbench tune" in row.reason


def test_swapped_runs_mirror_the_diff():
    base, head = two_sides(head={"changes": {"slow": 1.06}})
    there, back = by_name(base, head), by_name(head, base)
    assert back["slow"].verdict is Verdict.IMPROVED
    for name, row in there.items():
        assert back[name].ratio == pytest.approx(1 / row.ratio)
        assert back[name].ratio_low == pytest.approx(1 / row.ratio_high)


@pytest.mark.parametrize("state", [0.0, 0.1, -0.1])
def test_another_state_of_the_machine_is_no_change_of_any_implementation(state):
    """Shift a whole run by 10 % either way; no row changes, not even the reference."""
    for seed in range(6):
        result = verdicts(*two_sides(seed, head={"state": state})).values()
        assert not {Verdict.REGRESSED, Verdict.IMPROVED} & set(result)


def test_a_reference_that_got_faster_turns_no_other_red():
    for seed in range(6):
        rows = by_name(*two_sides(seed, head={"changes": {"mean": 0.85}}))
        assert {rows[name].verdict for name in ("fast", "slow", "odd")} <= {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}
        assert rows["mean"].verdict is Verdict.IMPROVED
        assert "mean moved against" in rows["fast"].reason


def test_not_even_on_a_machine_in_another_state():
    for seed in range(6):
        rows = by_name(*two_sides(seed, head={"changes": {"mean": 0.85}, "state": 0.04}))
        assert {rows[name].verdict for name in ("fast", "slow", "odd")} <= {Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}


def test_of_two_implementations_their_own_times_tell_which_one_changed():
    rows = by_name(*two_sides(names=("mean", "fast"), head={"changes": {"mean": 0.7}}))
    assert rows["mean"].verdict is Verdict.IMPROVED
    assert rows["fast"].verdict is Verdict.INCONCLUSIVE
    assert "mean moved against the other implementations, and so did its own time" in rows["fast"].reason


def test_a_reference_that_got_slower_is_red_itself():
    rows = by_name(*two_sides(head={"changes": {"mean": 1.3}}))
    assert rows["mean"].verdict is Verdict.REGRESSED
    assert rows["mean"].ratio == pytest.approx(1.3, abs=0.1)


def test_one_changed_implementation_does_not_make_the_reference_look_changed():
    rows = by_name(*two_sides(head={"changes": {"slow": 1.5}}))
    assert rows["mean"].verdict not in (Verdict.REGRESSED, Verdict.IMPROVED)
    assert "moved" not in rows["slow"].reason


def test_a_lone_implementation_is_compared_by_its_time_and_that_is_reported():
    rows = by_name(*two_sides(names=("mean",), head={"changes": {"mean": 1.4}}))
    assert rows["mean"].verdict is Verdict.REGRESSED
    assert "another state of the machine" in rows["mean"].reason


def test_without_a_reference_on_both_sides_times_are_compared_and_that_is_reported():
    rows = by_name(*two_sides(head={"statuses": {"mean": "failed"}}))
    assert rows["mean"].verdict is Verdict.FAILED_HEAD
    assert "without a ratio to compare" in rows["fast"].reason


def test_whole_diffs_of_identical_code_are_not_red():
    red = sum(
        Verdict.REGRESSED in verdicts(*two_sides(seed, rounds=8, spread=0.03, cases=(CASE, OTHER))).values()
        for seed in range(15)
    )
    assert red <= 1


def test_each_case_is_compared_with_itself():
    base, head = two_sides(cases=(CASE, OTHER))
    slower = head.samples.assign(
        seconds_per_call=head.samples["seconds_per_call"]
        * np.where((head.samples["case"] == OTHER.id) & (head.samples["implementation"] == "odd"), 1.08, 1)
    )
    result = verdicts(base, replace(head, samples=slower))
    assert [key for key, verdict in result.items() if verdict is Verdict.REGRESSED] == [(OTHER.id, "odd")]


def test_six_rounds_a_side_show_a_large_change_among_sixty_rows():
    cases = tuple(replace(CASE, shape=(8, channels, 7, 7)) for channels in range(1, 16))
    base, head = two_sides(rounds=6, cases=cases)
    changed = (head.samples["case"] == cases[3].id) & (head.samples["implementation"] == "slow")
    seconds = head.samples["seconds_per_call"] * np.where(changed, 1.1, 1)
    rows = compare(base, replace(head, samples=head.samples.assign(seconds_per_call=seconds))).rows
    assert len(rows) == 60
    red = [(row.case, row.implementation) for row in rows if row.verdict is Verdict.REGRESSED]
    assert red == [(cases[3].id, "slow")]


def test_inconclusive_rows_say_what_it_would_take():
    rows = by_name(*two_sides(head={"changes": {"slow": 1.02}}))
    assert rows["slow"].verdict is Verdict.INCONCLUSIVE
    assert "gapbench ab" in rows["slow"].reason
    noisy = by_name(*two_sides(1, spread=0.06, head={"changes": {"slow": 1.1}}))["slow"]
    assert noisy.verdict is Verdict.INCONCLUSIVE
    assert noisy.rounds_needed > noisy.rounds
    assert f"about {noisy.rounds_needed} would" in noisy.reason


# What a ratio and a time of its own say


MANY = tuple(replace(CASE, shape=(8, channels, 7, 7)) for channels in range(1, 13))


@pytest.mark.parametrize(
    ("change", "state", "verdict"),
    [(1.08, 0.0, "regressed"), (1.08, -0.02, "regressed"), (1.08, 0.1, "regressed"), (0.92, 0.0, "improved")],
)
def test_more_work_in_all_of_a_users_function_is_found_by_its_ratio(change, state, verdict):
    options = {"names": ("mean", "mine"), "cases": MANY}
    rows = compare(*two_sides(**options, head={"changes": {"mine": change}, "state": state})).rows
    mine = [row for row in rows if row.implementation == "mine"]
    assert [row.verdict for row in mine].count(verdict) >= 10
    assert all(row.reason.startswith("by its ratio to mean") for row in mine if row.verdict == verdict)
    assert not {row.verdict for row in rows if row.implementation == "mean"} & {Verdict.REGRESSED, Verdict.IMPROVED}


def test_what_slows_a_whole_case_is_found_by_times_of_their_own():
    base, head = two_sides(cases=MANY, spread=0.003, common=0.003)
    seconds = head.samples["seconds_per_call"] * np.where(head.samples["case"] == MANY[2].id, 1.12, 1)
    rows = compare(base, replace(head, samples=head.samples.assign(seconds_per_call=seconds))).rows
    red = [row for row in rows if row.verdict is Verdict.REGRESSED]
    assert {row.case for row in red} == {MANY[2].id}
    assert len(red) == 4
    assert all("by its own time" in row.reason for row in red)


@pytest.mark.parametrize("state", [0.08, -0.08])
def test_another_state_of_the_machine_is_no_change_of_many_rows(state):
    for seed in range(3):
        result = compare(*two_sides(seed, cases=MANY, common=0.003, head={"state": state})).summary
        assert not {Verdict.REGRESSED, Verdict.IMPROVED} & result.keys()


@pytest.mark.parametrize("change", [0.88, 1.12])
def test_a_reference_that_changed_everywhere_is_told_from_the_others(change):
    rows = compare(*two_sides(cases=MANY, common=0.003, head={"changes": {"mean": change}})).rows
    verdicts = {Verdict.IMPROVED: "faster", Verdict.REGRESSED: "slower"}
    changed = {(row.implementation, verdicts[row.verdict]) for row in rows if row.verdict in verdicts}
    assert changed == {("mean", "faster" if change < 1 else "slower")}


def test_without_samples_of_a_side_a_row_is_inconclusive():
    base, head = two_sides()
    rows = by_name(base, replace(head, samples=head.samples[head.samples["implementation"] != "odd"]))
    assert rows["odd"].verdict is Verdict.INCONCLUSIVE
    assert "no samples of it" in rows["odd"].reason
    assert rows["odd"].ratio is None
    assert rows["fast"].ratio is not None


# Earlier runs


def test_earlier_runs_tell_how_far_runs_lie_apart():
    """Earlier runs that agree reveal a change that looks like noise to two runs alone, and vice versa."""
    base, head = two_sides(spread=0.002, common=0.003, head={"changes": {"slow": 1.035}})

    def earlier(apart):
        rng = np.random.default_rng(1)
        return [
            side(
                f"202611{day:02}T101112Z-abc1234-0009", seed=100 + day, spread=0.002, common=0.003,
                changes={name: np.exp(rng.normal(0, apart)) for name in ("fast", "slow", "odd")},
            )
            for day in range(1, 9)
        ]  # fmt: skip

    assert by_name(base, head)["slow"].verdict is Verdict.INCONCLUSIVE
    quiet, rough = by_name(base, head, earlier=earlier(0.0))["slow"], by_name(base, head, earlier=earlier(0.03))["slow"]
    assert quiet.verdict is Verdict.REGRESSED
    assert rough.verdict is Verdict.INCONCLUSIVE
    assert quiet.ratio_high - quiet.ratio_low < rough.ratio_high - rough.ratio_low


# Conditions of memory


def test_rows_pair_within_their_condition_of_memory_only():
    base, head = side("r1", seed=1, memory="kept"), side("r2", seed=2, memory="kept", changes={"slow": 1.1})
    fresh = side("r2", seed=3, memory="fresh")
    head = replace(
        head,
        results=pd.concat([head.results, fresh.results], ignore_index=True),
        samples=pd.concat([head.samples, fresh.samples], ignore_index=True),
    )
    result = {(row.implementation, row.memory): row.verdict for row in compare(base, head).rows}
    assert result["slow", "kept"] is Verdict.REGRESSED
    assert {verdict for (_, memory), verdict in result.items() if memory == "fresh"} == {Verdict.ADDED}


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [("fresh", "kept", "memory is kept, was fresh"), (None, "kept", "memory is kept, was not recorded")],
)
def test_another_condition_of_memory_is_a_mismatch_that_names_both(was, now, sentence):
    rows = compare(side("r1", memory=was), side("r2", memory=now, statuses={"odd": "failed"})).rows
    assert {row.verdict for row in rows if row.implementation != "odd"} == {Verdict.ENVIRONMENT_MISMATCH}
    assert all(row.reason.startswith(sentence) for row in rows if row.implementation != "odd")
    assert [row.verdict for row in rows if row.implementation == "odd"] == [Verdict.FAILED_HEAD]
    assert len(rows) == 4


# Implementations that stopped early


def test_what_stopped_early_is_compared_as_far_as_its_rounds_go():
    def raced(item):
        slow = item.samples["implementation"] == "slow"
        results = item.results.assign(stopped_by=np.where(item.results["implementation"] == "slow", "slower", "target"))
        return replace(item, results=results, samples=item.samples[~slow | (item.samples["round"] < 3)])

    large = by_name(*map(raced, two_sides(spread=0.003, head={"changes": {"slow": 1.3}})))["slow"]
    assert (large.verdict, large.rounds) == (Verdict.REGRESSED, 3)
    small = by_name(*map(raced, two_sides(head={"changes": {"slow": 1.02}})))["slow"]
    assert small.verdict is Verdict.INCONCLUSIVE
    assert "--all" in small.reason


# What cannot be tested


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        ("ok", "failed", Verdict.FAILED_HEAD),
        ("ok", "wrong", Verdict.FAILED_HEAD),
        ("wrong", "ok", Verdict.FAILED_BASE),
        ("oom", "oom", Verdict.FAILED_BASE),
        ("unsupported", "timeout", Verdict.FAILED_HEAD),
        ("ok", "unsupported", Verdict.REMOVED),
        ("failed", "unsupported", Verdict.REMOVED),
        ("unsupported", "ok", Verdict.ADDED),
    ],
)
def test_what_did_not_work_has_a_verdict_with_its_reason(base, head, verdict):
    rows = by_name(*two_sides(base={"statuses": {"odd": base}}, head={"statuses": {"odd": head}}))
    assert rows["odd"].verdict is verdict
    assert rows["odd"].reason.startswith(("it is", "wrong", "oom", "failed", "timeout"))
    assert rows["odd"].ratio is None
    assert rows["fast"].ratio is not None  # the rest is compared


def test_what_neither_side_supports_is_no_row():
    both = {"statuses": {"odd": "unsupported"}}
    assert "odd" not in by_name(*two_sides(base=both, head=both))


def test_what_only_one_side_measured_is_added_or_removed():
    base, head = two_sides(base={"names": ("mean", "fast", "slow")}, head={"cases": (CASE, OTHER)})
    assert verdicts(base, head)[CASE.id, "odd"] is Verdict.ADDED
    assert verdicts(base, head)[OTHER.id, "mean"] is Verdict.ADDED
    assert verdicts(head, base)[OTHER.id, "mean"] is Verdict.REMOVED


@pytest.mark.parametrize(
    ("column", "value"), [("reference", "fast"), ("bytes_moved", 1), ("operation", "other"), ("parameters", 3)]
)
def test_the_same_name_for_other_work_is_a_changed_definition(column, value):
    base, head = two_sides()
    base = replace(base, results=base.results.assign(parameters=2))
    head = replace(head, results=head.results.assign(**{"parameters": 2, column: value}))
    rows = compare(base, head).rows
    assert {row.verdict for row in rows} == {Verdict.CHANGED_DEFINITION}
    assert f"{column} is {value}, was " in rows[0].reason


def test_columns_that_runs_of_older_versions_lack_are_no_change():
    base, head = two_sides()
    old = replace(base, results=base.results.assign(reference=None, parameters=pd.NA))
    assert Verdict.CHANGED_DEFINITION not in verdicts(old, head).values()


# Other machines

OTHERS = {
    "cpu": {"machine": {**MACHINE, "cpu": "Xeon"}},
    "gpu": {"machine": {**MACHINE, "device": "cuda:0", "device_description": "H100"}},
    "driver": {"machine": {**MACHINE, "device": "cuda:0", "device_description": None, "gpus": [{"driver": "570.1"}]}},
    "torch": {"versions": {"torch": "2.12.0"}},
    "threads": {"machine": {**MACHINE, "usable_cores": 4}},
}


@pytest.mark.parametrize("name", COMPARED)
def test_another_environment_is_not_compared_unless_it_is_allowed_by_name(name):
    base, head = two_sides(head=OTHERS[name])
    diff = compare(base, head)
    assert set(diff.summary) == {Verdict.ENVIRONMENT_MISMATCH}
    assert all(row.reason.startswith(f"{name} is ") and row.ratio is None for row in diff.rows)
    others = [other for other in COMPARED if other != name]
    assert set(compare(base, head, allowed=others).summary) == {Verdict.ENVIRONMENT_MISMATCH}
    allowed = compare(base, head, allowed=[name])
    assert Verdict.ENVIRONMENT_MISMATCH not in allowed.summary
    assert allowed.environment == diff.environment  # still said


def test_failures_are_reported_though_the_environment_differs():
    base, head = two_sides(head={"statuses": {"odd": "failed"}, **OTHERS["torch"]})
    assert by_name(base, head)["odd"].verdict is Verdict.FAILED_HEAD


def test_a_gpu_that_was_not_measured_on_does_not_matter():
    base, head = two_sides(head={"machine": {**MACHINE, "gpus": [{"name": "H100", "driver": "570"}]}})
    assert compare(base, head).environment == ()


# Runs that cannot be compared


def refused(*sides, **options):
    with pytest.raises(GapbenchError) as error:
        compare(*sides, **options)
    assert "\n" not in str(error.value)
    return error.value


def test_runs_that_cannot_be_compared_are_refused_in_one_line():
    base, head = two_sides()
    assert "compared with itself" in str(refused(base, base))
    unfinished = replace(head, run=structs.replace(head.run, ended=None))
    assert "gapbench run --resume" in str(refused(base, unfinished))
    empty = replace(head, results=head.results[:0])
    assert isinstance(refused(base, empty), NothingMatchedError)
    assert "nosuch" in str(refused(base, head, allowed=["nosuch"]))
    nothing = {"statuses": dict.fromkeys(("fast", "slow", "odd"), "unsupported")}
    base_mean, head_none = two_sides(base=nothing, head=nothing)
    none = replace(head_none, results=head_none.results[head_none.results["implementation"] != "mean"])
    assert isinstance(refused(base_mean, none), NothingMatchedError)  # what is in common is unsupported on both sides
    elsewhere = side("other", cases=(OTHER,))
    assert refused(base, elsewhere).exit_code is ExitCode.NOTHING


def test_the_summary_counts_every_row():
    diff = compare(*two_sides(head={"changes": {"slow": 1.1}, "statuses": {"odd": "wrong"}}))
    assert sum(diff.summary.values()) == len(diff.rows) == 4
    assert list(diff.summary)[:2] == [Verdict.REGRESSED, Verdict.FAILED_HEAD]


def test_rows_know_how_to_call_their_implementation():
    base, head = two_sides(plan=[{"case": CASE.id, "specs": {"odd": "mine.py:odd", "mean": "mean"}}])
    rows = by_name(base, head)
    assert (rows["odd"].spec, rows["mean"].spec, rows["fast"].spec) == ("mine.py:odd", "mean", "fast")
